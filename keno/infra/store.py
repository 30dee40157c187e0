"""SQL of the outbox, which events leave by, of the inbox, which makes their effects happen once, and of dead events.

Events wait in batches: those of one kind that a statement made true, in a row that it inserted itself. Not here: that.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.infra.postgres import Connection, Executor

_RELAY_LOCK = -7310
# The part of an event's id that counts the places of a batch.
_PLACES = 0xFFFFFFFF
# While a relay waits for the broker its transaction is idle; this ends one whose process hangs.
_RELAY_IDLE_MS = 300_000


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Events of one routing key that wait to be sent; `events` is the JSON text of an array of [aggregate, data]."""

    id: int
    first_event_id: UUID
    routing_key: str
    events: str
    created_ms: int


def event_id_at(first_event_id: UUID, place: int) -> UUID:
    """The id of the event in a place of a batch, counted from 0, which has that first one."""
    first = first_event_id.int
    return UUID(int=first & ~_PLACES | first + place & _PLACES)


async def become_relay(conn: Connection) -> bool:
    """Whether this transaction is the only relay until its end.

    Two at a time would be wrong even if they took different rows: the second could publish an aggregate's later event
    before the first has published the earlier one.
    """
    await conn.execute(f"SET LOCAL idle_in_transaction_session_timeout = {_RELAY_IDLE_MS}")
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _RELAY_LOCK))


async def unsent(conn: Connection, events_max: int) -> list[OutboxBatch]:
    """The oldest unsent batches, of so many events and at least one, in the order of their ids: that of an aggregate's
    events, if its writers take turns.
    """
    rows = await conn.fetch(
        """
        SELECT b.id, b.first_event_id, b.routing_key, b.events, b.created_ms
        FROM (
            SELECT o.*, sum(o.events_count) OVER (ORDER BY o.id) - o.events_count AS before
            FROM (SELECT * FROM outbox_batches WHERE sent_ms IS NULL ORDER BY id LIMIT $1) AS o
        ) AS b
        WHERE b.before < $1 ORDER BY b.id
        """,
        events_max,
    )
    return [OutboxBatch(*row) for row in rows]


async def mark_sent(conn: Connection, batch_ids: Sequence[int]) -> None:
    """Marks batches as sent, once; the rows stay until they are forgotten."""
    await conn.execute("UPDATE outbox_batches SET sent_ms = now_ms() WHERE id = ANY ($1::bigint[])", batch_ids)


async def forget_sent(conn: Executor, retention_ms: int, limit: int) -> int:
    """Deletes events that were sent and are older than that, some of the oldest; the number of them, at least `limit`
    where there may be more.
    """
    return int(await conn.fetchval("SELECT forget_sent_events($1, $2)", retention_ms, limit))


async def new_events(conn: Connection, consumer: str, event_ids: Collection[UUID]) -> list[UUID]:
    """Those that this consumer has not had yet, in their order. Call it in the transaction of their effect."""
    entered = await conn.fetch(
        """
        INSERT INTO inbox (consumer, event_id)
        -- In one order, so that two who have the same events wait for each other and not both.
        SELECT $1, event_id FROM unnest($2::uuid[]) AS event_id ORDER BY event_id
        ON CONFLICT DO NOTHING RETURNING event_id
        """,
        consumer,
        event_ids,
    )
    new = {row[0] for row in entered}
    return [each for each in event_ids if each in new]


@dataclass(frozen=True, slots=True)
class DeadRow:
    """An event that a consumer in this process could not take, and why."""

    consumer: str
    event_id: UUID
    routing_key: str
    aggregate: str
    time_ms: int
    data: bytes
    reason: str
    dead_ms: int


async def bury(
    conn: Executor, consumer: str, event_id: UUID, routing_key: str, aggregate: str, time_ms: int, data: bytes, why: str
) -> None:
    """Keeps a dead event; one that died again is dead since now."""
    await conn.execute(
        """
        INSERT INTO dead_events (consumer, event_id, routing_key, aggregate, time_ms, data, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (consumer, event_id) DO UPDATE SET reason = excluded.reason, dead_ms = now_ms(), replayed_ms = NULL
        """,
        consumer,
        event_id,
        routing_key,
        aggregate,
        time_ms,
        data,
        why,
    )


async def dead_events(conn: Executor) -> list[DeadRow]:
    """The events that are dead, the longest first."""
    rows = await conn.fetch(
        """
        SELECT consumer, event_id, routing_key, aggregate, time_ms, data, reason, dead_ms
        FROM dead_events WHERE replayed_ms IS NULL ORDER BY dead_ms, event_id, consumer
        """
    )
    return [DeadRow(**row) for row in rows]


async def mark_replayed(conn: Executor, consumer: str, event_id: UUID) -> None:
    """Says that a dead event was handled after all."""
    await conn.execute(
        "UPDATE dead_events SET replayed_ms = now_ms() WHERE consumer = $1 AND event_id = $2", consumer, event_id
    )
