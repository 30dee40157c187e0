"""The settlement of the core against one written for clarity, on random rounds that reach the edges of 64 bits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.copy_format import Bet as Row
from support.copy_format import bets_copy, read_payouts

from keno.game.numbers import mask_picks, picks_mask
from keno.game.paytable import Paytable, build, parse
from keno.game.profiles import shipped_paytable
from keno.game.rules import CurrencyRules
from keno.game.rules import build as build_rules
from keno.game.settlement import RoundSettlement, RoundTerms, SettlementError

I64_MAX = 2**63 - 1
PAYTABLES = [shipped_paytable(name) for name in ("92", "94", "96")]
LIMITS = {
    code: CurrencyRules(
        exponent=exponent, stake_min_minor=100, stake_max_minor=1_000, stake_step_minor=100, win_max_minor=win_max
    )
    for code, exponent, win_max in (("EUR", 2, 1_000), ("JPY", 0, 123_457), ("BTC", 8, 2**53 - 1))
}
RULES = build_rules(
    profile="S",
    guard_ms=2000,
    beacon_chain=None,
    rtp_bounds=(Fraction(9, 10), Fraction(1)),
    paytables=[paytable.hash for paytable in PAYTABLES],
    currencies=LIMITS,
)
TERMS = RoundTerms(RULES, PAYTABLES)
# As a settlement numbers them: the first paytable in each currency by its code, then the next.
PAIRS = [(paytable.hash, code) for paytable in PAYTABLES for code in sorted(LIMITS)]

draws = st.permutations(range(1, 81)).map(lambda numbers: numbers[:20])
stakes = st.one_of(st.integers(1, 1_000), st.integers(1, I64_MAX), st.sampled_from([1, 99, 100, I64_MAX]))
bets = st.tuples(
    st.sets(st.integers(1, 80), min_size=1, max_size=10),
    stakes,
    st.sampled_from(PAYTABLES),
    st.sampled_from(sorted(LIMITS)),
)
Bet = tuple[set[int], int, Paytable, str]


def expected(bet: Bet, drawn: set[int]) -> tuple[int, int, int]:
    """(hits, payout, cut) of one bet in unbounded integers."""
    picks, stake_minor, paytable, code = bet
    hits = len(picks & drawn)
    win_minor = stake_minor * paytable.multipliers[len(picks)][hits] // paytable.scale
    payout_minor = min(win_minor, LIMITS[code].win_max_minor)
    return hits, payout_minor, win_minor - payout_minor


def settle(placed: list[Bet], numbers: list[int]) -> list[tuple[int, int, int, int]]:
    """(place of the bet, hits, payout, cut) of each bet that is paid anything."""
    settlement = RoundSettlement([(1, bytes(numbers), TERMS)])
    rows = (
        Row(1, place, bytes(16), place, picks_mask(sorted(picks)), stake, PAIRS.index((paytable.hash, code)))
        for place, (picks, stake, paytable, code) in enumerate(placed)
    )
    payouts = read_payouts(settlement.feed(bets_copy(rows)) + settlement.finish())
    return [(payout.bet_id, payout.hits, payout.payout_minor, payout.cut_minor) for payout in payouts]


# Stakes whose sum has room in 64 bits; a total that has none is refused, which is another property.
@given(
    placed=st.lists(bets, max_size=20).filter(lambda placed: sum(bet[1] for bet in placed) <= I64_MAX), numbers=draws
)
def test_the_core_settles_as_the_rule_says_or_refuses_what_does_not_fit_64_bits(
    placed: list[Bet], numbers: list[int]
) -> None:
    outcome = [expected(bet, set(numbers)) for bet in placed]
    if sum(cut for _, _, cut in outcome) > I64_MAX:
        with pytest.raises(SettlementError, match=r"64 bits|total of cuts"):
            settle(placed, numbers)
        return
    winners = [(place, *values) for place, values in enumerate(outcome) if values[1] > 0]
    assert settle(placed, numbers) == winners


@given(numbers=draws, stake_minor=st.integers(I64_MAX - 1_000, I64_MAX), paytable=st.sampled_from(PAYTABLES))
def test_a_stake_and_prize_whose_product_passes_64_bits_are_computed_exactly_or_refused(
    numbers: list[int], stake_minor: int, paytable: Paytable
) -> None:
    solid: Bet = (set(numbers[:3]), stake_minor, paytable, "BTC")
    back: Bet = (set(numbers[:1]) | {min(set(range(1, 81)) - set(numbers))}, stake_minor, paytable, "BTC")
    with pytest.raises(SettlementError, match=r"bet 0 of round 1: .*64 bits"):
        settle([solid], numbers)
    assert settle([back], numbers) == [(0, 1, 2**53 - 1, stake_minor - (2**53 - 1))]


@given(picks=st.lists(st.integers(1, 80), min_size=1, max_size=10, unique=True))
def test_a_mask_stands_for_its_picks_and_no_others(picks: list[int]) -> None:
    mask = picks_mask(picks)
    assert mask == sum(1 << (pick - 1) for pick in picks).to_bytes(10, "big")
    assert mask_picks(mask) == sorted(picks)


multipliers = st.tuples(
    st.just(()), *(st.lists(st.integers(0, 10**7), min_size=p + 1, max_size=p + 1) for p in range(1, 11))
)


@given(rows=multipliers, scale=st.integers(1, 10_000), version=st.integers(1, 1_000))
def test_any_paytable_survives_publication_and_states_its_own_return(
    rows: tuple[list[int], ...], scale: int, version: int
) -> None:
    paytable = build("any", version, scale, rows)
    assert parse(paytable.document) == paytable
    assert paytable.multipliers == tuple(tuple(row) for row in rows)
    assert paytable.rtp[1] == Fraction(3 * rows[1][0] + rows[1][1], 4 * scale)
