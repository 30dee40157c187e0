"""Which failures pass by themselves, so that trying again is right. Everything else is a bug or a refusal.

Not here: how often and how long to try; that is the caller's.
"""

import asyncpg
import redis.exceptions

from keno.infra.bus import BusError

TRANSIENT: tuple[type[Exception], ...] = (
    OSError,  # refused, reset, unreachable; TimeoutError too
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # cut in the middle of an exchange; the pool drops the connection
    asyncpg.OperatorInterventionError,  # shutdown, starting up, statement_timeout
    asyncpg.InsufficientResourcesError,  # too many connections, a full disk
    asyncpg.TransactionRollbackError,  # serialization failure, deadlock
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    BusError,
)


def is_transient(failure: BaseException) -> bool:
    """Whether the same thing may well succeed a little later."""
    if isinstance(failure, asyncpg.InterfaceError):
        # asyncpg does not type the reason. A connection that broke between two statements has gone back to its pool;
        # and leaving the transaction of one that just broke hides what happened.
        broken = any(words in str(failure) for words in ("closed", "released back to the pool"))
        return broken or (failure.__context__ is not None and is_transient(failure.__context__))
    return isinstance(failure, TRANSIENT)
