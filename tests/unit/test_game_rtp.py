"""The figures of a paytable as people read them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from keno.game.paytable import build
from keno.game.profiles import shipped_paytable
from keno.game.rtp import capped_rtp, describe, percent_text


def test_a_description_has_one_row_a_pick_count_with_its_exact_figures() -> None:
    rows = describe(shipped_paytable("94"))
    assert [row.picks for row in rows] == list(range(1, 11))
    first = rows[0]
    assert list(first.multipliers) == [0, Fraction(94, 25)]
    assert first.rtp == Fraction(47, 50)
    assert first.variance == Fraction(1, 4) * Fraction(94, 25) ** 2 - Fraction(47, 50) ** 2
    assert first.hit_frequency == Fraction(1, 4)
    assert rows[9].top_multiplier == 100_000
    assert round(1 / rows[9].top_probability) == 8_911_711


def test_a_top_prize_paid_for_several_hit_counts_has_the_probability_of_all_of_them() -> None:
    paytable = build("flat", 1, 1, [[], *([1] * (picks + 1) for picks in range(1, 11))])
    for row in describe(paytable):
        assert row.top_multiplier == row.top_probability == row.hit_frequency == 1
        assert row.variance == 0


def test_a_maximum_win_that_no_prize_reaches_does_not_change_the_return() -> None:
    paytable = shipped_paytable("96")
    for picks in range(1, 11):
        assert capped_rtp(paytable, picks, 100, 10_000_000) == paytable.rtp[picks]


def test_a_maximum_win_lowers_the_return_by_exactly_what_it_cuts() -> None:
    paytable = shipped_paytable("94")
    # 10 EUR at 100,000 times are 1,000,000 EUR; a maximum of 250,000 EUR cuts 75,000 stakes off 10 hits of 10, no more.
    lost = paytable.rtp[10] - capped_rtp(paytable, 10, 1_000, 25_000_000)
    assert lost == 75_000 * describe(paytable)[9].top_probability


def test_rounding_down_lowers_the_return_of_a_stake_off_the_step() -> None:
    paytable = shipped_paytable("94")
    assert capped_rtp(paytable, 1, 1, 1_000) == Fraction(3, 4)  # 3.76 cents are paid as 3


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (Fraction(47, 50), 3, "94.000 %"),
        (Fraction(2967, 3160), 3, "93.892 %"),
        (Fraction(1, 3), 0, "33 %"),
        (Fraction(-1, 800), 2, "-0.12 %"),
        (Fraction(1, 100_000), 3, "0.001 %"),
    ],
)
def test_a_percentage_is_rounded_half_to_even_without_floats(value: Fraction, decimals: int, text: str) -> None:
    assert percent_text(value, decimals) == text
