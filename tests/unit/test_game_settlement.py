"""Settling columns of bets: the rule of a payout, the maximum win, and what is refused."""

from __future__ import annotations

from struct import pack

import pytest

from keno.game.numbers import picks_mask
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rules import CurrencyRules, RulesError, build
from keno.game.settlement import BetColumns, RoundTerms, SettlementError, settle

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


def columns(*bets: tuple[list[int], int, str]) -> BetColumns:
    return BetColumns(
        picks=b"".join(picks_mask(picks) for picks, _, _ in bets),
        stakes_minor=pack(f"<{len(bets)}q", *(stake for _, stake, _ in bets)),
        terms=bytes(TERMS.index(PAYTABLE.hash, code) for _, _, code in bets),
    )


def test_a_bet_is_paid_by_its_hits_and_picks() -> None:
    bets = columns(([1], 100, "EUR"), ([80], 100, "EUR"), ([19, 20, 21], 300, "EUR"), ([1, 2, 3, 4], 200, "JPY"))
    settled = settle(bets, TERMS, NUMBERS)
    assert settled.hits == bytes([1, 0, 2, 4])
    assert settled.payout_values_minor() == (376, 0, 750, 25_000)
    assert settled.cut_values_minor() == (0, 0, 0, 0)


def test_eight_picks_of_which_none_is_drawn_are_paid_back() -> None:
    settled = settle(columns((list(range(61, 69)), 500, "EUR")), TERMS, NUMBERS)
    assert (settled.hits, settled.payout_values_minor()) == (b"\x00", (500,))


def test_the_maximum_win_of_the_bets_currency_cuts_and_the_cut_is_recorded() -> None:
    ten = list(range(1, 11))
    settled = settle(columns((ten, 100, "EUR"), (ten, 100, "JPY"), (ten, 200, "JPY")), TERMS, NUMBERS)
    assert settled.payout_values_minor() == (5_000_000, 10_000_000, 10_000_000)
    assert settled.cut_values_minor() == (5_000_000, 0, 10_000_000)


def test_winners_are_the_paid_bets_with_their_rows() -> None:
    bets = columns(([80], 100, "EUR"), ([1], 100, "EUR"), (list(range(1, 11)), 100, "EUR"))
    assert list(settle(bets, TERMS, NUMBERS).winners()) == [(1, 1, 376, 0), (2, 10, 5_000_000, 5_000_000)]


def test_the_order_of_the_drawn_numbers_does_not_matter() -> None:
    bets = columns(([1, 20, 40], 100, "EUR"))
    assert settle(bets, TERMS, NUMBERS[::-1]) == settle(bets, TERMS, NUMBERS)


def test_a_round_without_bets_settles_to_nothing() -> None:
    settled = settle(columns(), TERMS, NUMBERS)
    assert (settled.count, list(settled.winners())) == (0, [])


def test_columns_of_different_lengths_are_refused() -> None:
    mask, stake = picks_mask([1]), pack("<q", 100)
    for picks, stakes, terms in [(mask, stake, b""), (mask[1:], stake, b"\0"), (mask, stake * 2, b"\0")]:
        with pytest.raises(SettlementError, match="bets need"):
            BetColumns(picks, stakes, terms)


@pytest.mark.parametrize(
    ("picks", "stake_minor", "terms"),
    [
        (bytes(10), 100, 0),
        (b"\xff" * 10, 100, 0),
        (picks_mask([1]), 0, 0),
        (picks_mask([1]), -100, 0),
        (picks_mask([1]), 100, 2),
    ],
)
def test_one_bet_that_cannot_be_settled_refuses_the_whole_batch(picks: bytes, stake_minor: int, terms: int) -> None:
    bets = BetColumns(picks_mask([1]) + picks, pack("<2q", 100, stake_minor), bytes([0, terms]))
    with pytest.raises(SettlementError, match="bet 1"):
        settle(bets, TERMS, NUMBERS)


@pytest.mark.parametrize(
    "numbers",
    [b"", NUMBERS[:-1], NUMBERS + b"\x15", NUMBERS[:-1] + b"\x01", b"\x00" + NUMBERS[1:], NUMBERS[1:] + b"\x51"],
)
def test_numbers_that_are_not_a_draw_are_refused(numbers: bytes) -> None:
    with pytest.raises(SettlementError, match="a draw is"):
        settle(columns(([1], 100, "EUR")), TERMS, numbers)


def test_a_pair_that_the_room_does_not_offer_has_no_index() -> None:
    for paytable_hash, code in [(PAYTABLE.hash, "USD"), (bytes(32), "EUR")]:
        with pytest.raises(SettlementError, match="offers no"):
            TERMS.index(paytable_hash, code)


def test_terms_are_not_made_from_rules_that_fail_their_check() -> None:
    with pytest.raises(RulesError):
        RoundTerms(RULES, [shipped_paytable("92")])
