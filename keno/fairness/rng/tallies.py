"""What the statistics of draws count, and the chi-square value that follows from the counts.

Pure. Three are normalised for drawing without replacement. Let q_k be the probability that k given numbers are all
drawn. Which numbers a draw has varies by q_1 - q_2 in each of 79 directions (20 are drawn, so the 80th is fixed), while
Pearson's sum divides by q_1: it is multiplied by q_1 / (q_1 - q_2) = 79/60. Which pairs a draw has follows the Johnson
scheme J(80, 2): apart from the 80 directions that single numbers determine there are 3080, and in each of them it
varies by q_2 - 2 q_3 + q_4, by which the squared residuals in these directions are divided. Which number comes at which
position is a 20 x 80 table of a partial permutation: without the directions of its rows and columns there are 19 x 79,
and in each of them it varies by 1/79.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, permutations
from math import comb, erf, perm, sqrt
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

NUMBERS, DRAWN, SPOTS = 80, 20, 10

Draws = npt.NDArray[np.uint8]
Drawn = npt.NDArray[np.float32]
"""A row a draw, 1 in column n - 1 where number n was drawn."""
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cells:
    """What was counted beside what was expected; `sigmas` is how many standard deviations lie between them."""

    labels: list[str]
    observed: list[float]
    expected: list[float]
    sigmas: list[float]


class Tally(Protocol):
    """Counts one thing over all draws. `of` is how many values it measures, of which it returns the largest."""

    name: ClassVar[str]
    what: ClassVar[str]
    degrees: ClassVar[int]
    of: ClassVar[int]

    def add(self, draws: Draws, drawn: Drawn) -> None:
        """Takes the next draws, as numbers and as indicators."""

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        """The chi-square value and what it comes from."""


def drawn_of(draws: Draws) -> Drawn:
    """Draws as indicators. ValueError: one of them has not 20 distinct numbers in 1..80."""
    drawn = np.zeros((len(draws), NUMBERS + 1), dtype=np.float32)
    valid = draws.ndim == 2 and draws.shape[1] == DRAWN and bool((draws <= NUMBERS).all())
    if valid:
        np.put_along_axis(drawn, draws.astype(np.int64), 1.0, axis=1)
    drawn = drawn[:, 1:]
    if not valid or not bool((drawn.sum(axis=1) == DRAWN).all()):
        raise ValueError("a draw has 20 distinct numbers from 1 to 80")
    return drawn


class Singles:
    """How often each number was drawn."""

    name = "singles"
    what = "how often each number was drawn"
    degrees, of = NUMBERS - 1, 1

    def __init__(self) -> None:
        self._counts = np.zeros(NUMBERS)

    def add(self, draws: Draws, drawn: Drawn) -> None:
        self._counts += drawn.sum(axis=0)

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        expected = draws_count * DRAWN / NUMBERS
        value = float(((self._counts - expected) ** 2).sum() / expected) * 79 / 60
        sigma = sqrt(draws_count * DRAWN / NUMBERS * (1 - DRAWN / NUMBERS))
        labels = [str(number) for number in range(1, NUMBERS + 1)]
        return value, _cells(labels, self._counts, np.full(NUMBERS, expected), sigma)


class Pairs:
    """How often each two numbers were drawn together."""

    name = "pairs"
    what = "how often each of the 3160 pairs of numbers was drawn together (shown: how the pairs deviate)"
    degrees, of = comb(NUMBERS, 2) - NUMBERS, 1

    def __init__(self) -> None:
        self._together = np.zeros((NUMBERS, NUMBERS))

    def add(self, draws: Draws, drawn: Drawn) -> None:
        self._together += drawn.T @ drawn

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        q2, q3, q4 = (float(Fraction(perm(DRAWN, k), perm(NUMBERS, k))) for k in (2, 3, 4))
        residual = self._together - draws_count * q2
        np.fill_diagonal(residual, 0.0)
        deviations = residual[np.triu_indices(NUMBERS, 1)] / sqrt(draws_count * q2 * (1 - q2))
        of_number = residual.sum(axis=1) / (NUMBERS - 2)
        residual -= of_number[:, None] + of_number[None, :]
        np.fill_diagonal(residual, 0.0)
        value = float((residual**2).sum() / 2) / (draws_count * (q2 - 2 * q3 + q4))
        return value, _normal_cells(deviations)


class TenSpotHits:
    """How many of the numbers 1 to 10 a draw hits, the last cell taking 8 and more."""

    name = "ten_spot_hits"
    what = "how many hits a bet on the numbers 1 to 10 has"
    degrees, of = 8, 1

    def __init__(self) -> None:
        self._counts = np.zeros(SPOTS + 1, dtype=np.int64)

    def add(self, draws: Draws, drawn: Drawn) -> None:
        self._counts += np.bincount(drawn[:, :SPOTS].sum(axis=1).astype(np.int64), minlength=SPOTS + 1)

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        return _hypergeometric(self._counts, SPOTS, self.degrees + 1)


class Overlap:
    """How many numbers a draw has in common with the one before it, the last cell taking 12 and more."""

    name = "overlap"
    what = "how many numbers a draw has in common with the draw before it"
    degrees, of = 12, 1

    def __init__(self) -> None:
        self._counts = np.zeros(DRAWN + 1, dtype=np.int64)
        self._last = np.zeros((0, NUMBERS), dtype=np.float32)

    def add(self, draws: Draws, drawn: Drawn) -> None:
        following = np.concatenate([self._last, drawn])
        common = np.einsum("ij,ij->i", following[1:], following[:-1])
        self._counts += np.bincount(common.astype(np.int64), minlength=DRAWN + 1)
        self._last = drawn[-1:]

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        return _hypergeometric(self._counts, DRAWN, self.degrees + 1)


class Positions:
    """Which number comes at which position of the draw, beyond how often it comes at all."""

    name = "positions"
    what = "which number comes at which of the 20 positions (shown: how the 1600 cells deviate)"
    degrees, of = (DRAWN - 1) * (NUMBERS - 1), 1

    def __init__(self) -> None:
        self._counts = np.zeros((DRAWN, NUMBERS))

    def add(self, draws: Draws, drawn: Drawn) -> None:
        cells = draws.astype(np.int64) - 1 + np.arange(DRAWN) * NUMBERS
        self._counts += np.bincount(cells.ravel(), minlength=DRAWN * NUMBERS).reshape(DRAWN, NUMBERS)

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        residual = self._counts - self._counts.mean(axis=0)
        value = float((residual**2).sum()) * (NUMBERS - 1) / draws_count
        chance = 1 / NUMBERS
        deviations = (self._counts - draws_count * chance) / sqrt(draws_count * chance * (1 - chance))
        return value, _normal_cells(deviations.ravel())


class Orders:
    """Which of the 120 orders five numbers come in that are drawn one after the other: four such groups a draw."""

    name = "orders"
    what = "in which of 120 orders five numbers come that are drawn in a row"
    degrees, of = 119, 1
    _GROUP = 5

    def __init__(self) -> None:
        self._pairs = list(combinations(range(self._GROUP), 2))
        self._counts = np.zeros(1 << len(self._pairs), dtype=np.int64)

    def add(self, draws: Draws, drawn: Drawn) -> None:
        groups = draws.reshape(-1, self._GROUP)
        code = np.zeros(len(groups), dtype=np.int64)
        for bit, (first, second) in enumerate(self._pairs):
            code |= (groups[:, first] < groups[:, second]).astype(np.int64) << bit
        self._counts += np.bincount(code, minlength=len(self._counts))

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        orders = list(permutations(range(self._GROUP)))
        codes = [sum((o[a] < o[b]) << bit for bit, (a, b) in enumerate(self._pairs)) for o in orders]
        labels = ["".join(str(rank + 1) for rank in order) for order in orders]
        observed = self._counts[codes]
        return _pearson(labels, observed, np.full(len(orders), observed.sum() / len(orders)))


class Gaps:
    """After how many draws a number comes again, the last cell taking 16 and more: the worst of the 80 numbers."""

    name = "gaps"
    what = "after how many draws a number comes again; the worst of the 80 numbers counts"
    degrees, of = 15, NUMBERS

    def __init__(self) -> None:
        self._counts = np.zeros((NUMBERS, self.degrees + 1), dtype=np.int64)
        self._last = np.full(NUMBERS, -1, dtype=np.int64)
        self._seen = 0

    def add(self, draws: Draws, drawn: Drawn) -> None:
        number, at = np.nonzero(drawn.T)
        # Each number's earlier appearance stands before those of this chunk.
        known = np.flatnonzero(self._last >= 0)
        number, at = np.concatenate([known, number]), np.concatenate([self._last[known], at + self._seen])
        order = np.argsort(number, kind="stable")
        number, at = number[order], at[order]
        same = number[1:] == number[:-1]
        gaps = np.minimum((at[1:] - at[:-1])[same], self.degrees + 1) - 1
        cells = number[1:][same] * (self.degrees + 1) + gaps
        self._counts += np.bincount(cells, minlength=self._counts.size).reshape(self._counts.shape)
        self._last[number] = at  # of a number's appearances, all assigned in turn, the last one stays
        self._seen += len(draws)

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        chance = DRAWN / NUMBERS
        chances = np.array([chance * (1 - chance) ** k for k in range(self.degrees)] + [(1 - chance) ** self.degrees])
        labels = [*(str(gap) for gap in range(1, self.degrees + 1)), f"{self.degrees + 1}+"]
        return max(
            (_pearson(labels, counts, counts.sum() * chances) for counts in self._counts), key=lambda found: found[0]
        )


class Runs:
    """How often the draw's sum changes sides of 810, its mean and median; sums of 810 are left out."""

    name = "runs"
    what = "in how many runs the sums of draws stay above or below 810"
    degrees, of = 1, 1

    def __init__(self) -> None:
        self._changes = self._steps = 0
        self._last = np.zeros(0, dtype=np.int64)

    def add(self, draws: Draws, drawn: Drawn) -> None:
        sides = np.sign(_centred_sums(draws))
        sides = np.concatenate([self._last, sides[sides != 0]])
        self._changes += int((sides[1:] != sides[:-1]).sum())
        self._steps += max(len(sides) - 1, 0)
        self._last = sides[-1:]

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        expected, sigma = self._steps / 2, sqrt(self._steps) / 2
        cells = _cells(["runs"], np.array([self._changes + 1.0]), np.array([expected + 1]), sigma)
        return cells.sigmas[0] ** 2, cells


class Serial:
    """How the draw's sum correlates with that of the draw 1 to 10 before it, its mean and variance being known."""

    name = "serial"
    what = "how the sums of draws correlate with those of the draw 1 to 10 before"
    degrees, of = 10, 1
    _VARIANCE = DRAWN * (NUMBERS + 1) * (NUMBERS - DRAWN) // 12

    def __init__(self) -> None:
        self._products = np.zeros(self.degrees, dtype=np.int64)
        self._last = np.zeros(0, dtype=np.int64)

    def add(self, draws: Draws, drawn: Drawn) -> None:
        before = len(self._last)
        sums = np.concatenate([self._last, _centred_sums(draws)])
        for lag in range(1, self.degrees + 1):
            start = max(before, lag)
            later = sums[start:]
            self._products[lag - 1] += int((later * sums[start - lag :][: len(later)]).sum())
        self._last = sums[-self.degrees :]

    def measured(self, draws_count: int) -> tuple[float, Cells]:
        lags = np.arange(1, self.degrees + 1)
        terms = draws_count - lags
        correlations = self._products / self._VARIANCE / terms
        cells = _cells([str(lag) for lag in lags], correlations, np.zeros(self.degrees), 1 / np.sqrt(terms))
        return sum(sigma**2 for sigma in cells.sigmas), cells


TALLIES = (Singles, Pairs, TenSpotHits, Overlap, Positions, Orders, Gaps, Runs, Serial)


def _centred_sums(draws: Draws) -> Counts:
    sums: Counts = draws.sum(axis=1, dtype=np.int64) - DRAWN * (NUMBERS + 1) // 2
    return sums


def _hypergeometric(observed: Counts, chosen: int, cells: int) -> tuple[float, Cells]:
    """Pearson's statistic of how many of `chosen` numbers are drawn, the last cell taking all higher counts."""
    n = int(observed.sum())
    ways = [comb(DRAWN, hits) * comb(NUMBERS - DRAWN, chosen - hits) for hits in range(chosen + 1)]
    expected = np.array([n * float(Fraction(way, comb(NUMBERS, chosen))) for way in ways])
    merged_observed = np.append(observed[: cells - 1], observed[cells - 1 :].sum())
    merged_expected = np.append(expected[: cells - 1], expected[cells - 1 :].sum())
    labels = [*(str(hits) for hits in range(cells - 1)), f"{cells - 1}+"]
    return _pearson(labels, merged_observed, merged_expected)


def _pearson(labels: list[str], observed: Counts, expected: Floats) -> tuple[float, Cells]:
    sigma = np.sqrt(expected * (1 - expected / expected.sum()))
    return float(((observed - expected) ** 2 / expected).sum()), _cells(labels, observed, expected, sigma)


def _normal_cells(deviations: Floats) -> Cells:
    """Standardised deviations sorted into cells half a standard deviation wide, beside the normal distribution."""
    edges = np.arange(-4, 4.5, 0.5)
    observed, _ = np.histogram(np.clip(deviations, -3.99, 3.99), edges)
    below = np.array([0.5 * (1 + erf(edge / sqrt(2))) for edge in edges])
    below[0], below[-1] = 0, 1
    labels = [f"{edge:+.1f}" for edge in edges[:-1]]
    expected = np.diff(below) * len(deviations)
    return _cells(labels, observed, expected, np.sqrt(expected * (1 - np.diff(below))))


def _cells(labels: list[str], observed: Counts | Floats, expected: Floats, sigma: Floats | float) -> Cells:
    deviations = (observed - expected) / sigma
    return Cells(labels, observed.tolist(), expected.tolist(), deviations.tolist())
