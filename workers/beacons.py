"""Fetches the beacons that rounds wait for."""

import asyncio

from keno.bootstrap import Platform
from workers import runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs a keeper of beacons until `stop`."""
    async with platform.beacon_keeper() as keeper:
        await runner.run("beacons", keeper.step, stop)
