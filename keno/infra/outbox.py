"""Carries events from the outbox to the bus: at least once, in order, and never before they were committed.

Not here: when to do it (`workers/relay.py`) and what to do with events (their consumers).
"""

import asyncpg

from keno.infra import failpoints, store
from keno.infra.bus import Bus, Event

BATCH_EVENTS_MAX = 1_000
# More than can have been sent since the last time, so that forgetting keeps up with a relay that never rests.
FORGET_EVENTS_MAX = 2 * BATCH_EVENTS_MAX


class Relay:
    """One may run in every process; PostgreSQL lets one work at a time, and another takes over when it is gone."""

    def __init__(
        self, pool: asyncpg.Pool, bus: Bus, retention_ms: int, batch_events_max: int = BATCH_EVENTS_MAX
    ) -> None:
        """Sent events are kept for `retention_ms`, and at least for an hour."""
        self._pool = pool
        self._bus = bus
        self._retention_ms = retention_ms
        self._batch_events_max = batch_events_max

    async def step(self) -> int:
        """Publishes the oldest unsent events and marks them; the number of them.

        Raises BusError when the bus did not take them all: then none is marked, and all are published again.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if not await store.become_relay(connection):
                return 0
            rows = await store.unsent(connection, self._batch_events_max)
            if rows:
                await self._bus.publish([_event(row) for row in rows])
                failpoints.reach("relay.published")
                await store.mark_sent(connection, [row.id for row in rows])
            return len(rows)

    async def forget(self) -> bool:
        """Deletes some of the sent events that are past their retention; whether there may be more of them."""
        return await store.forget_sent(self._pool, self._retention_ms, FORGET_EVENTS_MAX) == FORGET_EVENTS_MAX


def _event(row: store.OutboxRow) -> Event:
    return Event(
        id=row.event_id,
        routing_key=row.routing_key,
        aggregate=row.aggregate,
        time_ms=row.created_ms,
        data=row.payload.encode(),
    )
