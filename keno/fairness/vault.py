"""The vault: the only holder of epoch keys.

It makes a room's seeds an epoch at a time and publishes the commitments before any of its rounds opens; it releases a
seed only against the first lock of its round, recomputed here from what the lock commits to, and in profiles E and B
a beacon that verifies (`keno.fairness.beacons.guard`); it publishes an epoch's
key when its last round has ended. It knows nothing of bets and runs under a database role of its own. It never chooses
a seed twice: after a crash the wrapped key gives the same ones. Not here: how keys are wrapped and kept
(`keno.fairness.epoch_keys`).
"""

from collections.abc import Collection

import asyncpg
import structlog
from prometheus_client import Counter

from keno.errors import KenoError
from keno.fairness import keno1, vault_store
from keno.fairness.beacons.guard import BeaconGuard
from keno.fairness.epoch_keys import EpochKeys
from keno.fairness.keno1 import EpochKey
from keno.infra import failpoints
from keno.infra.key_providers import KeyProvider, key_id_of
from keno.infra.keywrap import UnwrapError
from keno.infra.postgres import Connection
from keno.infra.refusals import Refusals

log = structlog.get_logger()

REFUSED = Counter("keno_vault_refused", "Rounds that got no seed and epochs whose key was not published.", ["what"])
SECOND_LOCKS = Counter("keno_vault_second_locks_refused", "Locks of rounds whose seed was released for another lock.")

_RELEASES_MAX = 1_000
_IDLE_S = 0.02
_KEEP_S = 0.25


class VaultError(KenoError):
    """What the vault was shown contradicts what it committed to: nothing is released."""


class Vault:
    """Opens epochs of `epoch_rounds` rounds, `rounds_ahead` rounds before a room runs out of commitments."""

    def __init__(self, pool: asyncpg.Pool, provider: KeyProvider, epoch_rounds: int, rounds_ahead: int) -> None:
        self._pool = pool
        self._keys = EpochKeys(provider)
        self._epoch_rounds = epoch_rounds
        self._rounds_ahead = rounds_ahead
        self._beacons = BeaconGuard()
        self._refused_rounds = Refusals("round", REFUSED.labels("round"))
        self._refused_epochs = Refusals("epoch", REFUSED.labels("epoch"))

    async def step(self) -> float:
        """Does what is due; returns the seconds to wait before the next step."""
        await self.keep_epochs()
        return await self.release()

    async def release(self) -> float:
        """Releases seeds, for which players wait; returns the seconds to wait before the next call."""
        async with self._pool.acquire() as conn:
            released = await self.release_seeds(conn)
        return 0 if released >= _RELEASES_MAX else _IDLE_S

    async def keep_epochs(self) -> float:
        """Opens epochs, publishes the keys of ended ones and reports second locks, for which nobody waits; returns as
        `release` does.
        """
        async with self._pool.acquire() as conn:
            await self.open_epochs(conn)
            await self.publish_keys(conn)
            await self.report_second_locks(conn)
        return _KEEP_S

    async def open_epochs(self, conn: Connection) -> int:
        """Publishes an epoch for every room that is short of commitments; returns how many."""
        if not await vault_store.rooms_short_of_epochs(conn, self._rounds_ahead):
            return 0
        async with conn.transaction():
            now_ms = await vault_store.one_vault_at_a_time(conn)
            rooms = await vault_store.rooms_short_of_epochs(conn, self._rounds_ahead)
            for room in rooms:
                await self._open_epoch(conn, room, now_ms)
            failpoints.reach("epochs.stored")
        failpoints.reach("epochs.published")
        return len(rooms)

    async def _open_epoch(self, conn: Connection, short: vault_store.ShortRoom, now_ms: int) -> None:
        room, first, count = short.room_id.bytes, short.first_round, self._epoch_rounds
        epoch_key = EpochKey.draw()
        failpoints.reach("epochs.drawn")
        commits = epoch_key.commits(room, first, count)
        root = keno1.commits_root(room, first, commits)
        key_commit = epoch_key.key_commit
        epoch_id = await vault_store.publish_epoch(
            conn,
            vault_store.NewEpoch(
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
        await vault_store.keep_key(conn, epoch_id, await self._keys.wrapped(epoch_id, epoch_key))
        log.info("epoch.opened", room=str(short.room_id), first=first, count=count)

    async def release_seeds(self, conn: Connection) -> int:
        """Releases the seeds of the rounds that have been sealed; returns how many.

        A round that contradicts itself, or whose key does not open, gets none and holds up no other.
        """
        # Those that were refused stay the first to be drawn: they must not fill the statement.
        sealed = await vault_store.sealed_rounds(conn, _RELEASES_MAX + len(self._refused_rounds))
        sound: list[vault_store.SealedRound] = []
        releases: list[tuple[int, bytes, bytes]] = []
        refusals: dict[int, Exception] = {}
        for row in sealed:
            if row.lock.hash == row.lock_hash:
                sound.append(row)
            else:
                refusals[row.round_id] = VaultError("the lock is not the hash of what it commits to")
        keys = await self._open_keys(conn, {row.epoch_id for row in sound})
        await self._beacons.read_rules(conn, {row.lock.rules for row in sound})
        for row in sound:
            try:
                releases.append((row.round_id, row.lock_hash, self._seed(row, keys[row.epoch_id])))
            except (VaultError, UnwrapError) as refusal:
                refusals[row.round_id] = refusal
        if releases:
            failpoints.reach("locks.seen")
            await vault_store.release_seeds(conn, releases)
            failpoints.reach("seeds.released")
        self._refused_rounds.tell(refusals)
        return len(releases)

    async def _open_keys(self, conn: Connection, epoch_ids: Collection[int]) -> dict[int, EpochKey | KenoError]:
        """The keys of epochs, or why one could not be opened."""
        keys: dict[int, EpochKey | KenoError] = {}
        for epoch_id in epoch_ids:
            if (key := self._keys.used(epoch_id)) is not None:
                keys[epoch_id] = key
        missing = [epoch_id for epoch_id in epoch_ids if epoch_id not in keys]
        wrapped = await vault_store.wrapped_keys(conn, missing) if missing else {}
        for epoch_id in missing:
            try:
                if epoch_id not in wrapped:
                    raise VaultError(f"epoch {epoch_id}: its key is not kept")
                keys[epoch_id] = await self._keys.keep_open(epoch_id, wrapped[epoch_id])
            except (VaultError, UnwrapError) as refusal:
                keys[epoch_id] = refusal
        return keys

    def _seed(self, sealed: vault_store.SealedRound, epoch_key: EpochKey | KenoError) -> bytes:
        """The seed of a round whose rules were read. Raises VaultError or UnwrapError where it must not be released."""
        if isinstance(epoch_key, KenoError):
            raise epoch_key
        seed = epoch_key.seed(sealed.lock.room, sealed.lock.number)
        if not sealed.lock.opens_with(seed):
            raise VaultError("the seed does not open the commitment")
        if (objection := self._beacons.objection(sealed)) is not None:
            raise VaultError(objection)
        return seed

    async def report_second_locks(self, conn: Connection) -> int:
        """Puts the locks of rounds whose seed went to another lock into the audit trail, once each; returns how many.

        They get no seed: a round has one release.
        """
        reported = 0
        for second in await vault_store.second_locks(conn):
            if await vault_store.refuse_lock(conn, second):
                failpoints.reach("locks.refused")
                SECOND_LOCKS.inc()
                log.error("lock.refused", round=second.round_id, lock=second.lock_hash.hex())
                reported += 1
        return reported

    async def publish_keys(self, conn: Connection) -> int:
        """Publishes the keys of the epochs that have ended; returns how many.

        One that does not open holds up no other.
        """
        published = 0
        refusals: dict[int, Exception] = {}
        for epoch_id, wrapped_key in await vault_store.ended_epochs(conn):
            try:
                epoch_key = self._keys.used(epoch_id) or await self._keys.opened(epoch_id, wrapped_key)
                await vault_store.publish_key(conn, epoch_id, epoch_key.reveal())
            except UnwrapError as refusal:
                refusals[epoch_id] = refusal
                continue
            except asyncpg.CheckViolationError:
                refusals[epoch_id] = VaultError("its key does not open the commitment to it")
                continue
            self._keys.forget(epoch_id)
            published += 1
            failpoints.reach("epochs.revealed")
        self._refused_epochs.tell(refusals)
        return published

    async def rewrap_keys(self) -> tuple[int, int]:
        """Wraps the keys of all epochs under way anew, under the provider's current key, all or none of them.

        Returns how many it wrapped anew, and how many were under the current key already. Raises UnwrapError for one
        that does not open, VaultError for one that does not open its epoch's commitment.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await vault_store.one_vault_at_a_time(conn)
            kept = await vault_store.kept_keys(conn)
            stale = [each for each in kept if key_id_of(each.wrapped_key) != self._keys.key_id]
            for each in stale:
                await vault_store.rewrap_key(conn, each, await self._rewrapped(each))
            if stale:
                await vault_store.log_rewrapped(conn, self._keys.key_id, len(stale))
            failpoints.reach("keys.rewrapped")
        return len(stale), len(kept) - len(stale)

    async def _rewrapped(self, kept: vault_store.KeptKey) -> bytes:
        wrapped = await self._keys.wrapped(kept.epoch_id, await self._keys.opened(kept.epoch_id, kept.wrapped_key))
        # What replaces the only copy must open, and open what was published.
        if (await self._keys.opened(kept.epoch_id, wrapped)).key_commit != kept.key_commit:
            raise VaultError(f"epoch {kept.epoch_id}: its key does not open the commitment to it")
        return wrapped
