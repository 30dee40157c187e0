"""Draws of the real generator are statistically uniform, and the statistics notice when draws are not.

Everything is fixed: a million draws where all inputs vary, a quarter where one does; no test here can fail by chance.
"""

from __future__ import annotations

from hashlib import shake_256
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from keno import _core
from keno.fairness.rng.statistics import Statistics, measure
from keno.fairness.rng.tallies import Draws

DRAWS = 1_000_000
DRAWS_BY_ONE_INPUT = 250_000
BIASED_DRAWS = 200_000
ZEROS = bytes(32)


def column(label: str, count: int) -> bytes:
    """A value of 32 bytes a draw, different for each."""
    return shake_256(f"keno randomness test: {label}".encode()).digest(32 * count)


def stream(varied: set[str], label: str = "", count: int = DRAWS) -> Draws:
    """Draws of the real generator, of which only the inputs `varied` differ from draw to draw."""
    seeds, xs, beacons = (
        column(label + name, count) if name in varied else ZEROS * count for name in ("seed", "x", "beacon")
    )
    return np.frombuffer(_core.draw_many(seeds, xs, beacons), dtype=np.uint8).reshape(count, 20)


def exceeded(draws: Draws) -> set[str]:
    """The names of the statistics that these draws fail."""
    return {each.name for each in measure(draws) if not each.passes}


def draws_to_spoil(label: str) -> Draws:
    """Fair draws, to be changed by a test."""
    return stream({"seed"}, label, BIASED_DRAWS).copy()


def weighted_draws(seed: int, weights: npt.NDArray[np.float64], count: int = BIASED_DRAWS) -> Draws:
    """Draws in which each next number is chosen in proportion to its weight: the 20 first of 80 exponential clocks."""
    clocks = np.random.default_rng(seed).exponential(size=(count, 80)) / weights
    first = np.argpartition(clocks, 20, axis=1)[:, :20]
    order = np.take_along_axis(clocks, first, axis=1).argsort(axis=1)
    return np.take_along_axis(first, order, axis=1).astype(np.uint8) + np.uint8(1)


def test_a_million_draws_are_uniform() -> None:
    assert exceeded(stream({"seed", "x", "beacon"})) == set()


@pytest.mark.parametrize("varied", ["seed", "x", "beacon"])
def test_draws_are_uniform_whichever_input_alone_varies_between_them(varied: str) -> None:
    assert exceeded(stream({varied}, count=DRAWS_BY_ONE_INPUT)) == set()


def test_the_statistics_average_their_degrees_of_freedom_on_fair_draws() -> None:
    measured = [measure(weighted_draws(seed, np.ones(80), 20_000)) for seed in range(40)]
    for each in zip(*measured, strict=True):
        if each[0].of == 1:  # the largest of several averages more
            mean = float(np.mean([statistic.value for statistic in each]))
            assert abs(mean - each[0].degrees) < 4.5 * (2 * each[0].degrees / len(measured)) ** 0.5, each[0].name


def test_the_largest_of_80_gaps_is_as_large_as_80_of_them_make_it() -> None:
    (gaps,) = (each for each in measure(weighted_draws(7, np.ones(80))) if each.name == "gaps")
    assert (gaps.of, gaps.degrees) == (80, 15)
    assert 1e-3 < gaps.p <= 1


def test_draws_measured_in_chunks_of_any_size_have_the_same_statistics() -> None:
    draws = stream({"seed"}, "chunks", 10_000)
    chunked = Statistics()
    for start, end in pairwise([0, 1, 2, 9, 30, 4_000, 10_000]):
        chunked.add(draws[start:end])
    assert chunked.measured() == measure(draws)


@pytest.mark.parametrize(
    "spoiled",
    [list(range(20)), list(range(62, 82)), [1, 1, *range(3, 21)], list(range(1, 20)), list(range(1, 22))],
    ids=["a number 0", "a number 81", "a number twice", "19 numbers", "21 numbers"],
)
def test_what_is_no_draw_is_refused(spoiled: list[int]) -> None:
    with pytest.raises(ValueError, match="20 distinct numbers"):
        measure(np.array([spoiled, spoiled], dtype=np.uint8))


def test_numbers_taken_modulo_80_without_skipping_bytes_fail_what_looks_at_numbers() -> None:
    weights = np.bincount(np.arange(256) % 80, minlength=80).astype(np.float64)  # 4 for 1..16, 3 for the others
    everything = {each.name for each in measure(weighted_draws(1, np.ones(80), 1_000))}
    assert exceeded(weighted_draws(1, weights)) == everything - {"orders"}


def test_a_single_number_that_is_slightly_too_likely_fails_the_single_numbers_and_its_gaps() -> None:
    weights = np.ones(80)
    weights[76] = 1.04
    assert exceeded(weighted_draws(2, weights)) == {"singles", "gaps"}


def test_numbers_that_come_in_couples_fail_the_pairs_alone() -> None:
    draws = draws_to_spoil("couples")
    # Where one of 71 and 72 and one of 73 and 74 were drawn, often prefer 71 with 73 and 72 with 74.
    has = {number: (draws == number).any(axis=1) for number in (71, 72, 73, 74)}
    changed = np.random.default_rng(3).random(len(draws)) < 0.2
    for alone, without, leaves, enters in [(71, 72, 74, 73), (72, 71, 73, 74)]:
        rows = has[alone] & ~has[without] & has[leaves] & ~has[enters] & changed
        draws[rows] = np.where(draws[rows] == leaves, enters, draws[rows])
    assert exceeded(draws) == {"pairs"}


def test_a_house_that_spoils_a_winning_bet_fails_the_hits_of_that_bet() -> None:
    draws = draws_to_spoil("house")
    high_hits = (draws <= 10).sum(axis=1) >= 6
    for row in np.flatnonzero(high_hits)[::2]:
        draws[row, draws[row].argmin()] = next(number for number in range(11, 81) if number not in draws[row])
    assert "ten_spot_hits" in exceeded(draws)


def test_draws_that_now_and_then_repeat_the_previous_one_fail_the_overlap_alone() -> None:
    draws = draws_to_spoil("repeats")
    draws[500::500] = draws[499:-1:500]
    assert exceeded(draws) == {"overlap"}


def test_a_draw_that_likes_to_begin_with_its_smallest_number_fails_the_positions() -> None:
    draws = draws_to_spoil("first")
    rows = np.arange(0, len(draws), 50)
    smallest = draws[rows].argmin(axis=1)
    draws[rows, 0], draws[rows, smallest] = draws[rows, smallest], draws[rows, 0]
    assert "positions" in exceeded(draws)


def test_numbers_that_like_to_ascend_fail_the_orders() -> None:
    draws = draws_to_spoil("ascending")
    draws[::100, 5:10] = np.sort(draws[::100, 5:10], axis=1)
    assert "orders" in exceeded(draws)


def test_a_number_that_pauses_after_it_was_drawn_fails_the_gaps_alone() -> None:
    draws = draws_to_spoil("pause")
    has = (draws == 33).any(axis=1)
    # Where 33 was drawn twice in a row, sometimes the draw after goes to one that stands far from its like.
    twice = np.flatnonzero(has[1:-1] & has[:-2] & ~has[2:])[::10] + 1
    draws[twice], draws[twice + 1] = draws[twice + 1], draws[twice].copy()
    assert exceeded(draws) == {"gaps"}


def test_high_and_low_draws_that_like_to_alternate_fail_the_runs_and_the_serial_correlation() -> None:
    draws = draws_to_spoil("alternating")
    sums = draws.sum(axis=1, dtype=np.int64)
    # Of three draws in a row the highest or the lowest comes to the middle, in every fourth three.
    for start in range(0, len(draws) - 3, 12):
        order = np.argsort(sums[start : start + 3])
        draws[start : start + 3] = draws[start : start + 3][order[[0, 2, 1]]]
    assert exceeded(draws) == {"runs", "serial"}
