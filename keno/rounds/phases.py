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

FINAL: frozenset[Phase] = frozenset({Phase.SETTLED, Phase.SKIPPED, Phase.VOID})
"""A round in one of these is immutable. A skipped slot is born final: nobody opened it in time, so it has no bets."""
