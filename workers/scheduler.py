"""Moves the rounds of the rooms whose shards it leads, each shard in a task of its own.

At the end it finishes the ticks under way and gives its leases up, so that a successor need not wait.
"""

import asyncio
from functools import partial

from keno.bootstrap import Platform
from keno.rounds.leadership import Lease
from keno.rounds.scheduler import Scheduler
from workers import health, runner

# A lease lasts 3 s: who waits longer after a failure has slept through its end.
_PAUSE_MAX_S = 0.5


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a scheduler until `stop`."""
    async with platform.scheduler(stop) as scheduler, asyncio.TaskGroup() as group:
        waking = group.create_task(_wake_at(stop, scheduler))
        working: set[Lease] = set()

        async def step() -> float:
            for lease in await scheduler.call_roll():
                if lease not in working:
                    working.add(lease)
                    group.create_task(work(lease))
            await scheduler.rest()
            return 0

        async def work(lease: Lease) -> None:
            name = f"scheduler of shard {lease.shard}"
            await runner.run(name, partial(scheduler.step, lease), lease.over, _PAUSE_MAX_S)
            await scheduler.release(lease)
            working.remove(lease)

        with health.check("scheduler", lambda: scheduler.leadership.current):
            await runner.run("scheduler", step, stop, _PAUSE_MAX_S)
        await waking
        await scheduler.leadership.start_to_leave()


async def _wake_at(stop: asyncio.Event, scheduler: Scheduler) -> None:
    await stop.wait()
    scheduler.wake()
