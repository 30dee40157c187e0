"""Statistics of keno draws: how far a sequence of draws lies from uniform sets of 20 of 80 numbers.

Each statistic is about chi-square distributed for fair draws; `LIMITS` are the values that fair draws exceed with
probability 10**-4 (`docs/fairness.md`). They look at different things on purpose: a draw can have perfectly even single
numbers and still couple pairs of them, favour a bet, or follow the previous draw.

The first two are normalised for drawing without replacement. Let q_k be the probability that k given numbers are all
drawn. Which numbers a draw has varies by q_1 - q_2 in each of 79 directions (20 are drawn, so the 80th is fixed), while
Pearson's sum divides by q_1: it is multiplied by q_1 / (q_1 - q_2) = 79/60. Which pairs a draw has follows the Johnson
scheme J(80, 2): apart from the 80 directions that single numbers determine there are 3080, and in each of them it
varies by q_2 - 2 q_3 + q_4, by which the squared residuals in these directions are divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb, perm

import numpy as np
import numpy.typing as npt

NUMBERS, DRAWN, SPOTS = 80, 20, 10
HIT_CELLS = 9  # 0..7, and 8 or more: 8 degrees of freedom
OVERLAP_CELLS = 13  # 0..11, and 12 or more: 12 degrees of freedom
CHUNK = 20_000  # rows of 80 float32 at a time, which stay in cache; sums of a chunk are exact in float32

Draws = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DrawStatistics:
    """Chi-square values: single numbers (79 df), pairs (3080 df), hits of the ten spots 1..10 (8 df), overlap with the
    previous draw (12 df).
    """

    singles: float
    pairs: float
    ten_spot_hits: float
    overlap: float


LIMITS = DrawStatistics(singles=134.5, pairs=3380.0, ten_spot_hits=31.8, overlap=39.1)


def measure(draws: Draws) -> DrawStatistics:
    """The statistics of n >= 2 draws, an array of n x 20 distinct numbers in 1..80, in the order they were drawn."""
    together = np.zeros((NUMBERS, NUMBERS))
    hits = np.zeros(SPOTS + 1, dtype=np.int64)
    overlaps = np.zeros(DRAWN + 1, dtype=np.int64)
    last = np.zeros((0, NUMBERS), dtype=np.float32)
    for start in range(0, len(draws), CHUNK):
        drawn = _indicators(draws[start : start + CHUNK])
        together += drawn.T @ drawn
        hits += np.bincount(drawn[:, :SPOTS].sum(axis=1).astype(np.int64), minlength=SPOTS + 1)
        following = np.concatenate([last, drawn])
        overlap = np.einsum("ij,ij->i", following[1:], following[:-1])
        overlaps += np.bincount(overlap.astype(np.int64), minlength=DRAWN + 1)
        last = drawn[-1:]
    return DrawStatistics(
        singles=_singles(np.diagonal(together), len(draws)),
        pairs=_pairs(together, len(draws)),
        ten_spot_hits=_hypergeometric(hits, SPOTS, HIT_CELLS),
        overlap=_hypergeometric(overlaps, DRAWN, OVERLAP_CELLS),
    )


def _indicators(draws: Draws) -> npt.NDArray[np.float32]:
    drawn = np.zeros((len(draws), NUMBERS), dtype=np.float32)
    np.put_along_axis(drawn, draws.astype(np.int64) - 1, 1.0, axis=1)
    assert (drawn.sum(axis=1) == DRAWN).all(), "a draw has 20 distinct numbers"
    return drawn


def _singles(counts: npt.NDArray[np.float64], n: int) -> float:
    expected = n * DRAWN / NUMBERS
    return float(((counts - expected) ** 2).sum() / expected) * 79 / 60


def _pairs(together: npt.NDArray[np.float64], n: int) -> float:
    q2, q3, q4 = (float(Fraction(perm(DRAWN, k), perm(NUMBERS, k))) for k in (2, 3, 4))
    residual = together - n * q2
    np.fill_diagonal(residual, 0.0)
    of_number = residual.sum(axis=1) / (NUMBERS - 2)
    residual -= of_number[:, None] + of_number[None, :]
    np.fill_diagonal(residual, 0.0)
    return float((residual**2).sum() / 2) / (n * (q2 - 2 * q3 + q4))


def _hypergeometric(observed: npt.NDArray[np.int64], chosen: int, cells: int) -> float:
    """Pearson's statistic of how many of `chosen` numbers are drawn, the last cell taking all higher counts."""
    n = int(observed.sum())
    ways = [comb(DRAWN, hits) * comb(NUMBERS - DRAWN, chosen - hits) for hits in range(chosen + 1)]
    expected = np.array([n * float(Fraction(way, comb(NUMBERS, chosen))) for way in ways])
    merged_observed = np.append(observed[: cells - 1], observed[cells - 1 :].sum())
    merged_expected = np.append(expected[: cells - 1], expected[cells - 1 :].sum())
    return float(((merged_observed - merged_expected) ** 2 / merged_expected).sum())
