"""`python -m benchmarks.system`: the whole system under load, on one machine with its servers and the load itself.

Bets come in by HTTP to the lane in signed batches, rounds of many rooms are opened, locked, drawn and settled, wins are
credited, events pass through RabbitMQ, reports are written. The limit is a billion bets a day. Afterwards everything
must be settled and the full audit clean; the benchmark exits with 1 where it is not, never because a target was missed.

    python -m benchmarks.system [--seconds 60] [--rate 13500] [--batch 500] [--rooms 100] [--players 100000]
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random

from benchmarks import http_load, report, servers
from benchmarks.bets_house import DEPOSIT_MINOR, ordered_id
from benchmarks.floor import DRAIN_S, Floor
from benchmarks.floor import floor as floor_of
from benchmarks.processes import free_port, python, running
from benchmarks.servers import ServerCpu, Servers, process_cpu_seconds

BETS_A_SECOND = 12_000
"""More than a billion a day."""
CONNECTIONS = 8
METHOD = (
    "One lane process, one process with the gateway, the live stream and all workers, PostgreSQL, Redis, RabbitMQ and "
    "the load, all on this machine. A request is a signed batch of bets of many players on the round on sale in one "
    "room; requests are due at a fixed rate, and each is timed from when it was due. Only accepted bets count; bets "
    "that meet a round between its lock and the next one's opening are refused as they should be. The slowest window "
    "is of 10 seconds. Processor time is that of our processes and of the database's backends and writers."
)
_WINDOW_S = 10.0
_random = Random(23)


@dataclass(frozen=True)
class Size:
    """What is asked for: bets a second that are sent, bets a request."""

    seconds: float
    rate: int
    batch: int
    rooms: int
    players: int


@dataclass
class Counts:
    """What the answers said, by 10 seconds."""

    started_s: float = field(default_factory=time.perf_counter)
    accepted: dict[int, int] = field(default_factory=dict)
    refused: int = 0

    def count(self, head: bytes, body: bytes, sent: int) -> int:
        """The bets accepted in an answer. SystemExit where the whole request was refused."""
        if head[9:12] != b"200":
            raise SystemExit(f"a batch was refused: {body.decode()[:300]}")
        accepted = body.count(b'"status":201')
        window = int((time.perf_counter() - self.started_s) / _WINDOW_S)
        self.accepted[window] = self.accepted.get(window, 0) + accepted
        self.refused += sent - accepted
        return accepted


def requests(floor: Floor, port: int, size: Size) -> Iterator[bytes]:
    """Signed batches, each made when it is taken: a signature holds for a minute."""
    picks = ["[" + ",".join(map(str, _random.sample(range(1, 81), 1 + n % 10))) + "]" for n in range(1_000)]
    for n in range(int(size.seconds * size.rate / size.batch)):
        room = floor.rooms[n % len(floor.rooms)]
        bets = ",".join(
            f'{{"transaction_id":"{ordered_id()}","player":"{_random.randint(1, floor.players)}","room":"{room}",'
            f'"picks":{_random.choice(picks)},"stake_minor":{100 * _random.randint(1, 100)},"currency":"EUR"}}'
            for _ in range(size.batch)
        )
        yield http_load.signed(port, floor.key_id, floor.secret, "/v1/bets/batch", f'{{"bets":[{bets}]}}'.encode())


async def _run(found: Servers, size: Size) -> tuple[list[report.Row], list[str]]:
    async with floor_of(found, rooms=size.rooms, players=size.players) as floor, AsyncExitStack() as stack:
        lane_port, port, live_port = free_port(), free_port(), free_port()
        shared = floor.environment | {"KENO_PUBLIC_ORIGINS": f"http://127.0.0.1:{lane_port}"}
        of_lane = shared | {"KENO_LANE_PORT": str(lane_port)}
        of_rest = shared | {"KENO_PORT": str(port), "KENO_LIVE_PORT": str(live_port)}
        lane = await stack.enter_async_context(running(python("keno", "run", "lane"), lane_port, of_lane))
        rest = await stack.enter_async_context(running(python("keno", "up"), port, of_rest))
        await floor.rooms_sell()
        pids, counts = {"lane": lane.pid, "workers": rest.pid, "the load": os.getpid()}, Counts()
        before = {name: process_cpu_seconds(pid) for name, pid in pids.items()}
        async with ServerCpu(floor.database.owner) as cpu:
            load = await http_load.run(
                lane_port,
                requests(floor, lane_port, size),
                lambda head, body: counts.count(head, body, size.batch),
                connections=CONNECTIONS,
                rate=size.rate / size.batch,
                timeout_s=size.seconds + DRAIN_S,
            )
        spent = {name: process_cpu_seconds(pid) - before[name] for name, pid in pids.items()}
        spent["PostgreSQL"] = cpu.seconds
        drained_s = await floor.drained()
        objections = await _objections(floor, load.accepted)
        rounds = await floor.database.owner.fetchval("SELECT count(*) FROM rounds WHERE phase = 'settled'")
    full = [counts.accepted[window] for window in sorted(counts.accepted)[:-1]] or [load.accepted]
    slowest = min(full) / (_WINDOW_S if len(counts.accepted) > 1 else load.seconds)
    table = [
        report.compare_limit("accepted bets", "bets/s", load.accepted / load.seconds, BETS_A_SECOND, "a billion a day"),
        report.compare_limit("accepted bets, slowest 10 s", "bets/s", slowest, BETS_A_SECOND, "a billion a day"),
    ]
    us = {name: seconds / load.accepted * 1e6 for name, seconds in spent.items()}
    print(f"{load.accepted} bets in {load.seconds:.0f} s, {counts.refused} refused between rounds; {rounds} settled")
    print(f"a batch of {size.batch}: p50 {load.percentile_ms(0.5):.0f} ms, p99 {load.percentile_ms(0.99):.0f} ms")
    print("us of CPU a bet: " + ", ".join(f"{name} {each:.1f}" for name, each in us.items()))
    print(f"settled, credited and told {drained_s:.1f} s after the last bet; audit {'NOT ' if objections else ''}clean")
    return table, objections


async def _objections(floor: Floor, acknowledged: int) -> list[str]:
    found = []
    stored = await floor.database.owner.fetchval("SELECT count(*) FROM bets")
    if stored != acknowledged:
        found.append(f"{stored} bets are stored, {acknowledged} were acknowledged")
    balances, staked, won = await floor.database.owner.fetchrow(
        """
        SELECT (SELECT sum(balance_minor)::bigint FROM accounts WHERE kind = 'player'),
            (SELECT coalesce(sum(stake_minor), 0)::bigint FROM bets),
            (SELECT coalesce(sum(payout_minor), 0)::bigint FROM payouts)
        """
    )
    if balances != floor.players * DEPOSIT_MINOR - staked + won:
        found.append("balances are not deposits less stakes and with wins")
    audit = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "keno",
        "audit",
        "--full",
        env=os.environ | floor.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await audit.communicate()
    if audit.returncode != 0:
        found.append(told.decode())
    return found


async def _main() -> int:
    parser = argparse.ArgumentParser(description="The whole system under load.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=13_500, help="bets a second that are sent")
    parser.add_argument("--batch", type=int, default=500, help="bets a request")
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--players", type=int, default=100_000)
    size = Size(**vars(parser.parse_args()))
    async with servers.found_or_started() as found:
        rows, objections = await _run(found, size)
    report.publish("system", METHOD, rows, ("asyncpg", "granian", "litestar", "aio-pika", "redis"))
    for objection in objections:
        print(objection, file=sys.stderr)
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
