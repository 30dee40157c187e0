"""Settling rounds as a stream: the rule of a payout, the maximum win, the totals, and what is refused."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from support.copy_format import HEADER, TRAILER, Bet, Payout, bet_fields, bets_copy, read_payouts, tuple_bytes

from keno.game.numbers import picks_mask
from keno.game.odds import PARTS
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rtp import capped_rtp
from keno.game.rules import CurrencyRules, RulesError, build
from keno.game.settlement import RoundSettlement, RoundTerms, RoundTotals, SettlementError

PAYTABLE = shipped_paytable("94")
NUMBERS = bytes(range(1, 21))
EUR = CurrencyRules(
    exponent=2, stake_min_minor=100, stake_max_minor=10_000, stake_step_minor=100, win_max_minor=5_000_000
)
JPY = CurrencyRules(exponent=0, stake_min_minor=100, stake_max_minor=1_000, stake_step_minor=100, win_max_minor=10**7)
RULES = build(
    profile="S",
    guard_ms=2000,
    beacon_chain=None,
    rtp_bounds=rtp_profile("94").rtp_bounds,
    paytables=[PAYTABLE.hash],
    currencies={"EUR": EUR, "JPY": JPY},
)
TERMS = RoundTerms(RULES, [PAYTABLE])
CODES = ["EUR", "JPY"]
"""In the order of their terms, which is that of the rules."""


ROUND, OPERATOR = 7, UUID(int=3)


def bet(picks: list[int], stake_minor: int, code: str = "EUR", bet_id: int = 0, round_id: int = ROUND) -> Bet:
    """The account has the bet's id plus 1000."""
    return Bet(round_id, bet_id, OPERATOR.bytes, bet_id + 1000, picks_mask(picks), stake_minor, CODES.index(code))


def run(bets: list[Bet], *, rounds: tuple[int, ...] = (ROUND,), numbers: bytes = NUMBERS) -> RoundSettlement:
    """A stream of these rounds that has read the bets."""
    settlement = RoundSettlement([(round_id, numbers, TERMS) for round_id in rounds])
    settlement.feed(bets_copy(bets))
    return settlement


def finish(settlement: RoundSettlement, bets: bytes) -> list[Payout]:
    """Feeds a whole stream of bets and returns the payouts."""
    return read_payouts(settlement.feed(bets) + settlement.finish())


def settle(*bets: Bet, numbers: bytes = NUMBERS) -> list[Payout]:
    """The payouts of bets whose ids are their places."""
    settlement = RoundSettlement([(ROUND, numbers, TERMS)])
    return finish(settlement, bets_copy(bet._replace(bet_id=place) for place, bet in enumerate(bets)))


def amounts(payouts: list[Payout]) -> list[tuple[int, int, int, int]]:
    return [(payout.bet_id, payout.hits, payout.payout_minor, payout.cut_minor) for payout in payouts]


def test_a_bet_is_paid_by_its_hits_and_picks_and_one_that_wins_nothing_has_no_row() -> None:
    bets = bet([1], 100), bet([80], 100), bet([19, 20, 21], 300), bet([1, 2, 3, 4], 200, "JPY")
    assert amounts(settle(*bets)) == [(0, 1, 376, 0), (2, 2, 750, 0), (3, 4, 25_000, 0)]


def test_a_payout_names_the_bet_its_round_and_its_account() -> None:
    settlement = RoundSettlement([(ROUND, NUMBERS, TERMS)])
    payouts = finish(settlement, bets_copy([bet([1], 100, bet_id=2**60)]))
    assert payouts == [Payout(2**60, ROUND, 2**60 + 1000, 1, 376, 0)]


def test_eight_picks_of_which_none_is_drawn_are_paid_back() -> None:
    assert amounts(settle(bet(list(range(61, 69)), 500))) == [(0, 0, 500, 0)]


def test_the_maximum_win_of_the_bets_currency_cuts_and_the_cut_is_recorded() -> None:
    ten = list(range(1, 11))
    assert amounts(settle(bet(ten, 100), bet(ten, 100, "JPY"), bet(ten, 200, "JPY"))) == [
        (0, 10, 5_000_000, 5_000_000),
        (1, 10, 10_000_000, 0),
        (2, 10, 10_000_000, 10_000_000),
    ]


def test_the_order_of_the_drawn_numbers_does_not_matter() -> None:
    bets = bet([1, 20, 40], 100), bet([1], 100)
    assert settle(*bets, numbers=NUMBERS[::-1]) == settle(*bets)


def test_totals_add_up_each_round_by_operator_and_terms() -> None:
    other = UUID(int=2)
    bets = [
        bet([1], 100, bet_id=1),
        bet([80], 300, bet_id=2),
        bet([1], 100, "JPY", bet_id=3),
        bet([1], 200, bet_id=4)._replace(operator_id=other.bytes),
        bet(list(range(1, 11)), 100, bet_id=1, round_id=9),
    ]
    settlement = run(bets, rounds=(9, 8, ROUND))
    settlement.finish()
    eur, jpy = 0, 1
    ten = PARTS * capped_rtp(PAYTABLE, 10, 100, EUR.win_max_minor) * 100
    assert settlement.totals() == [
        RoundTotals(ROUND, other, eur, 1, 200, 752, 0, 188 * PARTS),
        RoundTotals(ROUND, OPERATOR, eur, 2, 400, 376, 0, 376 * PARTS),
        RoundTotals(ROUND, OPERATOR, jpy, 1, 100, 376, 0, 94 * PARTS),
        RoundTotals(9, OPERATOR, eur, 1, 100, 5_000_000, 5_000_000, int(ten)),
    ]
    assert ten == int(ten) < 100 * PARTS * PAYTABLE.rtp[10]
    assert settlement.winners_count == 4


def test_rounds_without_bets_settle_to_nothing() -> None:
    settlement = run([])
    settlement.finish()
    assert (settle(), settlement.totals(), settlement.winners_count) == ([], [], 0)


def test_every_round_is_settled_by_its_own_draw() -> None:
    settlement = RoundSettlement([(1, NUMBERS, TERMS), (2, bytes(range(61, 81)), TERMS)])
    payouts = finish(settlement, bets_copy(bet([1], 100, bet_id=5, round_id=round_id) for round_id in (1, 2)))
    assert amounts(payouts) == [(5, 1, 376, 0)]


def test_payouts_leave_before_the_bets_have_ended_and_nothing_is_kept_of_either() -> None:
    settlement = RoundSettlement([(ROUND, NUMBERS, TERMS)])
    sizes = []
    for batch in range(20):
        bets = bets_copy(bet([1], 100, bet_id=1000 * batch + place) for place in range(1000))
        sizes.append(len(settlement.feed(bets[0 if batch == 0 else len(HEADER) : -2])))
    # A payout takes 68 bytes, and fewer than 256 bets are held back.
    assert all(abs(size - 68_000) < 68 * 256 + len(HEADER) for size in sizes)


@pytest.mark.parametrize("chunk", [memoryview, bytearray, lambda data: array("B", data)])
def test_a_chunk_may_be_any_buffer(chunk: Callable[[bytes], bytes]) -> None:
    settlement = RoundSettlement([(ROUND, NUMBERS, TERMS)])
    assert amounts(finish(settlement, chunk(bets_copy([bet([1], 100)])))) == [(0, 1, 376, 0)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picks": bytes(10)}, "bet 1 of round 7: it does not have 1 to 10 picks"),
        ({"picks": b"\xff" * 10}, "bet 1 of round 7: it does not have 1 to 10 picks"),
        ({"stake_minor": 0}, "bet 1 of round 7: its stake is not positive"),
        ({"stake_minor": -100}, "bet 1 of round 7: its stake is not positive"),
        ({"terms": 2}, "bet 1 of round 7: its terms index names no terms"),
        ({"terms": -1}, "bet 1 of round 7: its terms index names no terms"),
        ({"bet_id": 0}, "bet 0 of round 7: it does not come after the bet before it"),
        ({"round_id": 6}, "bet 1 of round 6: it does not come after the bet before it"),
        ({"round_id": 8}, "bet 1 of round 8: its round is none of the stream's"),
        ({"operator_id": bytes(15)}, "after 1 bets: operator_id must have 16 bytes, not 15"),
    ],
    ids=str,
)
def test_one_bet_that_cannot_be_settled_refuses_the_whole_stream(changes: dict[str, Any], message: str) -> None:
    settlement = RoundSettlement([(ROUND, NUMBERS, TERMS)])
    data = bets_copy([bet([1], 100, bet_id=0), bet([1], 100, bet_id=1)._replace(**changes)])
    with pytest.raises(SettlementError, match=message):
        finish(settlement, data)
    for call in (settlement.finish, settlement.totals, lambda: settlement.feed(b"")):
        with pytest.raises(SettlementError, match="has failed"):
            call()


def test_a_stream_that_has_not_ended_cannot_be_finished_and_has_no_totals() -> None:
    settlement = RoundSettlement([(ROUND, NUMBERS, TERMS)])
    settlement.feed(bets_copy([bet([1], 100)])[:-1])
    with pytest.raises(SettlementError, match="no totals yet"):
        settlement.totals()
    with pytest.raises(SettlementError, match="ended before its trailer"):
        settlement.finish()


def test_a_null_is_refused_by_its_name() -> None:
    settlement = RoundSettlement([(ROUND, NUMBERS, TERMS)])
    fields = bet_fields(bet([1], 100))
    with pytest.raises(SettlementError, match="stake_minor is null"):
        finish(settlement, HEADER + tuple_bytes(*fields[:5], None, fields[6]) + TRAILER)


@pytest.mark.parametrize(
    "numbers",
    [b"", NUMBERS[:-1], NUMBERS + b"\x15", NUMBERS[:-1] + b"\x01", b"\x00" + NUMBERS[1:], NUMBERS[1:] + b"\x51"],
)
def test_numbers_that_are_not_a_draw_are_refused(numbers: bytes) -> None:
    with pytest.raises(SettlementError, match="number"):
        RoundSettlement([(ROUND, numbers, TERMS)])


def test_a_round_given_twice_is_refused_and_so_is_an_id_beyond_63_bits() -> None:
    with pytest.raises(SettlementError, match="same id"):
        RoundSettlement([(ROUND, NUMBERS, TERMS), (8, NUMBERS, TERMS), (ROUND, NUMBERS, TERMS)])
    for round_id in (-1, 2**63, 2**64):
        with pytest.raises(SettlementError):
            RoundSettlement([(round_id, NUMBERS, TERMS)])


def test_terms_are_not_made_from_rules_that_fail_their_check() -> None:
    with pytest.raises(RulesError):
        RoundTerms(RULES, [shipped_paytable("92")])


def test_it_tells_the_last_bet_it_was_fed() -> None:
    assert run([]).last_bet_id is None
    settlement = run([bet([1], 100, bet_id=place) for place in (3, 5, 8)])
    assert settlement.last_bet_id == 8
    settlement.finish()
    assert settlement.last_bet_id == 8
