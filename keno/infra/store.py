"""SQL of the outbox, which events leave by, and of the inbox, which makes their effects happen once.

Not here: writing events; each is a row that the statement which made it true inserts itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.infra.postgres import Connection

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
    """Marks events as sent, once; the row stays."""
    await conn.execute("UPDATE outbox SET sent_ms = now_ms() WHERE id = ANY ($1::bigint[])", ids)


async def first_time(conn: Connection, consumer: str, event_id: UUID) -> bool:
    """Whether this consumer has not had this event yet. Call it in the transaction of the effect."""
    entered = await conn.fetchval(
        "INSERT INTO inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
        consumer,
        event_id,
    )
    return entered is not None
