"""Clients of Redis (or Valkey), which keeps what may be lost: sessions, nonces, leases, limits, live streams.

Not here: keys and scripts; they stand beside the capability that owns them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

_COMMAND_TIMEOUT_S = 5.0
_POOL_WAIT_S = 5.0

Argument = str | int | float
"""A part of a command."""


def create_redis(url: str, *, connections_max: int = 64, timeout_s: float = _COMMAND_TIMEOUT_S) -> Redis:
    """A client for `url`; it connects with its first command, and `aclose()` closes it. Values are bytes.

    A caller that finds all connections taken waits for one. Commands raise redis.exceptions.ConnectionError or
    TimeoutError when the server can't be reached or takes longer than `timeout_s`; a blocking read must ask for less.

    A command is sent once: the retry of a SET NX whose answer got lost would find its own effect and call it another's.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=_POOL_WAIT_S,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
    return Redis.from_pool(pool)


class LoneConnection:
    """One command at a time, on a connection of its own to where a client connects.

    For what is asked thousands of times a second, or waited for all the time: a command through a client costs three
    times as much. The connection is made with the first command, again after one that failed, and closed by `close()`.
    """

    def __init__(self, redis: Redis, *, timeout_s: float) -> None:
        self._pool = redis.connection_pool
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None

    async def call(self, *command: Argument, otherwise: Sequence[Argument] = ()) -> Any:
        """What Redis answers, as it is on the wire; to `otherwise`, where it does not know the script that is called.

        Raises redis.exceptions.RedisError, OSError, and TimeoutError after the timeout, which is one for both. After a
        failure it is unknown whether the command was carried out.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._connection is None:
                    self._connection = self._connected()
                try:
                    return await self._send(self._connection, command)
                except NoScriptError:
                    if not otherwise:
                        raise
                    return await self._send(self._connection, otherwise)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connection; another call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _connected(self) -> AbstractConnection:
        # The timeout is ours, around the whole call: those of the client cost as much as the call itself.
        settings = self._pool.connection_kwargs | {"socket_timeout": None, "health_check_interval": 0}
        connection: AbstractConnection = self._pool.connection_class(**settings)
        return connection

    @staticmethod
    async def _send(connection: AbstractConnection, command: Sequence[Argument]) -> Any:
        packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
        await connection.send_packed_command(packed, check_health=False)
        return await connection.read_response()


class ScriptCaller:
    """Calls one Lua script, one call at a time, on a connection of its own, closed by `close()`."""

    def __init__(self, redis: Redis, script: str, *, timeout_s: float) -> None:
        self._connection = LoneConnection(redis, timeout_s=timeout_s)
        self._script: Final = script
        self._sha: Final = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

    async def call(self, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """What the script returns. Raises as `LoneConnection.call` does."""
        rest = len(keys), *keys, *arguments
        return await self._connection.call("EVALSHA", self._sha, *rest, otherwise=("EVAL", self._script, *rest))

    async def close(self) -> None:
        """Closes the connection; another call makes a new one."""
        await self._connection.close()
