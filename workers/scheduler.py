"""Moves the rounds of the rooms, while it leads; at the end it gives its lease up, so that a successor need not
wait.
"""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a scheduler until `stop`."""
    scheduler = platform.scheduler()
    try:
        await runner.run("scheduler", scheduler.step, stop)
    finally:
        await scheduler.close()
