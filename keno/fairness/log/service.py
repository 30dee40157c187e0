"""What anyone may read of the log: its checkpoint, its tiles, and proofs.

Nothing is told that no published checkpoint covers.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from keno.fairness.log import store, tree
from keno.fairness.log.entry import Kind
from keno.fairness.log.sequencer import LogKeys, consistency_path
from keno.fairness.log.store import StoredCheckpoint, StoredEntry


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry with its path to the root of a checkpoint."""

    index: int
    kind: Kind
    data: bytes
    path: list[bytes]


@dataclass(frozen=True, slots=True)
class Proof:
    """Entries that one checkpoint covers."""

    checkpoint: StoredCheckpoint
    entries: list[ProvenEntry]


class LogService:
    """Reads the log."""

    def __init__(self, pool: asyncpg.Pool, keys: LogKeys) -> None:
        self._pool = pool
        self._keys = keys

    async def key(self) -> str | None:
        """The key by which checkpoints are believed, as C2SP writes it; None before the log's worker has first run."""
        found = await self._keys.public()
        return None if found is None else found.text

    async def checkpoint(self) -> StoredCheckpoint | None:
        """The newest checkpoint; None before the first."""
        return await store.latest_checkpoint(self._pool)

    async def tile(self, level: int, index: int, width: int) -> bytes | None:
        """The first `width` hashes of a tile; None where no published checkpoint covers them all."""
        first = tree.TILE_HASHES * index
        if level >= tree.LEVELS_MAX or not await self._covers((first + width) << 8 * level):
            return None
        span = level, first, width
        read = await store.reader(self._pool, lambda read: read(*span))
        return b"".join(read(*span))

    async def entry_bundle(self, index: int, width: int) -> bytes | None:
        """The first `width` entries of a bundle, each behind its length (u16); None as with `tile`."""
        first = tree.TILE_HASHES * index
        if not await self._covers(first + width):
            return None
        found = await store.entries(self._pool, first, width)
        return b"".join(struct.pack(">H", len(each.data)) + each.data for each in found)

    async def round_proof(self, round_id: int) -> Proof | None:
        """Of a round the epoch, the lock and the outcome, as far as they are in the log; None where none is."""
        return await round_proof(self._pool, round_id)

    async def entry_proof(self, index: int) -> Proof | None:
        """An entry; None where the newest checkpoint does not cover it."""
        return await _proof(self._pool, await store.entries(self._pool, index, 1))

    async def consistency(self, first: int, second: int) -> list[bytes] | None:
        """The proof between two sizes; None where the newest checkpoint does not cover the second."""
        if first > second or not await self._covers(second):
            return None
        return await consistency_path(self._pool, first, second)

    async def _covers(self, size: int) -> bool:
        newest = await store.latest_checkpoint(self._pool)
        return newest is not None and size <= newest.size


async def round_proof(pool: asyncpg.Pool, round_id: int) -> Proof | None:
    """See LogService.round_proof."""
    return await _proof(pool, await store.entries_of_round(pool, round_id))


async def inclusion_paths(pool: asyncpg.Pool, indexes: Sequence[int], size: int) -> list[list[bytes]]:
    """The path of each entry to the root of the first `size` entries, the nearest sibling first."""

    def paths(read: tree.Read) -> list[list[bytes]]:
        return [tree.inclusion_path(index, size, read) for index in indexes]

    return paths(await store.reader(pool, paths))


async def _proof(pool: asyncpg.Pool, entries: list[StoredEntry]) -> Proof | None:
    newest = await store.latest_checkpoint(pool)
    if newest is None:
        return None
    covered = [each for each in entries if each.index < newest.size]
    if not covered:
        return None
    proven = await inclusion_paths(pool, [each.index for each in covered], newest.size)
    return Proof(
        newest,
        [ProvenEntry(each.index, Kind(each.kind), each.data, path) for each, path in zip(covered, proven, strict=True)],
    )
