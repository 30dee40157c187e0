"""Servers of the gateway and the lane behind real sockets, within the process of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from litestar import Litestar

from gateway.lane.app import Lane
from gateway.lane.server import serve_lane
from gateway.server import serve

HOST = "127.0.0.1"


@asynccontextmanager
async def served(app: Litestar | Lane, port: int) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Event]]:
    """A client of the server, which is up, and how to stop it."""
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve_lane(app, HOST, port, stop) if isinstance(app, Lane) else serve(app, HOST, port, stop)
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
            while not serving.done():
                try:
                    await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
            yield client, stop
    finally:
        stop.set()
        await serving
