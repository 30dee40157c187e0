"""Makes partitions ahead of the rounds, takes old ones out, and forgets receipts."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Keeps the tables in bounds until `stop`."""
    await runner.run("storage", platform.storage().step, stop)
