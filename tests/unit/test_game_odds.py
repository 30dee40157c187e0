"""Exact odds against figures that others have published.

Sources: combinations, probabilities and returns of the $1 pick-10 games of six casinos, Wizard of Odds, "Laughlin Keno
Survey" (wizardofodds.com/games/keno/appendix/14/); odds of the Washington Lottery's Daily Keno, 10 and 9 spots, from
its official rules; odds of solid catches as printed on lottery brochures.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from keno.game.odds import hit_probability, row_hit_frequency, row_rtp, row_variance


def one_in(probability: Fraction) -> str:
    return f"{float(1 / probability):,.2f}"


@pytest.mark.parametrize(
    ("picks", "hits", "odds"),
    [
        (1, 1, "4.00"),
        (2, 2, "16.63"),
        (3, 3, "72.07"),
        (4, 4, "326.44"),
        (5, 5, "1,550.57"),
        (6, 6, "7,752.84"),
        (7, 7, "40,979.31"),
        (8, 8, "230,114.61"),
        (9, 9, "1,380,687.65"),
        (10, 10, "8,911,711.18"),
        (10, 9, "163,381.37"),
        (10, 0, "21.84"),
        (9, 4, "8.76"),
    ],
)
def test_the_odds_of_hits_are_the_published_ones(picks: int, hits: int, odds: str) -> None:
    assert one_in(hit_probability(picks, hits)) == odds


def test_the_combinations_of_ten_spots_are_the_published_ones() -> None:
    published = [75394027566, 295662853200, 486137960550, 440275888800, 242559401700, 84675282048, 18900732600]
    published += [2652734400, 222966900, 10077600, 184756]
    assert [hit_probability(10, hits) * comb(80, 10) for hits in range(11)] == published


@pytest.mark.parametrize("picks", range(1, 11))
def test_some_number_of_hits_is_certain_and_a_quarter_of_the_picks_is_expected(picks: int) -> None:
    assert sum(hit_probability(picks, hits) for hits in range(picks + 1)) == 1
    assert sum(hits * hit_probability(picks, hits) for hits in range(picks + 1)) == Fraction(picks, 4)


@pytest.mark.parametrize("picks", range(1, 11))
def test_choosing_the_picks_or_the_draw_first_gives_the_same_odds(picks: int) -> None:
    for hits in range(picks + 1):
        assert hit_probability(picks, hits) == Fraction(comb(picks, hits) * comb(80 - picks, 20 - hits), comb(80, 20))


def test_hits_that_cannot_happen_have_probability_zero() -> None:
    assert hit_probability(3, 4) == 0
    assert hit_probability(3, -1) == 0


@pytest.mark.parametrize(
    ("casino", "pays_from_4_hits", "published"),
    [
        ("Aquarius", ["0", "2", "20", "132", "1000", "4000", "25000"], "0.707821"),
        ("Avi", ["0.5", "2", "20", "120", "800", "3800", "50000"], "0.736644"),
        ("Colorado Belle", ["1", "1", "20", "100", "800", "3500", "25000"], "0.722012"),
        ("Golden Nugget", ["0", "1", "20", "160", "1000", "5000", "50000"], "0.710432"),
        ("Harrah's", ["0", "2", "10", "80", "900", "5000", "50000"], "0.504632"),
        ("Riverside", ["0", "1", "20", "150", "1000", "4000", "50000"], "0.688200"),
    ],
)
def test_the_return_of_a_casinos_ten_spot_game_is_the_published_one(
    casino: str, pays_from_4_hits: list[str], published: str
) -> None:
    row = [0, 0, 0, 0, *(int(Fraction(pays) * 10) for pays in pays_from_4_hits)]
    assert f"{float(row_rtp(row, 10)):.6f}" == published, casino


@pytest.mark.parametrize(
    ("row", "published"),
    [
        ([3, 0, 0, 0, 0, 2, 5, 50, 500, 5_000, 100_000], "9.05"),
        ([0, 0, 0, 0, 1, 5, 10, 100, 2_500, 25_000], "6.53"),
    ],
)
def test_the_overall_odds_of_a_lottery_game_are_the_published_ones(row: list[int], published: str) -> None:
    assert one_in(row_hit_frequency(row)) == published


def test_the_variance_is_the_mean_squared_distance_from_the_return() -> None:
    row, scale = [0, 376], 100
    rtp = row_rtp(row, scale)
    assert rtp == Fraction(47, 50)
    by_definition = Fraction(3, 4) * (0 - rtp) ** 2 + Fraction(1, 4) * (Fraction(376, 100) - rtp) ** 2
    assert row_variance(row, scale) == by_definition
