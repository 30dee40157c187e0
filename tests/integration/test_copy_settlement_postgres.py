"""The settlement stream on PostgreSQL's own bytes: COPY out of it, through the stream, and COPY into it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from keno import _core

BETS = 3_000
# One or two picks of which 1 to 20 are drawn, in two rounds, of three operators, on two terms.
BETS_SQL = """
    SELECT round_id, bet_id, operator_id, account_id, picks, stake_minor, terms, hits
    FROM (
        SELECT 1 + n / 1700 AS round_id, n AS bet_id, -1000 * n AS account_id, 100 * (1 + n % 9) AS stake_minor,
            (n % 2)::smallint AS terms,
            ('00000000-0000-0000-0000-00000000000' || n % 3)::uuid AS operator_id,
            (ARRAY['\\x00000000000000000001', '\\x80000000000000000000', '\\x00000000000000000003',
                '\\x00000000000000100001']::bytea[])[n % 4 + 1] AS picks,
            (ARRAY[1, 0, 2, 1])[n % 4 + 1] AS hits
        FROM generate_series(0, $1::bigint - 1) AS n
    ) AS bets
    ORDER BY round_id, bet_id
"""
COPY_SQL = BETS_SQL.replace("terms, hits\n", "terms\n")
# Fivefold a hit, half of it on the second terms, and 4,000 at most.
WON_SQL = f"""
    SELECT *, least(win, 4000) AS payout_minor, greatest(win - 4000, 0) AS cut_minor
    FROM (SELECT *, stake_minor * 5 * hits / (1 + terms) AS win FROM ({BETS_SQL}) AS bets) AS won
"""  # noqa: S608
PAYOUT_COLUMNS = ("bet_id", "round_id", "account_id", "hits", "payout_minor", "cut_minor")


@pytest.fixture
async def connection(owner_pool: asyncpg.Pool) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
    """Has an empty table of its own with the columns and checks of payouts."""
    async with owner_pool.acquire() as connection:
        await connection.execute("CREATE TEMP TABLE settled (LIKE payouts INCLUDING ALL)")
        yield connection


def stream() -> _core.SettlementStream:
    rows = [[], *([5 * hits for hits in range(picks + 1)] for picks in range(1, 11))]
    terms = [_core.Terms(rows, scale, 4_000) for scale in (1, 2)]
    return _core.SettlementStream([(round_id, bytes(range(1, 21)), terms, b"") for round_id in (1, 2)])


def settle_whole(bets: bytes) -> bytes:
    settling = stream()
    return settling.feed(bets) + settling.finish()


async def settle(
    connection: asyncpg.pool.PoolConnectionProxy, settling: _core.SettlementStream, bets_count: int
) -> None:
    """Settles the first bets into `settled`."""
    out: list[bytes] = []

    async def take(chunk: bytes) -> None:
        out.append(await asyncio.to_thread(settling.feed, chunk))

    async def payouts() -> AsyncIterator[bytes]:
        for piece in [*out, settling.finish()]:
            yield piece

    await connection.copy_from_query(COPY_SQL, bets_count, output=take, format="binary")
    await connection.copy_to_table("settled", source=payouts(), columns=PAYOUT_COLUMNS, format="binary")


async def test_postgresql_reads_the_payouts_of_the_bets_that_it_wrote(
    connection: asyncpg.pool.PoolConnectionProxy,
) -> None:
    settling = stream()
    await settle(connection, settling, BETS)
    columns = ", ".join(PAYOUT_COLUMNS)
    expected = await connection.fetch(f"SELECT {columns} FROM ({WON_SQL}) AS won WHERE payout_minor > 0", BETS)  # noqa: S608
    assert await connection.fetch(f"SELECT {columns} FROM settled ORDER BY bet_id") == expected  # noqa: S608
    assert len(expected) == settling.winners_count == BETS * 3 // 4


async def test_the_totals_are_those_that_postgresql_adds_up(connection: asyncpg.pool.PoolConnectionProxy) -> None:
    settling = stream()
    await settle(connection, settling, BETS)
    totals = await connection.fetch(
        f"""
        SELECT round_id, uuid_send(operator_id), terms, count(*), sum(stake_minor)::bigint, sum(payout_minor)::bigint,
            sum(cut_minor)::bigint, sum((
                SELECT sum(hits_parts(bit_count(picks)::integer, h) * least(stake_minor * 5 * h / (1 + terms), 4000))
                FROM generate_series(1, bit_count(picks)::integer) AS h
            ))
        FROM ({WON_SQL}) AS won GROUP BY round_id, operator_id, terms ORDER BY round_id, operator_id, terms
        """,  # noqa: S608
        BETS,
    )
    assert settling.totals() == [tuple(row) for row in totals]
    assert len(totals) == 12


async def test_no_bets_become_no_payouts(connection: asyncpg.pool.PoolConnectionProxy) -> None:
    settling = stream()
    await settle(connection, settling, 0)
    assert await connection.fetchval("SELECT count(*) FROM settled") == 0
    assert (settling.totals(), settling.winners_count) == ([], 0)


async def test_a_null_from_postgresql_is_refused(connection: asyncpg.pool.PoolConnectionProxy) -> None:
    query = "SELECT 1::bigint, 1::bigint, gen_random_uuid(), NULL::bigint, ''::bytea, 1::bigint, 0::smallint"
    out: list[bytes] = []

    async def take(chunk: bytes) -> None:
        out.append(chunk)

    await connection.copy_from_query(query, output=take, format="binary")
    with pytest.raises(_core.CoreError, match="account_id is null"):
        settle_whole(b"".join(out))
