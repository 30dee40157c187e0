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
from keno.texts.languages import ENGLISH, Language

_PATIENCE_S: Final = 2.0


class Health:
    """How the process is, for every server in it."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis) -> None:
        self._pool = pool
        self._redis = redis

    @staticmethod
    def lives() -> Answer:
        """200."""
        return json_answer({"status": "ok"})

    async def ready(self, language: Language = ENGLISH) -> Answer:
        """200 where PostgreSQL and Redis answer, else the problem `unavailable`."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._pool.fetchval("SELECT 1")
                await self._redis.set("keno:ready", b"", px=1_000)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError):
            return problem("unavailable", "the database or Redis does not answer", language=language)
        return json_answer({"status": "ready"})


def routes(health: Health) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""

    @get("/healthz")
    async def healthz() -> Response[bytes]:
        return response(health.lives())

    @get("/readyz")
    async def readyz() -> Response[bytes]:
        return response(await health.ready())

    return [healthz, readyz]
