"""Inputs for the benchmarks of the core: the same in every run, and shaped like real rounds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keno import _core

SCALE = 100
WIN_MAX_MINOR = 5_000_000
# Half of the picks must hit, as in usual paytables: about every tenth bet wins.
ROWS: list[list[int]] = [[], *([0 if 2 * h < p else 60 * h**3 for h in range(p + 1)] for p in range(1, 11))]


@dataclass(frozen=True)
class Rounds:
    """Columns of seeds, X and beacon values, 32 bytes a round."""

    seeds: bytes
    xs: bytes
    beacons: bytes

    @property
    def count(self) -> int:
        return len(self.seeds) // 32


def rounds(count: int) -> Rounds:
    rng = np.random.default_rng(1)
    return Rounds(rng.bytes(32 * count), rng.bytes(32 * count), rng.bytes(32 * count))


@dataclass(frozen=True)
class Bets:
    """Bets of one round in one currency, 1 to 10 picks each, stakes of 1.00 to 100.00."""

    picks: bytes
    stakes: bytes
    numbers: bytes

    @property
    def count(self) -> int:
        return len(self.stakes) // 8

    @cached_property
    def terms_index(self) -> bytes:
        return bytes(self.count)

    def chunks(self, size: int) -> list["Bets"]:
        """The same bets as rounds of at most `size`, the way a settler streams a huge round."""
        return [
            Bets(self.picks[10 * at : 10 * (at + size)], self.stakes[8 * at : 8 * (at + size)], self.numbers)
            for at in range(0, self.count, size)
        ]

    @cached_property
    def drawn_mask(self) -> bytes:
        return _core.picks_mask(list(self.numbers))

    @cached_property
    def masks(self) -> list[int]:
        """The masks as integers, for the peer in pure Python."""
        return [int.from_bytes(self.picks[at : at + 10], "big") for at in range(0, len(self.picks), 10)]

    @cached_property
    def stake_list(self) -> list[int]:
        return [int(stake) for stake in np.frombuffer(self.stakes, "<i8")]


def bets(count: int) -> Bets:
    rng = np.random.default_rng(2)
    # The picks of at most 100,000 tickets, repeated: more would only take longer to make.
    tickets = min(count, 100_000)
    order = np.argpartition(rng.random((tickets, 80), np.float32), 10, axis=1)[:, :10]
    chosen = rng.integers(1, 11, tickets)
    bits = np.zeros((tickets, 80), np.uint8)
    for pick in range(10):
        rows = np.flatnonzero(chosen > pick)
        bits[rows, 79 - order[rows, pick]] = 1
    picks = np.resize(np.packbits(bits, axis=1), (count, 10)).tobytes()
    stakes = (rng.integers(1, 101, count) * 100).astype("<i8").tobytes()
    return Bets(picks, stakes, bytes(int(n) for n in rng.permutation(80)[:20] + 1))


def terms() -> _core.Terms:
    return _core.Terms(ROWS, SCALE, WIN_MAX_MINOR)
