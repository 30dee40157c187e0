"""`python -m benchmarks.fairness`: the hashes of whole rounds, and what the bets of a large round add to its lock.

Needs cargo. PostgreSQL is that of benchmarks.servers. A round of 10^6 bets; `--quick` takes 10^5. Exits with 1 if an
outcome differs, never because a target was missed.
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import asyncpg

from benchmarks import report
from benchmarks.peers import core_python
from benchmarks.report import Row
from benchmarks.servers import found_or_started
from benchmarks.settlement_case import Case, open_case
from keno.infra.postgres import create_pool
from keno.rounds.lock_trees import LockTrees, Tree

METHOD = (
    "Whole rounds: every hash of a round of profile B once, from an epoch key to the result, with its share of an "
    "epoch of 256: processor time of a process that computes 2,048,000 rounds, its start included, beside CPython's "
    "hashlib and hmac computing the same; medians of alternating runs, last results compared. The lock: wall time of "
    "what the engine's tick waits for before it seals a round whose bets it has followed while the round was open, "
    "median of 5, beside a round that it first sees locked; no bet came in the last moment before the lock. Roots are "
    "compared."
)
EPOCHS, PEER_EPOCHS, EPOCH_ROUNDS = 8_000, 40, 256
ROUNDS_A_SECOND = 500_000
LOCK_MAX_MS = 50
ROOT = Path(__file__).parents[1]
REOPEN = """
    UPDATE rounds SET phase = 'open', locked_ms = NULL, bets_count = NULL, bets_root = NULL, beacon_round = NULL,
        prev_lock = NULL, lock_hash = NULL, drawn_ms = NULL, seed = NULL, numbers = NULL, result = NULL WHERE id = $1
"""


async def main() -> int:
    size = 100_000 if "--quick" in sys.argv[1:] else 1_000_000
    async with found_or_started() as servers, open_case(servers, [size]) as case:
        rows = round_rows() + await lock_rows(case)
    print(report.publish("fairness", METHOD, rows, packages=("asyncpg",)))
    return 0


def round_rows() -> list[Row]:
    build = ["cargo", "build", "--quiet", "--release", "--locked", "--example", "whole_rounds"]
    subprocess.run(build, cwd=ROOT, check=True)  # noqa: S603
    if rust(PEER_EPOCHS)[1] != core_python.whole_rounds(PEER_EPOCHS).hex():
        sys.exit("whole rounds: the outcome differs from the peer's")
    ours, python = [], []
    for _ in range(5):
        ours.append(rust(EPOCHS)[0] / EPOCHS / EPOCH_ROUNDS)
        started = time.thread_time()
        core_python.whole_rounds(PEER_EPOCHS)
        python.append((time.thread_time() - started) / PEER_EPOCHS / EPOCH_ROUNDS)
    ours_s, python_s = statistics.median(ours), statistics.median(python)
    what = "all hashes of a whole round, in Rust"
    return [
        report.compare_limit(what, "rounds/s a core", 1 / ours_s, ROUNDS_A_SECOND, "the target"),
        report.compare_costs(what, "us", ours_s * 1e6, python_s * 1e6, "CPython standard library", None),
    ]


def rust(epochs: int) -> tuple[float, str]:
    """Seconds of processor time, and what was printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(ROOT / "target" / "release" / "examples" / "whole_rounds"), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout.strip()


async def lock_rows(case: Case) -> list[Row]:
    """What the bets of the case's only round add to its lock. SystemExit where a root differs."""
    round_id, size = case.rounds[0].id, case.rounds[0].bets
    async with await create_pool(case.url, connections_min=3, connections_max=3) as pool:
        async with case.owner.transaction():
            await case.owner.execute("SET LOCAL session_replication_role = replica")
            await case.owner.execute(REOPEN, round_id)
        trees = LockTrees(pool, bytes(32))
        trees.follow(0)
        while trees.followed.get(round_id) != size:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.1)
        ours = []
        for _ in range(5):
            seconds, tree = await lock(trees, pool, round_id)
            ours.append(seconds)
        await trees.close()
        unseen = LockTrees(pool, bytes(32))
        whole_s, expected = await lock(unseen, pool, round_id)
        if tree != expected or tree.bets_count != size:
            sys.exit("the lock: the root of a followed round differs from that of one that was not")
    ours_ms, what = statistics.median(ours) * 1e3, f"what {size:,} bets add to a lock"
    return [
        report.compare_costs(what, "ms", ours_ms, LOCK_MAX_MS, "the limit", 1.0),
        report.compare_costs(what, "ms", ours_ms, whole_s * 1e3, "read when locked", None),
    ]


async def lock(trees: LockTrees, pool: asyncpg.Pool, round_id: int) -> tuple[float, Tree]:
    """Seconds until the tree is there, as ticks ask for it."""
    started = time.perf_counter()
    async with pool.acquire() as conn:
        while not (found := await trees.of_locked(conn, [round_id])):  # noqa: ASYNC110 - as ticks do
            await asyncio.sleep(0.02)
    return time.perf_counter() - started, found[round_id]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
