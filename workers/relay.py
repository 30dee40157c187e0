"""Carries events from the outbox to the bus."""

import asyncio

from keno.bootstrap import Platform
from workers import runner

_IDLE_S = 0.05


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a relay until `stop`."""
    relay = platform.relay()

    async def step() -> float:
        return 0 if await relay.step() else _IDLE_S

    await runner.run("relay", step, stop)
