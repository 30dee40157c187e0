"""Makes many consecutive rounds of evidence quickly: the test house, with each epoch's tree hashed once."""

from collections.abc import Iterator
from pathlib import Path

from tests.support import bundles
from tests.support.bundles import House, TestBet, dump, sha, uint

EPOCH_ROUNDS = 1024


class Tree:
    """An RFC 9162 tree of which every level is kept, so that a path costs its length."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._levels = [leaves]
        while len(level := self._levels[-1]) > 1:
            above = [sha(b"\x01", level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
            self._levels.append(above + level[len(above) * 2 :])

    def path(self, _leaves: list[bytes], index: int) -> list[bytes]:
        siblings = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                siblings.append(level[index ^ 1])
            index >>= 1
        return siblings


def write(path: Path, rounds: int, bets: int, *, public: bool = False) -> int:
    """Writes one file of `rounds` rounds of profile S with `bets` bets each; returns its size in bytes."""
    path.write_bytes(b"".join(_bundles(rounds, bets, public)))
    return path.stat().st_size


def _bundles(rounds: int, bets: int, public: bool) -> Iterator[bytes]:
    slow_path, prev_lock = bundles.path, bytes(32)
    try:
        for first in range(1, rounds + 1, EPOCH_ROUNDS):
            key = sha(b"benchmark", uint(first, 8))
            house = House(first=first, count=EPOCH_ROUNDS, epoch_key=key, prev_lock=prev_lock)
            bundles.path = Tree(house.commit_leaves).path
            for number in range(first, min(first + EPOCH_ROUNDS, rounds + 1)):
                yield dump(house.play(number, tuple(_bets(number, bets)), public=public))
            prev_lock = house.prev_lock
    finally:
        bundles.path = slow_path


def _bets(number: int, bets: int) -> Iterator[TestBet]:
    for index in range(bets):
        picks = tuple((number * 7 + index * 13 + 3 * pick) % 80 + 1 for pick in range(1 + (number + index) % 10))
        yield TestBet(number * bets + index, picks, 100 * (1 + index % 50), player=f"player {index % 7}")
