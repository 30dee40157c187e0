"""Keeps the operators' figures, turnover and payout by hour, from the events of settled rounds, and reports them."""

import asyncio
from collections import Counter
from typing import Final
from uuid import UUID

import asyncpg

from keno.errors import KenoError
from keno.infra import failpoints
from keno.infra.bus import Event
from keno.infra.store import new_events
from keno.notify.events import RoundSettled
from keno.reporting import store
from keno.reporting.revenue import Period, Revenue

CONSUMER = "reporting"
REPORTS_AT_ONCE: Final = 2
REPORTS_OF_ONE_MAX: Final = 2
"""A quarter of an operator with a thousand rooms takes a second or two of a connection, which bets need too."""


class ReportsBusyError(KenoError):
    """An operator has so many reports under way that it is let no further."""


class ReportingService:
    """Records settled rounds, and says what they add up to."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(REPORTS_AT_ONCE)
        self._under_way: Counter[UUID] = Counter()

    async def record_round(self, *events: Event) -> None:
        """Handles `round.settled` of one or more rounds, once however often their events come."""
        settled = {event.id: RoundSettled.decode(event.data).round_id for event in events}
        async with self._pool.acquire() as conn, conn.transaction():
            new = await new_events(conn, CONSUMER, settled.keys())
            round_ids = [settled[each] for each in new]
            known = await store.set_hours_of_revenue(conn, round_ids)
            await store.add_rounds_to_revenue(conn, [each for each in round_ids if each not in known])
        failpoints.reach("reporting.committed")

    async def revenue(self, operator_id: UUID, period: Period) -> Revenue:
        """An operator's own figures of a period. Raises ReportsBusyError."""
        if self._under_way[operator_id] >= REPORTS_OF_ONE_MAX:
            raise ReportsBusyError
        self._under_way[operator_id] += 1
        try:
            async with self._turns, self._pool.acquire() as conn:
                # Before the figures are read: what had been recorded then is in them.
                as_of_ms = await store.now_ms(conn)
                return Revenue(period, as_of_ms, await store.revenue(conn, operator_id, period))
        finally:
            self._under_way[operator_id] -= 1
            if not self._under_way[operator_id]:
                del self._under_way[operator_id]
