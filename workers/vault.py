"""Releases seeds against locks; beside that opens epochs and publishes the keys of ended ones."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs the vault until `stop`."""
    async with platform.vault(stop) as vault, asyncio.TaskGroup() as group:
        group.create_task(runner.run("vault", vault.release, stop))
        group.create_task(runner.run("vault's epochs", vault.keep_epochs, stop))
