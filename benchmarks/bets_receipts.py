"""What receipts cost acceptance: the service with them beside itself without, in one process and on one database.

`python -m benchmarks.bets_receipts` measures this alone; `make bench-bets` has it among its rows.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import msgspec

from benchmarks import report, servers
from benchmarks.bets_house import House, house
from benchmarks.report import Row
from benchmarks.servers import ServerCpu, Servers
from gateway.answers import json_answer
from gateway.placing import receipt_of
from keno.bets import store
from keno.bets.service import BetService, Placed
from keno.fairness.receipts import Proof, ReceiptKey

METHOD = (
    "Receipts: keno.bets.service in one process, from the call of place_bets to the JSON of the receipts, with the"
    " signature and paths beside the same without (leaf and leaf hash alone), in turn. CPU is that of the process and,"
    " for both sides the median of all runs, that of the database, which does the same for either."
)
BATCHES = (1_000, 100, 10)
_PLAYERS = 1_000
_NAME = "itself without"
_RATIO_MIN = 0.95
_WARMING = 3
"""So many turns are left out: a process takes that long until its heap has grown to what a batch needs."""


@dataclass(frozen=True)
class Run:
    """Seconds of a bet: of the wall, of this process, and of the database."""

    wall_s: float
    own_s: float
    server_s: float


class Unsigned(msgspec.Struct, gc=False):
    """A receipt as it would be without a signature."""

    leaf: str
    leaf_hash: str


class UnsignedService(BetService):
    """The peer: accepts in the same way and signs nothing."""

    def _proofs(self, rows: Sequence[store.PlacedRow], hashes: Sequence[bytes]) -> list[Proof]:
        return [Proof("", msgspec.Raw(), None)] * len(rows)


def _signed_answer(placed: Sequence[Placed]) -> bytes:
    return json_answer(
        [
            receipt_of(each.receipt.leaf, each.receipt.leaf_hash, each.proof)
            for each in placed
            if each.receipt is not None and each.proof is not None
        ]
    ).body


def _unsigned_answer(placed: Sequence[Placed]) -> bytes:
    return json_answer(
        [Unsigned(each.receipt.leaf.hex(), each.receipt.leaf_hash.hex()) for each in placed if each.receipt is not None]
    ).body


async def rows(found: Servers, bets: int, runs: int) -> list[Row]:
    """Bets a second and CPU a bet of each size of batch, `bets` a run of the largest."""
    made = []
    async with house(found, _PLAYERS) as ours:
        key = ReceiptKey(bytes(32))
        sides = {True: BetService(ours.pool, bytes(32), key), False: UnsignedService(ours.pool, bytes(32), key)}
        for batch in BATCHES:
            count = max(bets * batch // BATCHES[0], 1_000)
            seen: dict[bool, list[Run]] = {True: [], False: []}
            for turn in range(runs + _WARMING):
                for signed in (True, False) if turn % 2 else (False, True):
                    seen[signed].append(await _run(ours, sides[signed], count, batch, signed=signed))
            # As for acceptance, batches of ten are below what the target is for.
            target = _RATIO_MIN if batch >= 100 else None
            made += _compared(f"receipts, {batch:,} a batch", seen[True][_WARMING:], seen[False][_WARMING:], target)
        for side in sides.values():
            await side.close()
    return made


async def _run(ours: House, service: BetService, count: int, batch: int, *, signed: bool) -> Run:
    bets = ours.bets(count)
    answer = _signed_answer if signed else _unsigned_answer
    async with ServerCpu(ours.database.owner) as cpu:
        started, own = time.perf_counter(), time.process_time()
        for at in range(0, count, batch):
            placed = await service._place_batch(bets[at : at + batch])
            answer(placed)
        wall_s, own_s = time.perf_counter() - started, time.process_time() - own
    ours.acknowledged += count
    return Run(wall_s / count, own_s / count, cpu.seconds / count)


def _compared(what: str, signed: Sequence[Run], unsigned: Sequence[Run], target: float | None) -> list[Row]:
    rate, rate_without = (1 / statistics.median(run.wall_s for run in runs) for runs in (signed, unsigned))
    server_s = statistics.median(run.server_s for run in (*signed, *unsigned))
    us, us_without = ((statistics.median(run.own_s for run in runs) + server_s) * 1e6 for runs in (signed, unsigned))
    return [
        report.compare_rate(what, "bets/s", rate, rate_without, _NAME, None),
        report.compare_costs(what, "us of CPU/bet, client and server", us, us_without, _NAME, target),
    ]


async def _main() -> None:
    async with servers.found_or_started() as found:
        admin = await asyncpg.connect(found.database_url)
        await servers.check_local(admin)
        await admin.close()
        print(report.publish("bets-receipts", METHOD, await rows(found, 20_000, 7)))


if __name__ == "__main__":
    asyncio.run(_main())
