"""Three schedulers, and their leaders killed, paused and cut off: each slot has its round, and is drawn once.

KENO_CHAOS_KILLS says how many faults; `make chaos-leaders` asks for many, `make test` for one of each kind.
KENO_CHAOS_SEED chooses them. How long shards had no leader is printed, and kept in benchmarks/results/.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from operator import itemgetter
from pathlib import Path
from uuid import UUID

import asyncpg
from support.leaders import FAULTS, SCHEDULERS, Arena, chosen_faults, opened_arena

from keno import verifier

KILLS = int(os.environ.get("KENO_CHAOS_KILLS") or len(FAULTS))
SEED = int(os.environ.get("KENO_CHAOS_SEED", "2026"))
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
SETTLING_S = 8.0
SLOWEST = 8


async def check_slots(owner: asyncpg.Connection) -> dict[str, int]:
    """Every slot up to now has one row, which was opened, locked and drawn no more than once; counts by phase.

    To be called in a transaction of one snapshot: rounds go on meanwhile.
    """
    assert await owner.fetch("SELECT * FROM stale_writes") == [], "nobody writes who does not lead"
    rooms = await owner.fetch("SELECT id, slot_epoch_ms, period_ms, lock_lead_ms, now_ms() AS now_ms FROM rooms")
    for room in rooms:
        rows = await owner.fetch("SELECT * FROM rounds WHERE room_id = $1 ORDER BY number", room["id"])
        on_sale = (room["now_ms"] + room["lock_lead_ms"] - room["slot_epoch_ms"]) // room["period_ms"] + 1
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
        assert 0 <= on_sale - len(rows) <= 1, "the last slots are not forgotten either"
        check_chain(room["id"], rows)
    told = await owner.fetch(
        """
        SELECT payload->>'room' AS room, payload->>'number' AS number, routing_key, count(*) FROM outbox
        WHERE routing_key LIKE 'round.%' GROUP BY 1, 2, 3 HAVING count(*) > 1
        """
    )
    assert told == [], "no phase is told twice"
    return dict(await owner.fetch("SELECT phase, count(*) FROM rounds GROUP BY phase"))


def check_chain(room_id: UUID, rows: list[asyncpg.Record]) -> None:
    """Each lock names the one before it, and each draw follows from its seed, by the auditors' own code."""
    previous = bytes(32)
    for row in rows:
        if row["lock_hash"] is None:
            assert row["phase"] in ("open", "locked", "skipped")
            continue
        context = room_id.bytes + row["number"].to_bytes(8, "big")
        numbers = [row["bets_count"], row["locked_ms"], row["beacon_round"]]
        lock = verifier.sha256(
            b"keno1:lock",
            context,
            row["commit_hash"],
            row["rules_hash"],
            row["bets_root"],
            *(each.to_bytes(8, "big") for each in numbers),
            previous,
        )
        assert (row["prev_lock"], row["lock_hash"]) == (previous, lock)
        previous = lock
        if row["numbers"] is not None:
            assert verifier.sha256(b"keno1:commit", context, row["seed"]) == row["commit_hash"]
            x = verifier.sha256(b"keno1:pre", context, row["commit_hash"], bytes(8))
            assert list(row["numbers"]) == verifier.draw(row["seed"], x, bytes(32))


def percentile(values: list[float], percent: int) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]


async def report(arena: Arena, began_s: float, phases: dict[str, int]) -> str:
    failovers = await arena.failovers()
    groups: dict[str, list[float]] = {}
    for seconds, orphan, outage in failovers:
        for name in ("PostgreSQL down meanwhile",) if outage else (orphan.fault, "all but hand-overs"):
            if orphan.fault != "hand-over" or name != "all but hand-overs":
                groups.setdefault(name, []).append(seconds)
    slowest = sorted(((seconds, orphan) for seconds, orphan, outage in failovers if not outage), key=itemgetter(0))
    found = {
        "seed": SEED,
        "seconds": round(time.monotonic() - began_s),
        "faults": dict(Counter(arena.faults)),
        "rounds": phases,
        "seconds_without_leader": {
            name: {"count": len(times)}
            | {f"p{percent}": round(percentile(times, percent), 2) for percent in (50, 99, 100)}
            for name, times in sorted(groups.items())
        },
        "slowest": [
            f"{seconds:.2f} s: {orphan.fault}, after {', '.join(orphan.after)}"
            for seconds, orphan in slowest[-SLOWEST:]
        ],
    }
    text = json.dumps(found, indent=2)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"chaos-leaders-{KILLS}-{SEED}.json").write_text(f"{text}\n")
    return text


async def test_no_slot_is_drawn_twice_or_lost_whatever_happens_to_its_leader() -> None:
    began_s = time.monotonic()
    async with opened_arena(SEED) as arena:
        for name in chosen_faults(arena.taste, KILLS):
            await asyncio.sleep(arena.taste.uniform(0.2, 1.5))
            await FAULTS[name][1](arena)
            arena.faults.append(name)
            if len(arena.faults) % 20 == 0:
                print(f"{len(arena.faults)} faults in {time.monotonic() - began_s:.0f} s")  # noqa: T201 - a long run
        await arena.finish()
        await asyncio.sleep(SETTLING_S)
        async with arena.owner() as owner, owner.transaction(isolation="repeatable_read"):
            phases = await check_slots(owner)
        print(await report(arena, began_s, phases))  # noqa: T201


async def test_a_rolling_restart_skips_no_slot() -> None:
    async with opened_arena(SEED) as arena:
        await asyncio.sleep(3)
        async with arena.owner() as owner:
            skipped_before = await owner.fetchval("SELECT count(*) FROM rounds WHERE phase = 'skipped'")
        for scheduler in SCHEDULERS:
            assert await asyncio.to_thread(arena.end, scheduler, signal.SIGTERM) == 0
            arena.start(scheduler)
            await arena.until_ready(scheduler)
        await asyncio.sleep(3)
        async with arena.owner() as owner, owner.transaction(isolation="repeatable_read"):
            phases = await check_slots(owner)
        assert phases.get("skipped", 0) == skipped_before
