"""The settings of our connections, and that a cancelled task leaves none of them in a transaction."""

import asyncio

import asyncpg
import pytest
from support.databases import Database

from keno.infra.postgres import create_pool
from keno.infra.transient import is_transient


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("TimeZone", "UTC"),
        ("application_name", "keno"),
    ],
)
async def test_a_pooled_connection_has_our_settings_again_after_a_borrower_changed_them(
    database: Database, setting: str, value: str
) -> None:
    async with await create_pool(database.app_url, connections_max=1) as pool:
        async with pool.acquire() as connection:
            await connection.execute("SET synchronous_commit = off; SET lock_timeout = 0; SET TimeZone = 'Asia/Tokyo'")
        assert await pool.fetchval("SELECT current_setting($1)", setting) == value


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_cancelled_task_leaves_no_connection_in_a_transaction_and_no_lock(database: Database) -> None:
    """Cancels the same work after each number of loop turns until it gets through."""

    async def work(pool: asyncpg.Pool) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(1), pg_advisory_lock(2)")
            await connection.execute("INSERT INTO operators (name, currencies) VALUES ('uncommitted', '{EUR}')")
            await connection.fetchval("SELECT 1")
            raise LookupError("it got through: roll it back")

    async with await create_pool(database.app_url, connections_max=1) as pool:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncpg reports each reset there
        for turns in range(2_000):
            task = asyncio.create_task(work(pool))
            for _ in range(turns):
                if not task.done():
                    await asyncio.sleep(0)
            task.cancel()
            (ending,) = await asyncio.gather(task, return_exceptions=True)
            async with pool.acquire() as connection:
                assert not connection.is_in_transaction()
                held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
                assert await connection.fetchval(held) == 0
            if isinstance(ending, LookupError):
                break
        else:
            pytest.fail("the work never got through")
        assert await pool.fetchval("SELECT count(*) FROM operators") == 0


async def test_a_connection_that_the_server_ended_in_a_transaction_is_a_transient_failure(
    pool: asyncpg.Pool, owner_pool: asyncpg.Pool
) -> None:
    with pytest.raises(Exception, match=r"clos|terminat") as raised:  # noqa: PT012 - where it surfaces is not the point
        async with pool.acquire() as connection, connection.transaction():
            await owner_pool.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.fetchval("SELECT 1")

    assert is_transient(raised.value)
    assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize(
    "statement", ["SELECT 1/0", "SELECT nothing_of_that_name", "INSERT INTO inbox VALUES (NULL, NULL)"]
)
async def test_a_refused_statement_is_not_transient(pool: asyncpg.Pool, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await pool.execute(statement)
    assert not is_transient(raised.value)


async def test_a_statement_over_its_limit_is_transient(database: Database) -> None:
    async with await create_pool(database.app_url, statement_timeout_ms=20) as pool:
        with pytest.raises(asyncpg.QueryCanceledError) as raised:
            await pool.execute("SELECT pg_sleep(10)")
    assert is_transient(raised.value)
