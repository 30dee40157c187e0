"""Carries events from the outbox to the bus, and forgets those that were sent long ago."""

import asyncio

from keno.bootstrap import Platform
from workers import runner

_IDLE_S = 0.05
_FORGET_EVERY_S = 10.0


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a relay until `stop`."""
    relay = platform.relay()
    now_s = asyncio.get_running_loop().time
    forget_at_s = now_s()

    async def step() -> float:
        nonlocal forget_at_s
        sent = await relay.step()
        if now_s() >= forget_at_s and not await relay.forget():
            forget_at_s = now_s() + _FORGET_EVERY_S
        return 0 if sent else _IDLE_S

    await runner.run("relay", step, stop)
