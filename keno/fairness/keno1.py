"""keno1 in the terms of a round: which values enter a lock and a draw, and in which profile.

Pure. The bytes are hashed by the Rust core; the protocol's table is in docs/fairness.md. Hashes, seeds and keys are 32
raw bytes, rooms 16. Where seeds come from and when they may be used is the vault's business, not this module's.
"""

from hashlib import sha256
from struct import Struct
from typing import Literal, NamedTuple

from keno import _core

Profile = Literal["S", "E", "B"]

ZERO32 = bytes(32)
QUICKNET_GENESIS_MS = 1_692_803_367_000
QUICKNET_PERIOD_MS = 3_000
_LOCK = Struct(">16s Q 32s 32s 32s Q Q Q 32s")

EpochKey = _core.EpochKey
commits_root = _core.commits_root
commit_path = _core.commit_path
epoch_hash = _core.epoch_hash
commit = _core.commit
account_hash = _core.account_hash
void_hash = _core.void_hash


class Lock(NamedTuple):
    """What the lock of a round commits to, in the order in which it is hashed; `hash` is L."""

    room: bytes
    number: int
    commit: bytes
    rules: bytes
    bets_root: bytes
    bets_count: int
    lock_ms: int
    beacon_round: int
    prev_lock: bytes

    @classmethod
    def from_bytes(cls, hashed: bytes) -> "Lock":
        """The lock whose `hash` is over these 176 bytes behind their tag. Raises struct.error for another length."""
        return cls._make(_LOCK.unpack(hashed))

    @property
    def hash(self) -> bytes:
        """L = SHA256("keno1:lock" ...), 32 bytes."""
        return _core.lock_hash(*self)

    @property
    def pre(self) -> bytes:
        """P = SHA256("keno1:pre" ...), 32 bytes: what is known of the round before its bets."""
        return _core.pre_hash(self.room, self.number, self.commit, self.beacon_round)


class Draw(NamedTuple):
    """A draw and what it was derived from. `numbers` are 20 bytes in draw order."""

    lock_hash: bytes
    round_seed: bytes
    x: bytes
    beacon: bytes
    numbers: bytes
    result: bytes

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
    lock_hash = lock.hash
    beacon = ZERO32 if profile == "S" else sha256(beacon_sig).digest()
    x = lock_hash if profile == "B" else lock.pre
    numbers = _core.draw(round_seed, x, beacon)
    return Draw(
        lock_hash=lock_hash,
        round_seed=round_seed,
        x=x,
        beacon=beacon,
        numbers=numbers,
        result=_core.result_hash(lock_hash, round_seed, beacon, numbers),
    )


def draw_numbers(round_seed: bytes, x: bytes, beacon: bytes) -> list[int]:
    """The 20 numbers, in draw order, of raw protocol values (32 bytes each)."""
    return list(_core.draw(round_seed, x, beacon))
