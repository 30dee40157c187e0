"""Runs workers by their names, one or all of them in a process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from keno.bootstrap import Platform
from workers import notifier, relay, reporting, scheduler, settler, vault, wallet

STEPPING: dict[str, Callable[[Platform, asyncio.Event], Awaitable[None]]] = {
    "vault": vault.run,
    "scheduler": scheduler.run,
    "settler": settler.run,
    "relay": relay.run,
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
    await platform.bus.start()
    async with asyncio.TaskGroup() as group:
        for name in names:
            if name in STEPPING:
                group.create_task(_run(STEPPING[name](platform, stop), stop), name=name)
        await stop.wait()


def subscribe_all(platform: Platform) -> None:
    """Gives the platform's bus all handlers, for who starts no worker: a bus within the process replays with them."""
    for consumer in CONSUMING.values():
        consumer.subscribe(platform)


async def _run(work: Awaitable[None], stop: asyncio.Event) -> None:
    try:
        await work
    finally:
        stop.set()
