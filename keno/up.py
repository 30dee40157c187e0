"""Everything in one process, for a laptop, the demo and small installations: gateway, live stream and workers."""

import asyncio

from gateway.app import create_app, create_lane
from gateway.beacon import serve_beacon
from gateway.lane.server import serve_lane
from gateway.live.server import serve_live
from gateway.server import serve
from keno.bootstrap import Platform
from workers.group import WORKERS, run_workers


async def run_all(platform: Platform, stop: asyncio.Event) -> None:
    """Serves until `stop`; whichever part fails for good ends the others, and its error is raised."""
    async with asyncio.TaskGroup() as group:
        group.create_task(run_gateway(platform, stop), name="gateway")
        group.create_task(run_live(platform, stop), name="live")
        if platform.config.lane_port is not None:
            group.create_task(run_lane(platform, stop), name="lane")
        if platform.config.beacon == "local":
            group.create_task(run_beacon(platform, stop), name="local beacon")
        group.create_task(run_workers(platform, WORKERS, stop), name="workers")


async def run_gateway(platform: Platform, stop: asyncio.Event) -> None:
    """Serves the gateway until `stop`."""
    try:
        await serve(create_app(platform), platform.config.host, platform.config.port, stop)
    finally:
        stop.set()


async def run_live(platform: Platform, stop: asyncio.Event) -> None:
    """Serves the live stream until `stop`."""
    try:
        await serve_live(platform, stop)
    finally:
        stop.set()


async def run_lane(platform: Platform, stop: asyncio.Event) -> None:
    """Serves the bet lane until `stop`."""
    config = platform.config
    try:
        await serve_lane(create_lane(platform), config.host, config.lane_port or config.port + 2, stop)
    finally:
        stop.set()


async def run_beacon(platform: Platform, stop: asyncio.Event) -> None:
    """Serves the local beacon, which is not public, until `stop`."""
    try:
        await serve_beacon(platform.local_beacon, platform.config.host, platform.config.beacon_port, stop)
    finally:
        stop.set()
