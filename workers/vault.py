"""Opens epochs, releases seeds against locks, publishes the keys of ended epochs."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs the vault until `stop`."""
    async with platform.vault() as vault:
        await runner.run("vault", vault.step, stop)
