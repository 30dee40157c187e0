"""`python -m benchmarks.bets`: bets accepted in batches beside one bet a transaction, and over HTTP beside
the usual stack, in one table.

Takes a few minutes; `--full` takes half an hour and adds a million players, rounds of a million bets and longer runs.
Exits with 1 if books do not balance at the end, on either side, never because a target was missed: the table says so,
and the caller decides.
"""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from benchmarks import bets_http, bets_receipts, report, servers
from benchmarks.bets_house import house
from benchmarks.peers import pgbench
from benchmarks.peers.pgbench import Pgbench
from benchmarks.report import Row
from benchmarks.servers import Measured, Servers

METHOD = (
    "Medians of alternating runs on one PostgreSQL server, each side in a database of its own, made for the run. "
    "Acceptance: place_bets of keno.bets.store in one Python process, a call a batch, against pgbench with prepared "
    "statements at the best of its client counts, found first. Bets are made before the clock starts; encoding and "
    "decoding belong to the call. Server CPU is that of the database's backends and of the server's writers in the "
    "background. Ids are UUIDv7 on our side, growing integers on the peer's; with random ids both have random ones."
)


PACKAGES = ("asyncpg", "granian", "litestar", "fastapi", "uvicorn", "sqlalchemy", "http-message-signatures")


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    players: tuple[int, ...]
    runs: int
    peer_s: float
    bets: int
    """Bets a run of the largest batches; smaller batches, which are slower, get fewer."""
    round_bets: tuple[int, ...]
    """Bets that a round has when it gets more."""
    http_s: float
    """How long a run over HTTP of requests of one bet each lasts."""


QUICK = Size(players=(1_000, 100_000), runs=3, peer_s=2, bets=20_000, round_bets=(10, 100_000), http_s=2)
FULL = Size(
    players=(1_000, 100_000, 1_000_000),
    runs=5,
    peer_s=3,
    bets=100_000,
    round_bets=(10, 1_000, 100_000, 1_000_000),
    http_s=6,
)


def main() -> int:
    pgbench.program()
    return asyncio.run(_main(FULL if "--full" in sys.argv[1:] else QUICK))


async def _main(size: Size) -> int:
    async with servers.found_or_started() as found:
        admin = await asyncpg.connect(found.database_url)
        await servers.check_local(admin)
        server_version = admin.get_server_version()
        await admin.close()
        versions = {"postgresql": f"{server_version.major}.{server_version.minor}"}
        method = f"{METHOD} {bets_receipts.METHOD} {bets_http.METHOD}"
        rows: list[Row] = []
        try:
            async for more in _rows(found, size):
                rows += more
        finally:
            # Half an hour of a full run is not lost with what comes last.
            print(report.publish("bets", method, rows, packages=PACKAGES, versions=versions))
    return 0


async def _rows(found: Servers, size: Size) -> AsyncIterator[list[Row]]:
    """The table, part by part."""
    costs: dict[int, float] = {}
    for players in size.players:
        compared, costs[players] = await acceptance_rows(found, players, size)
        yield compared
    yield [flat_row("players", costs), flat_row("bets in a round", await costs_by_round(found, size))]
    yield await bets_receipts.rows(found, size.bets, 2 * size.runs + 1)
    over_http, objections = await bets_http.rows(found, size.runs, size.http_s)
    yield over_http
    check(objections)


@dataclass(frozen=True)
class Case:
    """One way to place bets."""

    batch: int
    connections: int
    random_ids: bool = False

    @property
    def what(self) -> str:
        """The case in words."""
        ids = ", uuid4" if self.random_ids else ""
        return f"{self.batch:,} a batch, {self.connections} conn{ids}"


LARGEST = Case(1_000, 2)
CASES = (*(Case(batch, connections) for batch in (10, 100, 1_000) for connections in (1, 2)), Case(1_000, 2, True))
# Smaller batches are slower: with fewer bets all runs take about as long.
SHARE_OF_BETS = {10: 8, 100: 2, 1_000: 1}


async def acceptance_rows(found: Servers, players: int, size: Size) -> tuple[list[Row], float]:
    """Bets a second and server CPU a bet of every case, beside the peer with as many players; the cost of LARGEST."""
    async with house(found, players) as ours, pgbench.peer(found, players) as peer:

        async def place(case: Case) -> Measured:
            bets = ours.bets(size.bets // SHARE_OF_BETS[case.batch], random_ids=case.random_ids)
            return await ours.run(bets, case.batch, case.connections)

        clients = await _best_client_count(peer, size.peer_s)
        for case in CASES:
            await place(case)
        # Plans made while the tables were empty would not be those of a table with bets in it.
        for database in (ours.database, peer.database):
            await database.owner.execute("VACUUM ANALYZE")
        mine: dict[Case, list[Measured]] = {case: [] for case in CASES}
        theirs: dict[bool, list[Measured]] = {False: [], True: []}
        for _ in range(size.runs):
            for random_ids, runs in theirs.items():
                runs.append(await peer.run(clients, size.peer_s, random_ids=random_ids))
                for case in CASES:
                    if case.random_ids is random_ids:
                        mine[case].append(await place(case))
        check(await ours.objections(), await peer.objections())
    rows = []
    for case in CASES:
        rows += _compared(f"{players:,} players, {case.what}", clients, case, mine[case], theirs[case.random_ids])
    return rows, statistics.median(run.server_us for run in mine[LARGEST])


async def _best_client_count(peer: Pgbench, seconds: float) -> int:
    await peer.run(2, 1)
    rates = {clients: (await peer.run(clients, seconds)).rate for clients in pgbench.CLIENTS}
    return max(rates, key=rates.__getitem__)


def _compared(what: str, clients: int, case: Case, ours: Sequence[Measured], peer: Sequence[Measured]) -> list[Row]:
    # Batches of ten are below what the targets are for, and random ids are what operators are asked not to send.
    targets = (10.0, 8.0) if case.batch >= 100 and not case.random_ids else (None, None)
    name = f"pgbench, {clients} clients"
    rates = [statistics.median(run.rate for run in runs) for runs in (ours, peer)]
    costs = [statistics.median(run.server_us for run in runs) for runs in (ours, peer)]
    return [
        report.compare_rate(what, "bets/s", rates[0], rates[1], name, targets[0]),
        report.compare_costs(what, "us of server CPU/bet", costs[0], costs[1], name, targets[1]),
    ]


async def costs_by_round(found: Servers, size: Size) -> dict[int, float]:
    """Server CPU a bet in batches of 1,000, by how many bets a round has: rounds of 10 are new ones, a hundred a batch,
    and a large round has its bets before the clock starts.
    """
    case = LARGEST
    costs: dict[int, list[float]] = {bets: [] for bets in size.round_bets}
    async with house(found, 1_000) as ours:
        await ours.run(ours.bets(size.bets), case.batch, case.connections)
        large = {bets: await ours.open_rounds(1) for bets in size.round_bets if bets > case.batch}
        for bets, rounds in large.items():
            for _ in range(bets // size.bets):
                await ours.run(ours.bets(size.bets, rounds=rounds), case.batch, case.connections)
        await ours.database.owner.execute("VACUUM ANALYZE")
        for _ in range(size.runs + 1):
            for bets, seen in costs.items():
                rounds = large.get(bets) or await ours.open_rounds(size.bets // bets)
                named = [each for each in rounds for _ in range(min(bets, case.batch))]
                run = await ours.run(ours.bets(size.bets, rounds=named), case.batch, case.connections)
                seen.append(run.server_us)
        check(await ours.objections())
    # The first run of each made the plans.
    return {bets: statistics.median(seen[1:]) for bets, seen in costs.items()}


def flat_row(what: str, costs: Mapping[int, float]) -> Row:
    """Whether a cost stays within 1.3 times its least while something grows."""
    dearest, cheapest = max(costs, key=costs.__getitem__), min(costs, key=costs.__getitem__)
    what = f"cost a bet, {min(costs):,} to {max(costs):,} {what}: at {dearest:,}"
    name = f"itself at {cheapest:,}"
    return report.compare_costs(what, "us of server CPU/bet", costs[dearest], costs[cheapest], name, 1 / 1.3)


def check(*objections: Sequence[str]) -> None:
    """Exits with what is wrong in anybody's books."""
    found = [each for side in objections for each in side]
    if found:
        sys.exit("\n".join(["the books are wrong:", *found]))


if __name__ == "__main__":
    sys.exit(main())
