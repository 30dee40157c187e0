"""`python -m benchmarks.settlement`: rounds from the first bet read to the last win credited, beside their peers.

Rounds of 10^4, 10^5 and 10^6 bets of 10^5 players; `--quick` leaves the last one out. Exits with 1 if an outcome
differs from a peer's, never because a target was missed: the table says so, and the caller decides.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import asyncpg

from benchmarks import report
from benchmarks.peers import settlement_sql
from benchmarks.report import Row
from benchmarks.servers import found_or_started
from benchmarks.settlement_case import PAYTABLES, WIN_MAX_MINOR, Case, Drawn, open_case, server_cpu_s
from keno.bets.settler import Settler
from keno.infra.postgres import create_pool
from keno.wallet import store as wallet_store

METHOD = (
    "Medians of alternating runs of all sides on one server and database, wall time and processor time of the client "
    "and of the server's backends; before each run the round is made drawn again, accounts are vacuumed and a "
    "checkpoint is made. Ours are the settler's own steps, chunk by chunk, each a transaction, and the wallet's "
    "credit. The bare parts are a COPY of the bets to a client that drops them, a COPY of the winners that our "
    "settlement found, and one UPDATE of the accounts, in one transaction; they neither settle nor add up. The "
    "statement settles, adds up and credits. Memory is that of a process which only settles."
)
COPY_OUT = (
    "SELECT round_id, id, operator_id, account_id, picks, stake_minor, terms FROM bets WHERE round_id = $1 ORDER BY id"
)
PAYOUT_COLUMNS = ("bet_id", "round_id", "account_id", "hits", "payout_minor", "cut_minor")
CREDIT = """
    UPDATE accounts AS a SET balance_minor = a.balance_minor + credit.minor
    FROM (SELECT account_id, sum(payout_minor)::bigint AS minor FROM payouts WHERE round_id = $1 GROUP BY 1) AS credit
    WHERE a.id = credit.account_id
"""
MEMORY_MAX_MB = 64
RUNS = 5


# Prints by how many MB the process grew, from a settler that had nothing to do to its peak.
SETTLER = """
import asyncio, pathlib, re, sys
from keno.bets.settler import Settler
from keno.infra.postgres import create_pool

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024

async def main():
    async with await create_pool(sys.argv[1], connections_max=2) as pool:
        settler = Settler(pool)
        idle_mb = peak_mb()
        while await settler.step() == 0:
            pass
        print(peak_mb() - idle_mb)

asyncio.run(main())
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    wall: float
    client: float
    server: float


@dataclass
class Sides:
    """What settles one round, each on connections of its own. `winners` is the COPY of the payouts."""

    case: Case
    pool: asyncpg.Pool
    conn: asyncpg.Connection
    drawn: Drawn
    winners: bytes = b""

    async def ours(self) -> None:
        settler = Settler(self.pool)
        while await settler.step() == 0:
            pass
        async with self.pool.acquire() as conn, conn.transaction():
            await wallet_store.credit_rounds(conn, {self.drawn.id: "room"})

    async def bare(self) -> None:
        async def winners() -> AsyncIterator[bytes]:
            yield self.winners

        async with self.conn.transaction():
            await self.conn.copy_from_query(COPY_OUT, self.drawn.id, output=_drop, format="binary")
            await self.conn.copy_to_table("payouts", source=winners(), columns=PAYOUT_COLUMNS, format="binary")
            await self.conn.execute(CREDIT, self.drawn.id)

    async def statement(self) -> None:
        await settlement_sql.settle(self.conn, self.drawn.id, self.drawn.mask)


async def _drop(_: bytes) -> None:
    pass


async def main() -> int:
    sizes = [10_000, 100_000] if "--quick" in sys.argv[1:] else [10_000, 100_000, 1_000_000]
    async with found_or_started() as servers, open_case(servers, sizes) as case:
        rows = [row for drawn in case.rounds for row in await rows_of(case, drawn, RUNS)]
    print(report.publish("settlement", METHOD, rows, packages=("asyncpg",)))
    return 0


async def rows_of(case: Case, drawn: Drawn, runs: int) -> list[Row]:
    """What a round costs, beside its peers. SystemExit where an outcome differs from theirs."""
    await case.set_due(drawn.id)
    conn = await asyncpg.connect(case.url, server_settings={"jit": "off"})
    await settlement_sql.prepare(conn, PAYTABLES, WIN_MAX_MINOR)
    async with await create_pool(case.url, connections_min=2, connections_max=2) as pool:
        sides = Sides(case, pool, conn, drawn)
        pids = await _backends(case)
        grown_mb = await _check(sides)
        ours, bare, statement = [], [], []
        for _ in range(runs):
            for costs, run in ((ours, sides.ours), (bare, sides.bare), (statement, sides.statement)):
                costs.append(await _cost(case, drawn.id, pids, run))
    await conn.close()
    size, what = drawn.bets, f"settlement of {drawn.bets:,} bets"
    return [
        _row(what, "us/bet", size, _wall(ours), _wall(bare), "bare parts", 1 / 1.3),
        _row(what, "us/bet", size, _wall(ours), _wall(statement), "one statement", 1.0),
        _row(f"{what}, server CPU", "us/bet", size, _server(ours), _server(statement), "one statement", 1.0),
        _row(f"{what}, server CPU", "us/bet", size, _server(ours), _server(bare), "bare parts", None),
        _row(f"{what}, client CPU", "us/bet", size, _client(ours), _client(bare), "bare parts", None),
        Row(
            f"{what}, memory",
            "MB",
            grown_mb,
            MEMORY_MAX_MB,
            "limit",
            MEMORY_MAX_MB / max(grown_mb, 0.1),
            1.0,
            grown_mb <= MEMORY_MAX_MB,
        ),
    ]


async def _check(sides: Sides) -> float:
    """Settles by each side once and compares; returns by how many MB a process grew that settled."""
    case, what = sides.case, f"settlement of {sides.drawn.bets:,} bets"
    await case.reset(sides.drawn.id)
    grown_mb = await _settle_in_a_process(case.url)
    await sides.ours()
    expected = await case.outcome()
    sides.winners = await _winners(case)
    await case.reset(sides.drawn.id)
    await sides.statement()
    if await case.outcome() != expected:
        sys.exit(f"{what}: the outcome differs from that of one statement")
    await case.reset(sides.drawn.id)
    await sides.bare()
    if await case.outcome() != expected | {"round_totals": None}:
        sys.exit(f"{what}: the outcome differs from that of the bare parts")
    return grown_mb


async def _settle_in_a_process(url: str) -> float:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SETTLER, url, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return float(output)


async def _winners(case: Case) -> bytes:
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    # A partitioned table can be copied into but not out.
    query = f"SELECT {', '.join(PAYOUT_COLUMNS)} FROM payouts"  # noqa: S608
    await case.owner.copy_from_query(query, output=take, format="binary")
    return b"".join(pieces)


async def _cost(case: Case, round_id: int, pids: list[int], run: Callable[[], Awaitable[None]]) -> Cost:
    await case.reset(round_id)
    server, client, wall = server_cpu_s(pids), time.process_time(), time.perf_counter()
    await run()
    return Cost(time.perf_counter() - wall, time.process_time() - client, server_cpu_s(pids) - server)


async def _backends(case: Case) -> list[int]:
    rows = await case.owner.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    return [row["pid"] for row in rows]


def _wall(costs: list[Cost]) -> float:
    return statistics.median(cost.wall for cost in costs)


def _server(costs: list[Cost]) -> float:
    return statistics.median(cost.server for cost in costs)


def _client(costs: list[Cost]) -> float:
    return statistics.median(cost.client for cost in costs)


def _row(what: str, unit: str, size: int, ours_s: float, peer_s: float, peer: str, target: float | None) -> Row:
    ours, other = ours_s / size * 1e6, peer_s / size * 1e6
    ratio = other / ours
    return Row(what, unit, ours, other, peer, ratio, target, None if target is None else ratio >= target)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
