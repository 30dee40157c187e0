"""Anchors the public log on Ethereum, where that is configured."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Anchors until `stop`; without a contract in the configuration it has nothing to do."""
    if not platform.config.anchors:
        await stop.wait()
        return
    async with platform.anchorer() as anchorer:
        await runner.run("anchor", anchorer.step, stop)
