"""pytest-benchmark over the core and its peers; every benchmark checks that both sides computed the same.

Not part of `make test`. Ratios and targets are the business of `benchmarks/core.py`.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import core_cases
from benchmarks.peers import core_numpy, core_python
from keno import _core

SIZES = [100_000, 1_000_000]
MULTIPLIERS = core_numpy.table(core_cases.ROWS)


@pytest.fixture(scope="module", params=SIZES)
def bets(request: pytest.FixtureRequest) -> core_cases.Bets:
    return core_cases.bets(request.param)


def settle(bets: core_cases.Bets) -> _core.Settled:
    return _core.settle(bets.picks, bets.stakes, bets.terms_index, [core_cases.terms()], bets.numbers)


def settle_numpy(bets: core_cases.Bets) -> core_numpy.Outcome:
    limits = (core_cases.SCALE, core_cases.WIN_MAX_MINOR)
    return core_numpy.settle(bets.picks, bets.stakes, MULTIPLIERS, *limits, bets.drawn_mask)


def test_one_draw(benchmark: BenchmarkFixture) -> None:
    one = core_cases.rounds(1)
    numbers = benchmark(_core.draw, one.seeds, one.xs, one.beacons)
    assert numbers == core_python.draw(one.seeds, one.xs, one.beacons)


def test_draws_in_bulk(benchmark: BenchmarkFixture) -> None:
    many = core_cases.rounds(10_000)
    numbers = benchmark(_core.draw_many, many.seeds, many.xs, many.beacons)
    assert numbers == core_python.draw_many(many.seeds, many.xs, many.beacons)


def test_draws_by_the_standard_library(benchmark: BenchmarkFixture) -> None:
    many = core_cases.rounds(1_000)
    numbers = benchmark(core_python.draw_many, many.seeds, many.xs, many.beacons)
    assert numbers == _core.draw_many(many.seeds, many.xs, many.beacons)


def test_merkle_root_of_bet_leaves(benchmark: BenchmarkFixture) -> None:
    leaves = np.random.default_rng(3).bytes(138 * 10_000)
    assert benchmark(_core.leaves_root, leaves, 138) == core_python.leaves_root(leaves, 138)


def test_settlement(benchmark: BenchmarkFixture, bets: core_cases.Bets) -> None:
    ours, theirs = benchmark(settle, bets), settle_numpy(bets)
    assert ours.hits == theirs.hits.tobytes()
    assert ours.payouts == theirs.payouts.tobytes()
    assert ours.cuts == theirs.cuts.tobytes()


def test_settlement_by_numpy(benchmark: BenchmarkFixture, bets: core_cases.Bets) -> None:
    assert benchmark(settle_numpy, bets).payouts.tobytes() == settle(bets).payouts


def test_settlement_by_pure_python(benchmark: BenchmarkFixture) -> None:
    bets = core_cases.bets(SIZES[0])
    drawn = int.from_bytes(bets.drawn_mask, "big")
    rules = (core_cases.ROWS, core_cases.SCALE, core_cases.WIN_MAX_MINOR, drawn)
    _, payouts, _ = benchmark(core_python.settle, bets.masks, bets.stake_list, *rules)
    assert np.array(payouts, "<i8").tobytes() == settle(bets).payouts
