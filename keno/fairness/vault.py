"""The vault: the only holder of epoch keys.

It makes a room's seeds an epoch at a time and publishes the commitments before any of its rounds opens; it releases a
seed only against the first lock of its round, recomputed here from what the lock commits to, and in profiles E and B
a beacon that verifies (`keno.fairness.beacons.guard`); it publishes an epoch's
key when its last round has ended. It knows nothing of bets and runs under a database role of its own. It never chooses
a seed twice: after a crash the wrapped key gives the same ones.
"""

import os

import asyncpg
import structlog

from keno.errors import KenoError
from keno.fairness import keno1, store
from keno.fairness.beacons.guard import BeaconGuard
from keno.infra import failpoints
from keno.infra.keywrap import UnwrapError, unwrap, wrap
from keno.infra.postgres import Connection

log = structlog.get_logger()

_KEY_BYTES = 32
_RELEASES_MAX = 1_000
_IDLE_S = 0.02
_KEEP_S = 0.25


class VaultError(KenoError):
    """What the vault was shown contradicts what it committed to: nothing is released."""


class Vault:
    """Opens epochs of `epoch_rounds` rounds, `rounds_ahead` rounds before a room runs out of commitments."""

    def __init__(self, pool: asyncpg.Pool, wrapping_key: bytes, epoch_rounds: int, rounds_ahead: int) -> None:
        self._pool = pool
        self._wrapping_key = wrapping_key
        self._epoch_rounds = epoch_rounds
        self._rounds_ahead = rounds_ahead
        self._beacons = BeaconGuard()

    async def step(self) -> float:
        """Does what is due; returns the seconds to wait before the next step."""
        await self.keep_epochs()
        return await self.release()

    async def release(self) -> float:
        """Releases seeds, for which players wait; returns the seconds to wait before the next call."""
        async with self._pool.acquire() as conn:
            released = await self.release_seeds(conn)
        return 0 if released == _RELEASES_MAX else _IDLE_S

    async def keep_epochs(self) -> float:
        """Opens epochs and publishes the keys of ended ones, for which nobody waits; returns as `release` does."""
        async with self._pool.acquire() as conn:
            await self.open_epochs(conn)
            await self.publish_keys(conn)
        return _KEEP_S

    async def open_epochs(self, conn: Connection) -> int:
        """Publishes an epoch for every room that is short of commitments; returns how many."""
        if not await store.rooms_short_of_epochs(conn, self._rounds_ahead):
            return 0
        async with conn.transaction():
            now_ms = await store.one_vault_at_a_time(conn)
            rooms = await store.rooms_short_of_epochs(conn, self._rounds_ahead)
            for room in rooms:
                await self._open_epoch(conn, room, now_ms)
        return len(rooms)

    async def _open_epoch(self, conn: Connection, short: store.ShortRoom, now_ms: int) -> None:
        room, first, count = short.room_id.bytes, short.first_round, self._epoch_rounds
        epoch_key = os.urandom(_KEY_BYTES)
        commits = keno1.commits(epoch_key, room, first, count)
        root = keno1.commits_root(room, first, commits)
        key_commit = keno1.key_commit(epoch_key)
        epoch_id = await store.publish_epoch(
            conn,
            store.NewEpoch(
                room_id=short.room_id,
                first_round=first,
                rounds_count=count,
                key_commit=key_commit,
                commits=commits,
                commits_root=root,
                opened_ms=now_ms,
                hash=keno1.epoch_hash(room, first, count, root, key_commit, now_ms),
            ),
        )
        await store.keep_key(conn, epoch_id, wrap(self._wrapping_key, epoch_key, _context(epoch_id)))
        log.info("epoch.opened", room=str(short.room_id), first=first, count=count)

    async def release_seeds(self, conn: Connection) -> int:
        """Releases the seeds of the rounds that have been sealed; returns how many.

        Raises VaultError or UnwrapError for a round that contradicts itself, after the others have got theirs.
        """
        sealed = await store.sealed_rounds(conn, _RELEASES_MAX)
        releases = []
        refusals: list[KenoError] = []
        for row in sealed:
            try:
                seed = self._seed(row)
                objection = await self._beacons.objection(conn, row)
                if objection is not None:
                    raise VaultError(f"round {row.round_id}: {objection}")
                releases.append((row.round_id, row.lock_hash, seed))
            except (VaultError, UnwrapError) as refusal:
                refusals.append(refusal)
        if releases:
            await store.release_seeds(conn, releases)
            failpoints.reach("seeds.released")
        # One round that was tampered with does not hold up the others, and is not passed over in silence.
        if refusals:
            raise refusals[0]
        return len(releases)

    def _seed(self, sealed: store.SealedRound) -> bytes:
        lock = sealed.lock
        if lock.hash != sealed.lock_hash:
            raise VaultError(f"round {sealed.round_id}: the lock is not the hash of what it commits to")
        epoch_key = unwrap(self._wrapping_key, sealed.wrapped_key, _context(sealed.epoch_id))
        seed = keno1.seed(epoch_key, lock.room, lock.number)
        if keno1.commit(lock.room, lock.number, seed) != lock.commit:
            raise VaultError(f"round {sealed.round_id}: the seed does not open the commitment")
        return seed

    async def publish_keys(self, conn: Connection) -> int:
        """Publishes the keys of the epochs that have ended; returns how many."""
        ended = await store.ended_epochs(conn)
        for epoch_id, wrapped_key in ended:
            await store.publish_key(conn, epoch_id, unwrap(self._wrapping_key, wrapped_key, _context(epoch_id)))
        return len(ended)


def _context(epoch_id: int) -> bytes:
    return b"keno:epoch-key:%d" % epoch_id
