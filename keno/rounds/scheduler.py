"""The scheduler: leads shards of rooms under leases, and lets the engine move their rounds while it does.

Each lease is worked by itself, so that a shard that stalls does not stop the others. Nothing is remembered between
steps but the leases. Not here: the rules of leadership (`keno.rounds.leadership`), and the tasks in which this runs.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from keno.infra.clock import elapsed_s
from keno.rounds import store
from keno.rounds.election import Election
from keno.rounds.engine import Engine, LeaseLostError
from keno.rounds.leadership import Leadership, Lease
from keno.rounds.lease import TTL_S

_DISTRUST_S = 0.1
_RELEASE_TIMEOUT_S = 1.0


class Scheduler:
    """One candidate for the leadership of all shards.

    `holder` names this process and no other, before or after it. `privacy_key` salts the leaves of bets.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        election: Election,
        holder: str,
        privacy_key: bytes,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._engines: dict[Lease, Engine] = {}
        self.leadership = Leadership(pool, election, holder, clock)
        self._woken = asyncio.Event()
        self._connection: PoolConnectionProxy | None = None
        self._rest_s = 0.0

    async def call_roll(self) -> list[Lease]:
        """Brings the leases up to date, and returns those that are to be worked on: their `step` until they are over,
        then `release`.

        Raises transient failures; the leases are then those that votes alone confirm.
        """
        try:
            async with asyncio.timeout(TTL_S):
                self._rest_s = await self.leadership.call_roll(await self._listening())
        except BaseException:
            await self._stop_listening()
            raise
        return self.leadership.leases

    async def rest(self) -> None:
        """Returns when the next roll call is due, or a lease became free, or after `wake`."""
        try:
            async with asyncio.timeout(self._rest_s):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def wake(self) -> None:
        """Ends the rest that is under way, or the next."""
        self._woken.set()

    async def step(self, lease: Lease) -> float:
        """Takes the lease or works on its strength; returns the seconds to wait before the next step."""
        if lease.epoch is None:
            if await self.leadership.take(lease):
                self._engines[lease] = Engine(self._pool, self._privacy_key)
            return 0
        if not self.leadership.leads(lease):
            return _DISTRUST_S
        try:
            async with self._pool.acquire() as conn:
                return await self._engines[lease].tick(conn, lease.shard, lease.epoch)
        except LeaseLostError:
            self.leadership.lost(lease)
            return 0

    async def release(self, lease: Lease) -> None:
        """Gives a lease up that is over, or forgets it where another has it."""
        if lease in self._engines:
            await self._engines.pop(lease).close()
        await self.leadership.release(lease)

    async def close(self) -> None:
        """Forgets this candidate, once all its leases are released."""
        await self._stop_listening()
        await self.leadership.leave()

    async def _listening(self) -> PoolConnectionProxy:
        """The connection of the roll calls, over which those who give leases up wake this scheduler."""
        if self._connection is None:
            self._connection = await self._pool.acquire()
            await self._connection.add_listener(store.FREED_CHANNEL, self._hear)
        return self._connection

    async def _stop_listening(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(asyncpg.InterfaceError):  # it broke, and the pool has dropped it
                await connection.remove_listener(store.FREED_CHANNEL, self._hear)
            await self._pool.release(connection, timeout=_RELEASE_TIMEOUT_S)

    def _hear(self, *_: object) -> None:
        self.wake()
