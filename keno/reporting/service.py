"""Keeps the operators' figures: turnover and payout by hour, from the events of settled rounds."""

import asyncpg

from keno.infra import failpoints
from keno.infra.bus import Event
from keno.infra.store import new_events
from keno.notify.events import RoundSettled
from keno.reporting import store

CONSUMER = "reporting"


class ReportingService:
    """Records settled rounds."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record_round(self, *events: Event) -> None:
        """Handles `round.settled` of one or more rounds, once however often their events come."""
        settled = {event.id: RoundSettled.decode(event.data).round_id for event in events}
        async with self._pool.acquire() as conn, conn.transaction():
            new = await new_events(conn, CONSUMER, settled.keys())
            round_ids = [settled[each] for each in new]
            known = await store.set_hours_of_revenue(conn, round_ids)
            await store.add_rounds_to_revenue(conn, [each for each in round_ids if each not in known])
        failpoints.reach("reporting.committed")
