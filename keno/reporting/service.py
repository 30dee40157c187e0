"""Keeps the operators' figures: turnover and payout by hour, from the events of settled rounds."""

import asyncpg

from keno.infra import failpoints
from keno.infra.bus import Event
from keno.infra.store import first_time
from keno.notify.events import RoundSettled
from keno.reporting import store

CONSUMER = "reporting"


class ReportingService:
    """Records settled rounds."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record_round(self, event: Event) -> None:
        """Handles `round.settled`, once however often the event comes."""
        settled = RoundSettled.decode(event.data)
        async with self._pool.acquire() as conn, conn.transaction():
            is_new = await first_time(conn, CONSUMER, event.id)
            if is_new and not await store.set_hour_of_revenue(conn, settled.round_id):
                await store.add_round_to_revenue(conn, settled.round_id)
        failpoints.reach("reporting.committed")
