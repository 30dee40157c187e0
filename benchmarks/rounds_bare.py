"""What the rows of rounds without bets cost by themselves: the limit of any engine that keeps them as they are kept.

The same tables with their indexes, checks and guards, in a database of their own: a round is opened, locked, its seed
is stored, and it is drawn and ended, 500 rounds a statement, on two connections. Every value is a constant; nothing is
looked up, and no event is told.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks import servers
from benchmarks.rounds_hall import Played
from benchmarks.servers import Database, ServerCpu, Servers
from keno.infra.migrate import migrate
from keno.infra.postgres import create_pool

_SHARDS, _ROOMS = 2, 500
_OPEN = """
    INSERT INTO rounds (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms,
        lease_epoch, shard)
    SELECT room.id, $1::bigint, 'open', sha256('r'), 1, sha256('c'), 1, 2 * $1::bigint, 2 * $1::bigint + 1, 1, $2
    FROM bare_rooms AS room WHERE room.shard = $2
    RETURNING id
"""
_STEPS = (
    "UPDATE rounds SET phase = 'locked', locked_ms = 2, bets_count = 0, bets_root = sha256(''), beacon_round = 0,"
    " prev_lock = sha256('p'), lock_hash = sha256('l') WHERE id = ANY ($1)",
    "INSERT INTO seed_releases (round_id, lock_hash, seed)"
    " SELECT id, sha256('l'), sha256('s') FROM unnest($1::bigint[]) AS r (id)",
    "UPDATE rounds SET phase = 'settled', drawn_ms = 3, ended_ms = 3, seed = sha256('s'), result = sha256('d'),"
    " numbers = substring(sha256('n') FOR 20) WHERE id = ANY ($1)",
)


class Bare:
    """A database in which only rows are written."""

    def __init__(self, database: Database, pool: asyncpg.Pool) -> None:
        self._database = database
        self._pool = pool
        self._number = 0

    async def play(self, waves: int) -> Played:
        """Writes `waves` rounds of every room, from their opening to their end."""
        numbers = range(self._number + 1, self._number + waves + 1)
        self._number += waves
        async with ServerCpu(self._database.owner) as cpu:
            started, client = time.perf_counter(), time.process_time()
            await asyncio.gather(*(self._write(shard, numbers) for shard in range(_SHARDS)))
            wall_s, client_s = time.perf_counter() - started, time.process_time() - client
        return Played(waves * _SHARDS * _ROOMS, wall_s, client_s, cpu.seconds)

    async def _write(self, shard: int, numbers: range) -> None:
        async with self._pool.acquire() as conn:
            # Found by their keys, as ours are, however little the planner knows of a table that grows.
            await conn.execute("SET enable_seqscan = off")
            for number in numbers:
                ids = [row["id"] for row in await conn.fetch(_OPEN, number, shard)]
                for step in _STEPS:
                    await conn.execute(step, ids)


@asynccontextmanager
async def bare(found: Servers) -> AsyncIterator[Bare]:
    """Rows by themselves, on a database of their own."""
    async with servers.database(found) as database:
        await migrate(database.owner_url)
        await database.owner.execute(
            f"CREATE TABLE bare_rooms AS SELECT gen_random_uuid() AS id, n % {_SHARDS} AS shard"  # noqa: S608 - our own
            f" FROM generate_series(1, {_SHARDS * _ROOMS}) AS n"
        )
        async with await create_pool(database.owner_url, connections_max=_SHARDS) as pool:
            yield Bare(database, pool)
