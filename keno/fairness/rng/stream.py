"""Draws and raw bytes of the generator for a laboratory, by the functions that draw rounds, in bounded memory.

As in production an epoch key gives the seeds of an epoch's rounds, each seed its commitment, and HMAC blocks under the
seed the draw (profile S: what a beacon would add is left out). Only the epoch keys have another source, so that a run
can be repeated: they follow from one seed, or come from the operating system one by one, as the vault takes them.
No key that was ever used comes in here, and none from here may be used.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from keno import _core
from keno.fairness import keno1

EPOCH_ROUNDS = 256
"""Rounds under one epoch key: what KENO_EPOCH_ROUNDS is where nothing else is set."""
NUMBERS_BYTES = 20
BLOCK_BYTES = 32
_ROOM = b"keno rng export."
_EPOCHS_A_CHUNK = 16
_KEY_TAG = b"keno rng export: epoch key"


def draws(seed: bytes | None, count: int) -> Iterator[bytes]:
    """The numbers of `count` rounds in draw order, 20 bytes a round, some thousand rounds at a time.

    `seed` has 32 bytes; None: every epoch key comes from the operating system.
    """
    for rounds in _rounds(seed, count):
        yield b"".join(_core.draw(round_seed, x, keno1.ZERO32) for round_seed, x in rounds)


def blocks(seed: bytes | None, count: int) -> Iterator[bytes]:
    """Block 0 of the same rounds, 32 bytes a round: the bytes that the draw reads, before any is skipped."""
    for rounds in _rounds(seed, count):
        yield b"".join(_core.draw_block(round_seed, x, keno1.ZERO32, 0) for round_seed, x in rounds)


def _rounds(seed: bytes | None, count: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Seed and X of consecutive rounds."""
    chunk = _EPOCHS_A_CHUNK * EPOCH_ROUNDS
    for done in range(0, count, chunk):
        rounds = []
        for first in range(done, min(done + chunk, count), EPOCH_ROUNDS):
            epoch_key = _epoch_key(seed, first // EPOCH_ROUNDS)
            # Numbers of rounds begin with 1.
            for number in range(first + 1, min(first + EPOCH_ROUNDS, count) + 1):
                round_seed = epoch_key.seed(_ROOM, number)
                commit = keno1.commit(_ROOM, number, round_seed)
                rounds.append((round_seed, _core.pre_hash(_ROOM, number, commit, 0)))
        yield rounds


def _epoch_key(seed: bytes | None, epoch: int) -> _core.EpochKey:
    if seed is None:
        return _core.EpochKey.draw()
    return _core.EpochKey(bytearray(hmac.digest(seed, _KEY_TAG + epoch.to_bytes(8, "big"), "sha256")))
