"""Everything in one process: the gateway and all workers, for a laptop, the demo and small installations."""

import asyncio
from typing import Final

from gateway.app import create_app, create_lane
from gateway.server import serve
from keno.bootstrap import Platform
from workers.group import WORKERS, run_workers

_LANE_PORT: Final = 8081


async def run_all(platform: Platform, stop: asyncio.Event) -> None:
    """Serves until `stop`; whichever part fails for good ends the others, and its error is raised."""
    async with asyncio.TaskGroup() as group:
        group.create_task(run_gateway(platform, stop), name="gateway")
        if platform.config.lane_port is not None:
            group.create_task(run_lane(platform, stop), name="lane")
        group.create_task(run_workers(platform, WORKERS, stop), name="workers")


async def run_gateway(platform: Platform, stop: asyncio.Event) -> None:
    """Serves the gateway until `stop`."""
    try:
        await serve(create_app(platform), platform.config.host, platform.config.port, stop)
    finally:
        stop.set()


async def run_lane(platform: Platform, stop: asyncio.Event) -> None:
    """Serves the bet lane until `stop`."""
    try:
        await serve(create_lane(platform), platform.config.host, platform.config.lane_port or _LANE_PORT, stop)
    finally:
        stop.set()
