"""Keeps the tables that grow in bounds: what rounds need is there before they do, what nobody needs any more goes.

Not here: what may go, which the database decides (`0017_storage.sql`, `0031_exposures_forgotten.sql` and
`0037_round_wins.sql` in `migrations/`), and the outbox; its relay clears it.
"""

import asyncpg
import structlog

from keno.infra import failpoints
from keno.storage import store

PARTITIONS_AHEAD = 3
FORGET_MAX = 5_000
_IDLE_S = 60.0
_BUSY_S = 1.0

_log = structlog.get_logger(__name__)


class Storage:
    """Several may run at once."""

    def __init__(self, pool: asyncpg.Pool, receipts_retention_ms: int, bets_retention_ms: int | None) -> None:
        """Without a retention bets are kept for ever."""
        self._pool = pool
        self._receipts_retention_ms = receipts_retention_ms
        self._bets_retention_ms = bets_retention_ms

    async def step(self) -> float:
        """Does some of what is due; the seconds to wait before the next call."""
        made = await store.make_partitions(self._pool, PARTITIONS_AHEAD)
        if made:
            _log.info("storage.partitions_made", count=made)
        forgotten = (
            await store.forget_receipts(self._pool, self._receipts_retention_ms, FORGET_MAX),
            await store.forget_exposures(self._pool, self._receipts_retention_ms, FORGET_MAX),
            await store.forget_round_wins(self._pool, FORGET_MAX),
        )
        if FORGET_MAX in forgotten:
            return 0
        return _IDLE_S if self._bets_retention_ms is None else await self._archive(self._bets_retention_ms)

    async def _archive(self, retention_ms: int) -> float:
        async with self._pool.acquire() as conn:
            first_round = await store.sum_oldest_partition(conn, retention_ms)
            if first_round is None:
                return _IDLE_S
            failpoints.reach("storage.summed")
            if not await store.detach_partition(conn, first_round):
                return _BUSY_S
        failpoints.reach("storage.detached")
        _log.info("storage.partition_archived", first_round=first_round)
        return 0
