"""Runs workers by their names, one or all of them in a process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from keno.bootstrap import Platform
from workers import relay, reporting, scheduler, settler, vault, wallet

Run = Callable[[Platform, asyncio.Event], Awaitable[None]]

WORKERS: dict[str, Run] = {
    "vault": vault.run,
    "scheduler": scheduler.run,
    "settler": settler.run,
    "relay": relay.run,
    "wallet": wallet.run,
    "reporting": reporting.run,
}

_SUBSCRIPTIONS: dict[str, Callable[[Platform], None]] = {"wallet": wallet.subscribe, "reporting": reporting.subscribe}


async def run_workers(platform: Platform, names: Sequence[str], stop: asyncio.Event) -> None:
    """Runs the workers until `stop`. One that fails for good ends the others, and its error is raised."""
    for name in names:
        if name in _SUBSCRIPTIONS:
            _SUBSCRIPTIONS[name](platform)
    await platform.bus.start()
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(_run(WORKERS[name](platform, stop), stop), name=name)


async def _run(work: Awaitable[None], stop: asyncio.Event) -> None:
    try:
        await work
    finally:
        stop.set()
