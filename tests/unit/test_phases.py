"""The phases of a round in code: what the table of edges says and what it leaves out."""

from itertools import product
from pathlib import Path

from keno.rounds.phases import CAUSES, EDGES, FINAL, Phase, diagram

DOCUMENT = Path(__file__).parents[2] / "docs" / "rounds.md"


def reachable(start: Phase) -> set[Phase]:
    found: set[Phase] = set()
    ahead = {start}
    while ahead:
        found |= ahead
        ahead = {to for origin, to in EDGES if origin in ahead} - found
    return found


def test_no_way_leads_out_of_a_final_phase_and_one_leads_out_of_every_other() -> None:
    left = {origin for origin, _ in EDGES}
    assert left == set(Phase) - FINAL


def test_no_way_leads_back() -> None:
    for origin, to in product(Phase, repeat=2):
        if origin != to and to in reachable(origin):
            assert origin not in reachable(to)


def test_a_round_is_drawn_or_void_only_after_its_lock() -> None:
    for phase in (Phase.DRAWN, Phase.VOID):
        assert [origin for origin, to in EDGES if to == phase] == [Phase.LOCKED]


def test_an_opened_round_ends_settled_or_void_and_never_skipped() -> None:
    assert reachable(Phase.OPEN) & FINAL == {Phase.SETTLED, Phase.VOID}


def test_every_edge_has_its_cause_and_every_birth_is_open_or_skipped() -> None:
    births = {(None, Phase.OPEN), (None, Phase.SKIPPED)}
    assert set(CAUSES) == EDGES | births


def test_the_documentation_shows_the_table_as_it_is() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8").partition("```mermaid\n")[2].partition("\n```")[0]
    assert shown == diagram()
