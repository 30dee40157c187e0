"""Whether the process lives, and whether it can serve. No login, any host."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.answers import Answer, json_answer
from gateway.http import response
from gateway.problems import problem

_PATIENCE_S: Final = 2.0


def routes(pool: asyncpg.Pool, redis: Redis) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""

    @get("/healthz")
    async def healthz() -> Response[bytes]:
        return response(json_answer({"status": "ok"}))

    @get("/readyz")
    async def readyz() -> Response[bytes]:
        return response(await _readiness(pool, redis))

    return [healthz, readyz]


async def _readiness(pool: asyncpg.Pool, redis: Redis) -> Answer:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await pool.fetchval("SELECT 1")
            await redis.set("keno:ready", b"", px=1_000)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError):
        return problem("unavailable", "the database or Redis does not answer")
    return json_answer({"status": "ready"})
