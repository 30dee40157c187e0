"""Audits of databases to which something was done that is undone afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from keno.fairness.service import EvidenceService
from keno.infra.local_bus import LocalBus
from keno.reporting.audit import Audit, Report
from support.money import Floor
from support.rounds import PRIVACY_KEY


class OneConnection:
    """A pool of a connection that somebody else is using: what it sees, the borrower sees."""

    def __init__(self, conn: asyncpg.pool.PoolConnectionProxy) -> None:
        self._conn = conn

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        yield self._conn

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._conn.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        return await self._conn.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._conn.fetchval(query, *arguments)


class BeneathTheAudit(OneConnection):
    """The same to whoever must not see what the audit has laid over the tables, as if its connection were another."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        async with self._uncovered() as conn:
            yield conn

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._uncovered() as conn:
            return await conn.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        async with self._uncovered() as conn:
            return await conn.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        async with self._uncovered() as conn:
            return await conn.fetchval(query, *arguments)

    @asynccontextmanager
    async def _uncovered(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        async with self._conn.transaction():
            await self._conn.execute("SET LOCAL search_path = public, pg_temp")
            yield self._conn
            await self._conn.execute("SET LOCAL search_path TO DEFAULT")


@asynccontextmanager
async def on_trial(floor: Floor) -> AsyncIterator[tuple[asyncpg.pool.PoolConnectionProxy, Audit]]:
    """A connection that no rule stops and an audit that sees what it did, until all of that is undone."""
    async with floor.owner_pool.acquire() as conn:
        trial = conn.transaction(isolation="repeatable_read")
        await trial.start()
        try:
            await conn.execute("SET LOCAL session_replication_role = replica")
            alone = OneConnection(conn)
            evidence = EvidenceService(BeneathTheAudit(conn), PRIVACY_KEY)  # type: ignore[arg-type]
            yield conn, Audit(alone, evidence, LocalBus(floor.pool))  # type: ignore[arg-type]
        finally:
            await trial.rollback()


def broken(report: Report) -> set[str]:
    """The names of the invariants that do not hold."""
    return {finding.invariant for finding in report.findings if finding.broken_by}


async def agree(_: bytes, __: bytes) -> list[str]:
    """A verifier that costs nothing."""
    return []
