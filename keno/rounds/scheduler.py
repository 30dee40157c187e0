"""The scheduler: leads a shard of rooms under a lease, and lets the engine move their rounds while it does.

Nothing is remembered between steps but the lease.
"""

import time

import asyncpg
import structlog

from keno.infra.postgres import Connection
from keno.rounds import store
from keno.rounds.engine import Engine, LeaseLostError

log = structlog.get_logger()

LEASE_TTL_S = 3.0


class Scheduler:
    """One candidate for the leadership of `shard`. `privacy_key` salts the leaves of bets."""

    def __init__(self, pool: asyncpg.Pool, shard: int, holder: str, privacy_key: bytes) -> None:
        self._pool = pool
        self._shard = shard
        self._holder = holder
        self._engine = Engine(pool, privacy_key)
        self._lease_epoch: int | None = None
        self._beat_due_s = 0.0

    @property
    def leads(self) -> bool:
        """Whether this scheduler believes that it leads its shard. The database knows."""
        return self._lease_epoch is not None

    async def step(self) -> float:
        """One tick; returns the seconds to wait before the next."""
        async with self._pool.acquire() as conn:
            if self._lease_epoch is None and not await self._take_lease(conn):
                return LEASE_TTL_S / 3
            try:
                return await self._tick(conn)
            except LeaseLostError:
                log.warning("lease.lost", shard=self._shard, lease_epoch=self._lease_epoch)
                self._lease_epoch = None
                return 0

    async def close(self) -> None:
        """Gives the lease up, so that a successor need not wait for it to run out."""
        await self._engine.close()
        if self._lease_epoch is not None:
            await store.give_up_lease(self._pool, self._shard, self._lease_epoch)
            self._lease_epoch = None

    async def _take_lease(self, conn: Connection) -> bool:
        self._lease_epoch = await store.take_lease(conn, self._shard, self._holder, LEASE_TTL_S)
        if self._lease_epoch is None:
            return False
        self._beat_due_s = time.monotonic() + LEASE_TTL_S / 3
        log.info("lease.taken", shard=self._shard, lease_epoch=self._lease_epoch)
        return True

    async def _tick(self, conn: Connection) -> float:
        epoch = self._lease_epoch
        assert epoch is not None, "only a leader ticks"  # noqa: S101
        if time.monotonic() >= self._beat_due_s:
            if not await store.beat_lease(conn, self._shard, epoch):
                raise LeaseLostError
            self._beat_due_s = time.monotonic() + LEASE_TTL_S / 3
        return await self._engine.tick(conn, self._shard, epoch)
