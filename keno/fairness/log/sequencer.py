"""Puts everything that belongs into the log into it, once and in order, and publishes checkpoints of it.

Off the way of rounds and bets: it reads what was committed, in batches. Entries and the hashes above them are one
transaction, which holds the log's end, so that two workers can't fork it and one that dies leaves nothing behind. Only
what is on disk is signed, and only what is signed is published. Not here: who reads the log (`service.py`).
"""

import asyncpg
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno.fairness.log import note, store, tree
from keno.fairness.log.entry import Entry
from keno.fairness.log.witnesses import Witnesses
from keno.infra import failpoints, keywrap
from keno.infra.postgres import Connection

BATCH_ENTRIES_MAX = 1_000
IDLE_S = 1.0
_CONTEXT = b"keno:log-key"

_log = structlog.get_logger(__name__)


class LogKeys:
    """The identity of the log: made once, then kept. `origin` counts only for the first time."""

    def __init__(self, pool: asyncpg.Pool, platform_key: bytes, origin: str) -> None:
        self._pool = pool
        self._platform_key = platform_key
        self._origin = origin

    async def public(self) -> note.VerifierKey | None:
        """The key by which the log's checkpoints are believed; None before it is made."""
        stored = await store.key(self._pool)
        return None if stored is None else note.VerifierKey(stored.origin, note.ED25519, stored.public_key)

    async def load(self) -> tuple[str, Ed25519PrivateKey]:
        """The origin and the key to sign with, which are made where there are none. Raises UnwrapError."""
        stored = await store.key(self._pool)
        if stored is None:
            private = Ed25519PrivateKey.generate()
            wrapped = keywrap.wrap(self._platform_key, private.private_bytes_raw(), _CONTEXT)
            origin = note.named(self._origin)
            public = private.public_key().public_bytes_raw()
            await store.keep_key(self._pool, store.StoredKey(origin, public, wrapped))
            # Another worker may have been first.
            stored = await store.key(self._pool)
            assert stored is not None, "a key that was kept stays"  # noqa: S101
        raw = keywrap.unwrap(self._platform_key, stored.private_key, _CONTEXT)
        return stored.origin, Ed25519PrivateKey.from_private_bytes(raw)


class Sequencer:
    """One may run in every process; PostgreSQL lets one append at a time."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        keys: LogKeys,
        witnesses: Witnesses,
        batch_entries_max: int = BATCH_ENTRIES_MAX,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._witnesses = witnesses
        self._batch_entries_max = batch_entries_max

    async def step(self) -> float:
        """Appends a batch and publishes a checkpoint; returns the seconds to rest before the next step."""
        appended = await self.append()
        await self.publish()
        return 0 if appended == self._batch_entries_max else IDLE_S

    async def append(self) -> int:
        """Appends what is not in the log yet, at most a batch; returns how many entries."""
        async with self._pool.acquire() as conn:
            async with conn.transaction():
                if not await store.hold_end(conn):
                    return 0
                entries = await self._append_batch(conn)
            failpoints.reach("log.appended")
        return entries

    async def _append_batch(self, conn: Connection) -> int:
        size = await store.size(conn)
        taken = 0
        # Epochs before the locks in them before their outcomes; each question sees what the one before has appended.
        for source in (store.epochs_to_log, store.locks_to_log, store.outcomes_to_log):
            found = await source(conn, self._batch_entries_max - taken)
            if found:
                await _append(conn, size + taken, found)
                taken += len(found)
            if taken == self._batch_entries_max:
                break
        return taken

    async def publish(self) -> bool:
        """Signs the log as it is on disk, has it witnessed, and publishes it; False where there is nothing new."""
        size, published = await store.size(self._pool), await store.latest_checkpoint(self._pool)
        if size <= (0 if published is None else published.size):
            return False
        origin, private = await self._keys.load()
        root = tree.root(size, await store.reader(self._pool, lambda read: tree.root(size, read)))
        checkpoint = note.Checkpoint(origin, size, root)
        signed = note.sign(private, origin, checkpoint.body)
        cosigned = await self._witnesses.cosign(checkpoint, signed, self._consistency)
        failpoints.reach("log.signed")
        text = note.note(checkpoint.body, signed, *cosigned)
        async with self._pool.acquire() as conn:
            done = await store.publish(conn, store.StoredCheckpoint(size, root, text))
        failpoints.reach("log.published")
        _log.debug("log.published", size=size, cosignatures=len(cosigned))
        return done

    async def _consistency(self, first: int, second: int) -> list[bytes]:
        return await consistency_path(self._pool, first, second)


async def consistency_path(pool: asyncpg.Pool, first: int, second: int) -> list[bytes]:
    """The proof that the log of `first` entries is the beginning of that of `second`."""
    read = await store.reader(pool, lambda read: tree.consistency_path(first, second, read))
    return tree.consistency_path(first, second, read)


async def _append(conn: Connection, size: int, entries: list[Entry]) -> None:
    leaves = [tree.leaf_hash(each.data) for each in entries]
    read = await store.reader(conn, lambda read: list(tree.new_nodes(size, leaves, read)))
    nodes = list(tree.new_nodes(size, leaves, read))
    await store.append_entries(conn, size, entries, leaves)
    if nodes:
        await store.append_nodes(conn, nodes)
