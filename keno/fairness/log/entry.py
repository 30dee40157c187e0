"""The entries of the log as bytes (docs/log.md): what a monitor needs to recompute the hash that an entry states.

Pure: values in, bytes out. An entry states what was stored; whether that is right is for monitors to find.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from keno.fairness import keno1

TAG = b"keno1:log"


class Kind(IntEnum):
    """What an entry is about; frozen numbers."""

    EPOCH = 1
    LOCK = 2
    RESULT = 3
    VOID = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with what it is found by. `room` are 16 bytes; for an epoch `number` is its first round."""

    kind: Kind
    room: bytes
    number: int
    data: bytes


def epoch(room: bytes, first: int, count: int, commits_root: bytes, key_commit: bytes, opened_ms: int) -> Entry:
    """An epoch: 142 bytes."""
    digest = keno1.epoch_hash(room, first, count, commits_root, key_commit, opened_ms)
    return _entry(Kind.EPOCH, room, first, digest, _u32(count), commits_root, key_commit, _u64(opened_ms))


def lock(locked: keno1.Lock, lock_hash: bytes, prev_number: int) -> Entry:
    """A lock: 226 bytes. `prev_number` is the room's previous locked round, 0 before the first one."""
    return _entry(
        Kind.LOCK,
        locked.room,
        locked.number,
        lock_hash,
        locked.commit,
        locked.rules,
        locked.bets_root,
        _u64(locked.bets_count),
        _u64(locked.lock_ms),
        _u64(locked.beacon_round),
        locked.prev_lock,
        _u64(prev_number),
    )


def result(
    room: bytes,
    number: int,
    digest: bytes,
    lock_hash: bytes,
    seed: bytes,
    beacon_sig: bytes,
    numbers: bytes,
    drawn_ms: int,
) -> Entry:
    """A draw: 190 bytes. `beacon_sig` is empty in profile S, and `numbers` are 20 bytes in draw order."""
    beacon = hashlib.sha256(beacon_sig).digest() if beacon_sig else keno1.ZERO32
    return _entry(Kind.RESULT, room, number, digest, lock_hash, seed, beacon, numbers, _u64(drawn_ms))


def void(room: bytes, number: int, lock_hash: bytes, seed: bytes, reason: int, ended_ms: int) -> Entry:
    """A round that was not drawn: 139 bytes."""
    digest = keno1.void_hash(lock_hash, seed, reason)
    return _entry(Kind.VOID, room, number, digest, lock_hash, seed, reason.to_bytes(1, "big"), _u64(ended_ms))


def _entry(kind: Kind, room: bytes, number: int, digest: bytes, *rest: bytes) -> Entry:
    return Entry(kind, room, number, b"".join((TAG, kind.to_bytes(1, "big"), room, _u64(number), digest, *rest)))


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")
