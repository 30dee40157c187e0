"""`python -m benchmarks.rounds`: whole rounds, from opening to the last credit, beside a transaction a step and round.

Takes some minutes; `--full` plays longer. Exits with 1 if a round is missing or doubled or the books do not balance, on
either side, never because a target was missed: the table says so, and the caller decides.
"""

import logging
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg
import structlog
import uvloop

from benchmarks import report, rounds_bare, servers
from benchmarks.peers import rounds_steps
from benchmarks.report import Row
from benchmarks.rounds_hall import Played, hall
from benchmarks.rounds_jitter import jitter_rows, large_row
from benchmarks.servers import Servers
from keno.cli import keep_what_is_there

METHOD = (
    "Medians of alternating runs on one PostgreSQL server, each side in a database of its own, made for the run. A "
    "round is opened under a published commitment, bet on, locked, sealed, drawn with a released seed, settled and "
    "credited. Ours: the engine, the vault, the settler and the wallet, as their workers call them, and place_bets in"
    " batches of up to 1,000, in one process on uvloop, its collector seldom, as `keno up` runs them. A thousand rooms "
    "are spread over two shards, which an engine each moves at the same time, on a connection of its own. The "
    "database clock stands still until all that is due has been done, so that rounds come as fast as they can be "
    "played, and settlement goes on beside the next round. The wallet gets "
    "its events a batch at a time, straight from the outbox: carrying them by a broker is what bench-events "
    "measures. The peer: a transaction a step and round (open, all bets of the round, lock, draw, settle, credit), on"
    " the best of 1 to 8 connections, found first, on a lean schema without immutability guards, limits of bets and a"
    " vault; its hashes come from the same Rust core. The second peer keeps our rules and moves a round a statement: "
    "the same functions for six rooms in a shard each, at the same time, a call of place_bets a round; its settler "
    "and wallet may take six together. The bare rows are those of rounds without bets with "
    "their indexes, checks and guards, 500 a statement on two connections: constants, no look-up, no event. CPU is "
    "that of the process and of the server's backends and writers. Flat: ten rooms play, among as many or a thousand "
    "that have nothing to do. Jitter: rooms of two seconds in real time whose slots are spread evenly, ten bets a "
    "round; from the slot time to the database's time of the lock; a large round has all its bets when it is locked."
)
PLAYERS = 10_000
RATE_MIN = {10: 2_000.0, 0: 20_000.0}
"""Rounds a second that must be reached, by bets a round."""
CPU_TIMES_LESS = 8.0
FLAT_TIMES = 1.3


@dataclass(frozen=True)
class Case:
    """Rooms that play in step, bets a round, how many rounds of each room are one run, and shards of the rooms."""

    rooms: int
    bets: int
    waves: int
    shards: int = 1

    @property
    def what(self) -> str:
        """The case in words."""
        return f"{self.bets:,} bets, {self.rooms:,} rooms"


CASES = (Case(1_000, 0, 4, 2), Case(10, 10, 40), Case(100, 10, 8), Case(1_000, 10, 2, 2), Case(20, 1_000, 2))
PEER_ROUNDS = {0: 400, 10: 300, 1_000: 30}
RUNS, RUNS_FULL = 3, 7
APART = "the same functions, a round a statement"
APART_ROOMS, APART_WAVES = 6, 6


async def _main(runs: int) -> int:
    async with servers.found_or_started() as found:
        admin = await asyncpg.connect(found.database_url)
        await servers.check_local(admin)
        version = admin.get_server_version()
        await admin.close()
        rows: list[Row] = []
        for case in CASES:
            rows += await case_rows(found, case, runs)
        rows.append(await bare_row(found, runs))
        rows.append(await flat_row(found, runs))
        rows += await jitter_rows(found, PLAYERS)
        rows.append(await large_row(found, PLAYERS))
    versions = {"postgresql": f"{version.major}.{version.minor}"}
    print(report.publish("rounds", METHOD, rows, packages=("asyncpg",), versions=versions))
    return 0


async def case_rows(found: Servers, case: Case, runs: int) -> list[Row]:
    """Rounds a second and processor time a round, beside the peer."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(hall(found, case.rooms, PLAYERS, shards=case.shards))
        peer = await stack.enter_async_context(rounds_steps.peer(found, PLAYERS))
        apart = await stack.enter_async_context(
            hall(found, APART_ROOMS, PLAYERS, shards=APART_ROOMS, batch=max(case.bets, 1))
        )
        count = PEER_ROUNDS[case.bets]
        await ours.play(1, case.bets, PLAYERS)
        await apart.play(1, case.bets, PLAYERS)
        rates = {each: count / (await peer.run(count, case.bets, each))[0] for each in rounds_steps.CONNECTIONS}
        connections = max(rates, key=lambda each: rates[each])
        own: list[Played] = []
        its: list[Played] = []
        one_by_one: list[Played] = []
        for _ in range(runs):
            own.append(await ours.play(case.waves, case.bets, PLAYERS))
            its.append(Played(count, *await peer.run(count, case.bets, connections)))
            one_by_one.append(await apart.play(APART_WAVES, case.bets, PLAYERS))
        _check(await ours.objections(PLAYERS) + await peer.objections() + await apart.objections(PLAYERS))
    name = f"a step a transaction, {connections} conn"
    rate, cpu = _median([each.rate for each in own]), _median([each.cpu_us for each in own])
    target = CPU_TIMES_LESS if case.bets == 10 and case.rooms >= 100 else None
    rows = [
        report.compare_rate(f"rounds, {case.what}", "rounds/s", rate, _median([each.rate for each in its]), name, None),
        report.compare_costs(
            f"CPU, {case.what}", "us/round", cpu, _median([each.cpu_us for each in its]), name, target
        ),
        report.compare_costs(
            f"CPU, {case.what}", "us/round", cpu, _median([each.cpu_us for each in one_by_one]), APART, None
        ),
    ]
    if case.rooms == 1_000:
        limit = RATE_MIN[case.bets]
        rows.append(report.compare_limit(f"rounds, {case.what}", "rounds/s", rate, limit, "design"))
    return rows


async def bare_row(found: Servers, runs: int) -> Row:
    """What a round without bets costs, beside its rows by themselves."""
    case = CASES[0]
    async with hall(found, case.rooms, PLAYERS, shards=case.shards) as ours, rounds_bare.bare(found) as rows:
        own: list[float] = []
        bare: list[float] = []
        for run in range(runs + 1):
            played, written = await ours.play(case.waves, 0, PLAYERS), await rows.play(case.waves)
            if run:
                own.append(played.cpu_us)
                bare.append(written.cpu_us)
    return report.compare_costs(f"CPU, {case.what}", "us/round", _median(own), _median(bare), "its rows, bare", None)


async def flat_row(found: Servers, runs: int) -> Row:
    """What a round costs with nothing else there, and among a thousand rooms."""
    rooms, waves = 10, 20 // (runs + 1)
    async with hall(found, rooms, PLAYERS) as few, hall(found, rooms, PLAYERS, idle_rooms=1_000 - rooms) as many:
        costs: dict[int, list[float]] = {0: [], 1: []}
        for run in range(runs + 1):
            for which, each in enumerate((few, many)):
                played = await each.play(waves, 10, PLAYERS)
                if run:
                    costs[which].append(played.cpu_us)
    of_many, of_few = _median(costs[1]), _median(costs[0])
    return report.compare_costs("CPU, 10 rooms due of 1,000", "us/round", of_many, of_few, "10 of 10", 1 / FLAT_TIMES)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _check(objections: Sequence[str]) -> None:
    if objections:
        raise SystemExit("\n".join(objections))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    keep_what_is_there()
    sys.exit(uvloop.run(_main(RUNS_FULL if "--full" in sys.argv[1:] else RUNS)))
