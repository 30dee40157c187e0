"""Carries events from the outbox to the bus: at least once, in order, and never before they were committed.

Not here: when to do it (`workers/relay.py`) and what to do with events (their consumers).
"""

import asyncpg
import msgspec

from keno.infra import failpoints, store
from keno.infra.bus import Bus, Event

BATCH_EVENTS_MAX = 1_000
"""So many events are published together, or those of one batch of the outbox that has more."""
# More than can have been sent since the last time, so that forgetting keeps up with a relay that never rests.
FORGET_EVENTS_MAX = 2 * BATCH_EVENTS_MAX

_decode = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]]).decode


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
            batches = await store.unsent(connection, self._batch_events_max)
            events = [event for batch in batches for event in events_of(batch)]
            if events:
                await self._bus.publish(events)
                failpoints.reach("relay.published")
                await store.mark_sent(connection, [batch.id for batch in batches])
            return len(events)

    async def forget(self) -> bool:
        """Deletes some of the sent events that are past their retention; whether there may be more of them."""
        return await store.forget_sent(self._pool, self._retention_ms, FORGET_EVENTS_MAX) >= FORGET_EVENTS_MAX


def events_of(batch: store.OutboxBatch) -> list[Event]:
    """The events of a batch, in its order."""
    return [
        Event(
            store.event_id_at(batch.first_event_id, place), batch.routing_key, aggregate, batch.created_ms, bytes(data)
        )
        for place, (aggregate, data) in enumerate(_decode(batch.events))
    ]
