"""The peer of the engine: each step of each round a transaction of its own, on the best number of connections.

Hashes and draws come from the same Rust core as ours, so that the way of writing is what is compared.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from benchmarks import servers
from benchmarks.servers import Database, ServerCpu, Servers
from keno import _core
from keno.fairness import keno1, leaves
from keno.game.numbers import picks_mask
from keno.game.profiles import shipped_paytable
from keno.infra.postgres import create_pool

CONNECTIONS = (1, 2, 4, 8)
_SCHEMA = Path(__file__).with_name("rounds_steps.sql")
_ROOM, _RULES, _OPERATOR, _PAYTABLE = bytes(16), bytes(32), bytes(16), bytes(32)
_DEPOSIT_MINOR = 10**12


class Peer:
    """A database with players; `bets_count` bets come to each round."""

    def __init__(self, database: Database, pool: asyncpg.Pool, players: int) -> None:
        self.database = database
        self._pool = pool
        self._players = players
        self._taste = random.Random(11)
        self._masks = [picks_mask(self._taste.sample(range(1, 81), 1 + n % 10)) for n in range(1_000)]
        self._number = 0

    async def run(self, rounds: int, bets_count: int, connections: int) -> tuple[float, float, float]:
        """Plays whole rounds; returns wall, client and server seconds."""
        numbers = iter(range(self._number + 1, self._number + rounds + 1))
        self._number += rounds
        async with ServerCpu(self.database.owner) as cpu:
            started, client = time.perf_counter(), time.process_time()
            await asyncio.gather(*(self._play(numbers, bets_count) for _ in range(connections)))
            wall_s, client_s = time.perf_counter() - started, time.process_time() - client
        return wall_s, client_s, cpu.seconds

    async def _play(self, numbers: Iterator[int], bets_count: int) -> None:
        async with self._pool.acquire() as conn:
            for number in numbers:
                await self._round(conn, number, bets_count)

    async def _round(self, conn: asyncpg.Connection, number: int, bets_count: int) -> None:
        seed = hashlib.sha256(number.to_bytes(8, "big")).digest()
        commit = keno1.commit(_ROOM, number, seed)
        round_id = await conn.fetchval("SELECT open_round(0, $1, $2)", number, commit)
        if bets_count:
            await conn.execute("SELECT place_bets($1, $2, $3, $4)", round_id, *self._bets(bets_count))
        locked_ms, *bets = await conn.fetchrow("SELECT * FROM lock_round($1)", round_id)
        root = leaves.bets_root(leaves.salted(bytes(32), _unsalted(*bets)) if bets_count else b"")
        lock = keno1.Lock(_ROOM, number, commit, _RULES, root, bets_count, locked_ms, 0, keno1.ZERO32)
        drawn = keno1.draw("S", lock, seed, b"")
        await conn.execute(
            "SELECT draw_round($1, $2, $3, $4, $5, $6, $7, $8)",
            round_id,
            bets_count,
            root,
            lock.hash,
            seed,
            drawn.numbers,
            _core.picks_mask(list(drawn.numbers)),
            drawn.result,
        )
        await conn.execute("SELECT settle_round($1)", round_id)
        if bets_count:
            await conn.execute("SELECT credit_round($1)", round_id)

    def _bets(self, count: int) -> tuple[list[int], list[int], list[bytes]]:
        taste = self._taste
        accounts = [taste.randint(1, self._players) for _ in range(count)]
        return accounts, [100 * taste.randint(1, 100) for _ in range(count)], taste.choices(self._masks, k=count)

    async def objections(self) -> list[str]:
        """What is wrong in the books."""
        balances = await self.database.owner.fetchval(
            "SELECT (SELECT sum(balance_minor) FROM accounts) + (SELECT coalesce(sum(stake_minor), 0) FROM bets)"
            " - (SELECT coalesce(sum(payout_minor), 0) FROM payouts JOIN credits USING (round_id))"
        )
        found = [] if balances == self._players * _DEPOSIT_MINOR else ["the peer's books do not balance"]
        unsettled = await self.database.owner.fetchval("SELECT count(*) FROM rounds WHERE phase <> 'settled'")
        return found + ([f"{unsettled} rounds of the peer have not ended"] if unsettled else [])


def _unsalted(ids: list[int], accounts: list[int], stakes: list[int], masks: list[bytes]) -> bytes:
    return b"".join(
        leaves.unsalted_leaf(bet_id, _OPERATOR, account.to_bytes(32, "big"), mask, stake, "EUR", _PAYTABLE)
        for bet_id, account, stake, mask in zip(ids, accounts, stakes, masks, strict=True)
    )


@asynccontextmanager
async def peer(found: Servers, players: int) -> AsyncIterator[Peer]:
    """The peer on a database of its own."""
    async with servers.database(found) as database:
        owner = database.owner
        await owner.execute(_SCHEMA.read_text())
        await owner.execute(
            "INSERT INTO accounts SELECT n, $1 FROM generate_series(1, $2::bigint) AS n", _DEPOSIT_MINOR, players
        )
        paytable = shipped_paytable("94")
        await owner.executemany(
            "INSERT INTO multipliers VALUES ($1, $2, $3)",
            [
                (picks, hits, multiplier * 100 // paytable.scale)
                for picks, row in enumerate(paytable.multipliers)
                for hits, multiplier in enumerate(row)
            ],
        )
        await owner.execute("VACUUM ANALYZE")
        async with await create_pool(database.owner_url, connections_min=8, connections_max=8) as pool:
            yield Peer(database, pool, players)
