"""The shipped paytables played: draws of the real generator, settled by the real settlement, against exact odds."""

from __future__ import annotations

from hashlib import shake_256
from struct import pack

import numpy as np
import pytest

from keno import _core
from keno.game.numbers import picks_mask
from keno.game.odds import hit_probability
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rtp import describe
from keno.game.rules import CurrencyRules, build
from keno.game.settlement import RoundTerms

ROUNDS = 150_000
STAKE_MINOR = 100
EUR = CurrencyRules(
    exponent=2, stake_min_minor=100, stake_max_minor=100, stake_step_minor=100, win_max_minor=1_000_000_000
)
# Upper 10**-4 points of chi-square, by degrees of freedom.
CHI_SQUARE_LIMIT = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 5: 25.74, 6: 27.86, 7: 29.88, 8: 31.83}


@pytest.mark.parametrize("name", ["92", "94", "96"])
def test_played_rounds_hit_and_return_what_the_mathematics_says(name: str) -> None:
    paytable = shipped_paytable(name)
    rules = build(
        profile="S",
        guard_ms=2000,
        beacon_chain=None,
        rtp_bounds=rtp_profile(name).rtp_bounds,
        paytables=[paytable.hash],
        currencies={"EUR": EUR},
    )
    terms = RoundTerms(rules, [paytable])
    # One bet a pick count, each with its own numbers: 1; 2 3; 4 5 6; ...
    picks = [list(range(p * (p - 1) // 2 + 1, p * (p + 1) // 2 + 1)) for p in range(1, 11)]
    bets = b"".join(map(picks_mask, picks)), pack("<10q", *[STAKE_MINOR] * 10), bytes(10)

    seeds = shake_256(f"keno simulation {name}".encode()).digest(32 * ROUNDS)
    numbers = _core.draw_many(seeds, bytes(32 * ROUNDS), bytes(32 * ROUNDS))
    settled = [_core.settle(*bets, terms.core_terms, numbers[20 * row : 20 * row + 20]) for row in range(ROUNDS)]
    hits = np.frombuffer(b"".join(one.hits for one in settled), dtype=np.uint8).reshape(ROUNDS, 10)
    payouts = np.frombuffer(b"".join(one.payouts for one in settled), dtype="<i8").reshape(ROUNDS, 10)

    for row in describe(paytable):
        observed = np.bincount(hits[:, row.picks - 1], minlength=row.picks + 1)
        assert_hits_are_hypergeometric(observed, row.picks)
        distance = payouts[:, row.picks - 1].mean() / STAKE_MINOR - float(row.rtp)
        assert abs(distance) < 4.5 * float(row.variance / ROUNDS) ** 0.5, row.picks


def assert_hits_are_hypergeometric(observed: np.ndarray[tuple[int], np.dtype[np.int64]], picks: int) -> None:
    """Pearson's test at 10**-4; the rare high hit counts, expected less than 8 times, are one cell."""
    expected = [float(hit_probability(picks, hits)) * ROUNDS for hits in range(picks + 1)]
    while expected[-1] < 8:
        rare = expected.pop()
        expected[-1] += rare
    cells = [*observed[: len(expected) - 1], observed[len(expected) - 1 :].sum()]
    statistic = sum((seen - mean) ** 2 / mean for seen, mean in zip(cells, expected, strict=True))
    assert statistic < CHI_SQUARE_LIMIT[len(expected) - 1], (picks, cells)
