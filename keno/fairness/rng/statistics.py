"""Statistics of keno draws: how far a sequence of draws lies from uniform sets of 20 of 80 numbers in uniform order.

Pure. Each statistic is about chi-square distributed for fair draws, and its p-value is how often fair draws exceed it;
`FAILS_BELOW` is the p-value of `docs/rng.md` below which draws are not accepted. They look at different things on
purpose: a draw can have perfectly even single numbers and still couple pairs of them, favour a bet, follow the previous
draw, or come in an order that tells which numbers it has. What each of them counts is in `tallies.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keno.fairness.rng import chi_square
from keno.fairness.rng.tallies import TALLIES, Cells, Draws, drawn_of

FAILS_BELOW = 1e-4
_CHUNK = 20_000  # rows of 80 float32 at a time, which stay in cache; sums of a chunk are exact in float32


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic of a sequence of draws. `limit` is the value whose p-value is `FAILS_BELOW`.

    Where it is the largest of several (`of`), p is theirs together: at most `of` times that of the largest alone.
    """

    name: str
    what: str
    value: float
    degrees: int
    of: int
    p: float
    limit: float
    cells: Cells

    @property
    def passes(self) -> bool:
        """Whether fair draws exceed the value often enough."""
        return self.p >= FAILS_BELOW


class Statistics:
    """Takes draws chunk by chunk, in bounded memory, and says how they compare with fair ones."""

    def __init__(self) -> None:
        self._tallies = [tally() for tally in TALLIES]
        self.draws_count = 0

    def add(self, draws: Draws) -> None:
        """Takes the next draws: n x 20 distinct numbers in 1..80 as uint8, in the order they were drawn."""
        for start in range(0, len(draws), _CHUNK):
            chunk = draws[start : start + _CHUNK]
            drawn = drawn_of(chunk)
            for tally in self._tallies:
                tally.add(chunk, drawn)
        self.draws_count += len(draws)

    def measured(self) -> list[Statistic]:
        """The statistics of all draws so far, of which there are two or more."""
        found = []
        for tally in self._tallies:
            value, cells = tally.measured(self.draws_count)
            found.append(
                Statistic(
                    name=tally.name,
                    what=tally.what,
                    value=value,
                    degrees=tally.degrees,
                    of=tally.of,
                    p=min(1.0, tally.of * chi_square.exceeding(value, tally.degrees)),
                    limit=chi_square.exceeded_with(FAILS_BELOW / tally.of, tally.degrees),
                    cells=cells,
                )
            )
        return found


def measure(draws: Draws) -> Sequence[Statistic]:
    """The statistics of draws that are all there at once."""
    statistics = Statistics()
    statistics.add(draws)
    return statistics.measured()
