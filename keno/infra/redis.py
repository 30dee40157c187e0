"""Clients of Redis (or Valkey), which keeps what may be lost: sessions, nonces, leases, limits, live streams.

Not here: keys and scripts; they stand beside the capability that owns them.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_COMMAND_TIMEOUT_S = 5.0
_POOL_WAIT_S = 5.0


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
