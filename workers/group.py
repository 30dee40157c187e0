"""Runs workers by their names, one or all of them in a process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from keno.bootstrap import Platform
from keno.infra.bus import Bus
from workers import (
    anchor,
    beacons,
    health,
    log,
    notifier,
    relay,
    reporting,
    runner,
    scheduler,
    settler,
    storage,
    vault,
    wallet,
)

STEPPING: dict[str, Callable[[Platform, asyncio.Event], Awaitable[None]]] = {
    "vault": vault.run,
    "scheduler": scheduler.run,
    "settler": settler.run,
    "relay": relay.run,
    "storage": storage.run,
    "log": log.run,
    "beacons": beacons.run,
    "anchor": anchor.run,
}
"""Workers that look for work themselves."""

CONSUMING = {"wallet": wallet, "reporting": reporting, "notifier": notifier}
"""Workers to which the bus brings their work."""

WORKERS = (*STEPPING, *CONSUMING)


async def run_workers(platform: Platform, names: Sequence[str], stop: asyncio.Event) -> None:
    """Runs the workers until `stop`. One that fails for good ends the others, and its error is raised."""
    for name, consumer in CONSUMING.items():
        if name in names:
            consumer.subscribe(platform)
        else:
            # It runs elsewhere, and must miss nothing even if it has never run.
            platform.bus.declare(consumer.CONSUMER, consumer.ROUTING_KEYS)
    with health.serving_if_asked(platform.config):
        async with asyncio.TaskGroup() as group:
            # Beside the others: without a broker rounds go on, and their events wait in the outbox.
            opened = asyncio.Event()
            group.create_task(_run(_open_bus(platform.bus, opened, stop), stop), name="bus")
            for name in names:
                if name in STEPPING:
                    work = STEPPING[name](platform, stop)
                    group.create_task(_run(_after(opened, work) if name == "relay" else work, stop), name=name)
            await stop.wait()


def subscribe_all(platform: Platform) -> None:
    """Gives the platform's bus all handlers, for who starts no worker: a bus within the process replays with them."""
    for consumer in CONSUMING.values():
        consumer.subscribe(platform)


async def _open_bus(bus: Bus, opened: asyncio.Event, stop: asyncio.Event) -> None:
    async def step() -> float:
        await bus.start()
        opened.set()
        await stop.wait()
        return 0

    try:
        await runner.run("bus", step, stop)
    finally:
        opened.set()


async def _after(event: asyncio.Event, work: Awaitable[None]) -> None:
    await event.wait()
    await work


async def _run(work: Awaitable[None], stop: asyncio.Event) -> None:
    try:
        await work
    finally:
        stop.set()
