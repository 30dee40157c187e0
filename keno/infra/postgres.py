"""Pools of PostgreSQL connections, with the settings that the rules of money and rounds rely on.

Not here: SQL (it stands in the `store.py` of each capability), migrations (`keno.infra.migrate`) and retries
(`workers.runner`; a caller at the edge answers `overloaded` instead). jsonb arrives as text, asyncpg's own choice: its
few readers decode it themselves.

A task that is cancelled can hand back a connection with an open transaction. asyncpg's pool rolls it back and drops
advisory locks when it resets a returned connection, and closes the connection when it can't; so no `reset` hook stands
here, and a pooler that keeps sessions across clients must not stand between. A test cancels tasks at every point.
"""

from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy
"""One connection, on which a transaction can span several statements."""

Executor: TypeAlias = Connection | asyncpg.Pool
"""For a statement of its own: a connection, or a pool that lends one for it."""

LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 30_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
# lock_timeout counts each lock by itself, so a statement that meets several needs the other limit too.
assert LOCK_TIMEOUT_MS < STATEMENT_TIMEOUT_MS  # noqa: S101
# Past its own limit a statement only hangs when the server or the network is gone; then the client gives up.
_CLIENT_MARGIN_S = 5.0


async def create_pool(
    url: str,
    *,
    application: str = "keno",
    connections_min: int = 1,
    connections_max: int = 10,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    idle_in_transaction_timeout_ms: int = IDLE_IN_TRANSACTION_TIMEOUT_MS,
) -> asyncpg.Pool:
    """Opens a pool for `url`, whose user is the role that the services act in.

    Acknowledged means on disk (`synchronous_commit`), whatever the server's default is. `statement_timeout_ms` is for
    callers whose statements stream a whole round; `idle_in_transaction_timeout_ms` is how long a client that stopped in
    the middle of a transaction may keep its locks.

    Raises what asyncpg raises: OSError when the server can't be reached, asyncpg.PostgresError when it refuses.
    """
    return await asyncpg.create_pool(
        url,
        min_size=connections_min,
        max_size=connections_max,
        command_timeout=statement_timeout_ms / 1000 + _CLIENT_MARGIN_S,
        server_settings={
            "application_name": application,
            "synchronous_commit": "on",
            "timezone": "UTC",
            "jit": "off",  # the statements are short and hot: compiling them costs more than they take
            "lock_timeout": f"{LOCK_TIMEOUT_MS}ms",
            "statement_timeout": f"{statement_timeout_ms}ms",
            "idle_in_transaction_session_timeout": f"{idle_in_transaction_timeout_ms}ms",
        },
    )
