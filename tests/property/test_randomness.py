"""Draws of the real generator are statistically uniform, and the statistics notice when draws are not.

Everything is fixed: a million draws a stream, whichever input varies; no test here can fail by chance.
"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import shake_256

import numpy as np
import numpy.typing as npt
import pytest

from keno import _core
from tests.draw_statistics import LIMITS, Draws, measure

DRAWS = 1_000_000
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
    limits = asdict(LIMITS)
    return {name for name, value in asdict(measure(draws)).items() if not value < limits[name]}


def draws_to_spoil(label: str) -> Draws:
    """Fair draws, each in ascending order, to be changed by a test."""
    return np.sort(stream({"seed"}, label, BIASED_DRAWS), axis=1)


def weighted_draws(seed: int, weights: npt.NDArray[np.float64], count: int = BIASED_DRAWS) -> Draws:
    """Draws in which each next number is chosen in proportion to its weight: the 20 first of 80 exponential clocks."""
    clocks = np.random.default_rng(seed).exponential(size=(count, 80)) / weights
    return np.sort(np.argpartition(clocks, 20, axis=1)[:, :20], axis=1).astype(np.uint8) + np.uint8(1)


@pytest.mark.parametrize(
    "varied",
    [{"seed"}, {"x"}, {"beacon"}, {"seed", "x", "beacon"}],
    ids=["only the seed", "only x", "only the beacon", "all inputs"],
)
def test_a_million_draws_are_uniform_whatever_varies_between_them(varied: set[str]) -> None:
    assert exceeded(stream(varied)) == set()


def test_the_statistics_average_their_degrees_of_freedom_on_fair_draws() -> None:
    measured = [asdict(measure(weighted_draws(seed, np.ones(80), 20_000))) for seed in range(40)]
    for name, degrees in {"singles": 79, "pairs": 3080, "ten_spot_hits": 8, "overlap": 12}.items():
        mean = float(np.mean([values[name] for values in measured]))
        assert abs(mean - degrees) < 4.5 * (2 * degrees / len(measured)) ** 0.5, name


def test_numbers_taken_modulo_80_without_skipping_bytes_fail_every_statistic() -> None:
    weights = np.bincount(np.arange(256) % 80, minlength=80).astype(np.float64)  # 4 for 1..16, 3 for the others
    assert exceeded(weighted_draws(1, weights)) == {"singles", "pairs", "ten_spot_hits", "overlap"}


def test_a_single_number_that_is_slightly_too_likely_fails_the_single_numbers() -> None:
    weights = np.ones(80)
    weights[76] = 1.04
    assert exceeded(weighted_draws(2, weights)) == {"singles"}


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
        draws[row, 0] = next(number for number in range(11, 81) if number not in draws[row])
    assert "ten_spot_hits" in exceeded(draws)


def test_draws_that_now_and_then_repeat_the_previous_one_fail_the_overlap_alone() -> None:
    draws = draws_to_spoil("repeats")
    draws[500::500] = draws[499:-1:500]
    assert exceeded(draws) == {"overlap"}
