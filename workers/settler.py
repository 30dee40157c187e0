"""Settles drawn rounds."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a settler until `stop`."""
    await runner.run("settler", platform.settler().step, stop)
