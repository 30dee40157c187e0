"""keno1 in the terms of a round: which values enter a lock and a draw, and in which profile.

Pure. The bytes are hashed by the Rust core; the protocol's table is in docs/fairness.md. Hashes, seeds and keys are 32
raw bytes, rooms 16. Where seeds come from and when they may be used is the vault's business, not this module's.
"""

from hashlib import sha256
from typing import Literal, NamedTuple

from keno import _core

Profile = Literal["S", "E", "B"]

ZERO32 = bytes(32)
QUICKNET_GENESIS_MS = 1_692_803_367_000
QUICKNET_PERIOD_MS = 3_000

EpochKey = _core.EpochKey
Lock = _core.Lock
commits_root = _core.commits_root
commit_path = _core.commit_path
epoch_hash = _core.epoch_hash
commit = _core.commit
account_hash = _core.account_hash
void_hash = _core.void_hash


class Draw(NamedTuple):
    """A draw and what it was derived from. `numbers` are 20 bytes in draw order."""

    lock: Lock
    round_seed: bytes
    beacon: bytes
    binds_bets: bool
    numbers: bytes
    result: bytes

    @property
    def x(self) -> bytes:
        """The value by which the draw binds what was known when the round was locked: L or P of the lock, 32 bytes."""
        return self.lock.hash if self.binds_bets else self.lock.pre

    @property
    def block0(self) -> bytes:
        """The first 32 bytes that the numbers were taken from: evidence shows them, a draw does not need them."""
        return _core.draw_block(self.round_seed, self.x, self.beacon, 0)


def beacon_round_at(at_ms: int, guard_ms: int) -> int:
    """The first drand quicknet round that is published `guard_ms` or more after `at_ms` (UTC milliseconds)."""
    return -(-(at_ms + guard_ms - QUICKNET_GENESIS_MS) // QUICKNET_PERIOD_MS) + 1


def draw(profile: Profile, lock: Lock, round_seed: bytes, beacon_sig: bytes) -> Draw:
    """The draw of a locked round from its seed and, in profiles E and B, the signature of its beacon round.

    A pure function: repeated after a crash it gives the same numbers.
    """
    beacon = ZERO32 if profile == "S" else sha256(beacon_sig).digest()
    binds_bets = profile == "B"
    return Draw(lock, round_seed, beacon, binds_bets, *lock.draw(round_seed, beacon, binds_bets))


def draw_numbers(round_seed: bytes, x: bytes, beacon: bytes) -> list[int]:
    """The 20 numbers, in draw order, of raw protocol values (32 bytes each)."""
    return list(_core.draw(round_seed, x, beacon))
