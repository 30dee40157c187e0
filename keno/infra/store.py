"""SQL of the outbox, which events leave by, of the inbox, which makes their effects happen once, and of dead events.

Not here: writing events; each is a row that the statement which made it true inserts itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.infra.postgres import Connection, Executor

_RELAY_LOCK = -7310
# While a relay waits for the broker its transaction is idle; this ends one whose process hangs.
_RELAY_IDLE_MS = 300_000


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event that waits to be sent; `payload` is JSON text."""

    id: int
    event_id: UUID
    routing_key: str
    aggregate: str
    payload: str
    created_ms: int


async def become_relay(conn: Connection) -> bool:
    """Whether this transaction is the only relay until its end.

    Two at a time would be wrong even if they took different rows: the second could publish an aggregate's later event
    before the first has published the earlier one.
    """
    await conn.execute(f"SET LOCAL idle_in_transaction_session_timeout = {_RELAY_IDLE_MS}")
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _RELAY_LOCK))


async def unsent(conn: Connection, limit: int) -> list[OutboxRow]:
    """The oldest unsent events, in the order of their ids: that of an aggregate's events, if its writers take turns."""
    rows = await conn.fetch(
        """
        SELECT id, event_id, routing_key, aggregate, payload::text AS payload, created_ms
        FROM outbox WHERE sent_ms IS NULL ORDER BY id LIMIT $1
        """,
        limit,
    )
    return [OutboxRow(**row) for row in rows]


async def mark_sent(conn: Connection, ids: Sequence[int]) -> None:
    """Marks events as sent, once; the rows stay until they are forgotten."""
    await conn.execute("UPDATE outbox SET sent_ms = now_ms() WHERE id = ANY ($1::bigint[])", ids)


async def forget_sent(conn: Executor, retention_ms: int, limit: int) -> int:
    """Deletes events that were sent and are older than that, some of the oldest; the number of them."""
    return int(await conn.fetchval("SELECT forget_sent_events($1, $2)", retention_ms, limit))


async def first_time(conn: Connection, consumer: str, event_id: UUID) -> bool:
    """Whether this consumer has not had this event yet. Call it in the transaction of the effect."""
    entered = await conn.fetchval(
        "INSERT INTO inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
        consumer,
        event_id,
    )
    return entered is not None


async def first_times(conn: Connection, consumer: str, event_ids: Sequence[UUID]) -> list[UUID]:
    """Those of the events that this consumer has not had yet. Call it in the transaction of their effects."""
    rows = await conn.fetch(
        """
        INSERT INTO inbox (consumer, event_id) SELECT $1, id FROM unnest($2::uuid[]) AS e (id) ORDER BY id
        ON CONFLICT DO NOTHING RETURNING event_id
        """,
        consumer,
        event_ids,
    )
    return [row["event_id"] for row in rows]


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
