"""The phases of a round and the ways between them. Pure.

The database repeats this table (`phase_edge_allowed` and the CHECKs of `rounds`); a test compares the two.
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where a round stands. A slot before its sale has no row yet: the design calls it scheduled."""

    OPEN = "open"
    LOCKED = "locked"
    DRAWN = "drawn"
    SETTLED = "settled"
    SKIPPED = "skipped"
    VOID = "void"


EDGES: frozenset[tuple[Phase, Phase]] = frozenset(
    {
        (Phase.OPEN, Phase.LOCKED),
        (Phase.LOCKED, Phase.DRAWN),
        (Phase.LOCKED, Phase.VOID),
        (Phase.DRAWN, Phase.SETTLED),
    }
)

CAUSES: dict[tuple[Phase | None, Phase], str] = {
    (None, Phase.OPEN): "its sales begin, under a published commitment",
    (None, Phase.SKIPPED): "nobody opened it before its sales ended",
    (Phase.OPEN, Phase.LOCKED): "its sales end: no bet can join any more",
    (Phase.LOCKED, Phase.DRAWN): "its slot time, with the seed released against its lock",
    (Phase.LOCKED, Phase.VOID): "it cannot be drawn: every stake goes back",
    (Phase.DRAWN, Phase.SETTLED): "every payout is stored",
}
"""When a round takes each edge; None is a slot before its sale, which has no row yet."""

FINAL: frozenset[Phase] = frozenset({Phase.SETTLED, Phase.SKIPPED, Phase.VOID})
"""A round in one of these is immutable. A skipped slot is born final: nobody opened it in time, so it has no bets."""


def diagram() -> str:
    """The table as a Mermaid state diagram, which docs/rounds.md shows."""
    lines = ["stateDiagram-v2"]
    for (origin, to), cause in CAUSES.items():
        lines.append(f"    {origin or '[*]'} --> {to}: {cause}")
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in FINAL]
    return "\n".join(lines)
