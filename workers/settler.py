"""Settles drawn rounds: the chunks of large ones beside the small ones, which then need not wait for them."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a settler until `stop`."""
    settler = platform.settler()
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.run("settler", settler.settle_small_rounds, stop))
        group.create_task(runner.run("settler of large rounds", settler.settle_chunk, stop))
