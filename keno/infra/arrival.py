"""The first connection of a process to a server that may not be there yet: processes may start in any order.

What will not pass by waiting, such as a wrong password, is an error at once. Not here: connections that break later
(`workers.runner`), and Redis and RabbitMQ that are away, without which a process starts and does what it can.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, ResponseError

from keno.errors import ConfigError, KenoError
from keno.infra.transient import is_transient

_PAUSE_MIN_S = 0.1
_PAUSE_MAX_S = 2.0
_DATABASE_REFUSES = (
    asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password too
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    ValueError,  # a URL that is none
)

Connected = TypeVar("Connected")

_log = structlog.get_logger(__name__)


class UnreachableError(KenoError):
    """A server that is needed to start was not there for as long as the process may wait."""


async def reach_database(
    setting: str,
    connect: Callable[[], Awaitable[Connected]],
    *,
    patience_s: float = 0,
    stop: asyncio.Event | None = None,
) -> Connected:
    """What `connect` gives, which is called again until it succeeds; `setting` names its URL in errors.

    Waits for `patience_s` and not beyond `stop`, and says once that it does. Without patience there is one attempt.

    Raises ConfigError when PostgreSQL refuses what the URL says, UnreachableError when it was not there in time.
    """
    until, pause_s = time.monotonic() + patience_s, _PAUSE_MIN_S
    waits = False
    while True:
        try:
            return await connect()
        except _DATABASE_REFUSES as failure:
            raise ConfigError(f"{setting} cannot be used: {failure}") from failure
        except Exception as failure:
            if not is_transient(failure):
                raise
            if time.monotonic() + pause_s > until or (stop is not None and stop.is_set()):
                raise UnreachableError(f"PostgreSQL of {setting} cannot be reached: {failure!r}") from failure
            if not waits:
                _log.warning("database.awaited", setting=setting, patience_s=patience_s, failure=repr(failure))
                waits = True
        await _pause(pause_s, stop)
        pause_s = min(2 * pause_s, _PAUSE_MAX_S)


async def check_redis(redis: Redis) -> None:
    """Raises ConfigError when Redis refuses what KENO_REDIS_URL says. Its absence is not waited for."""
    try:
        await redis.ping()
    except (AuthenticationError, ResponseError) as failure:
        raise ConfigError(f"KENO_REDIS_URL cannot be used: {failure}") from failure
    except Exception as failure:
        if not is_transient(failure):
            raise
        _log.warning("redis.missing", failure=repr(failure))


async def _pause(pause_s: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(pause_s)
        return
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        pass
