"""SQL of what is stored for how long. The rules stand in the functions of the database, which nobody can go around."""

from keno.infra.postgres import Connection, Executor

_SUM_MAX_S = 3_600


async def make_partitions(conn: Executor, ahead: int) -> int:
    """Makes partitions of bets and payouts until so many whole ones are beyond the newest round; how many it made."""
    return int(await conn.fetchval("SELECT make_partitions($1)", ahead))


async def forget_receipts(conn: Executor, retention_ms: int, limit: int) -> int:
    """Deletes receipts of events that were handled before the retention, some of the oldest; the number of them."""
    return int(await conn.fetchval("SELECT forget_receipts($1, $2)", retention_ms, limit))


async def forget_exposures(conn: Executor, retention_ms: int, limit: int) -> int:
    """Deletes exposures of rounds that ended before the retention, among so many of the oldest; the number of them."""
    return int(await conn.fetchval("SELECT forget_exposures($1, $2)", retention_ms, limit))


async def forget_round_wins(conn: Executor, limit: int) -> int:
    """Deletes so many at most of what accounts won of rounds that have ended; the number of them."""
    return int(await conn.fetchval("SELECT forget_round_wins($1)", limit))


async def sum_oldest_partition(conn: Connection, retention_ms: int) -> int | None:
    """Sums the oldest partition up if it may be detached; its first round, None if it may not."""
    async with conn.transaction():
        await conn.execute(f"SET LOCAL statement_timeout = '{_SUM_MAX_S}s'; SET LOCAL work_mem = '64MB'")
        first_round: int | None = await conn.fetchval(
            "SELECT sum_oldest_partition($1)", retention_ms, timeout=_SUM_MAX_S
        )
    return first_round


async def detach_partition(conn: Executor, first_round: int) -> bool:
    """Detaches the partition that was summed up; False where an audit reads and it must be tried again."""
    return bool(await conn.fetchval("SELECT detach_partition($1)", first_round))
