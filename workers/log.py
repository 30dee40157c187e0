"""Puts epochs, locks, results and voids into the public log."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs the log until `stop`."""
    await runner.run("log", platform.log_sequencer().step, stop)
