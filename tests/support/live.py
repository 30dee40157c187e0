"""Live processes beside a gateway, clients of the stock `websockets` library, and events that flow to them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.live.server import serve_live
from keno.bootstrap import Platform
from support.gateway import Gateway
from support.ports import free_port
from workers.group import subscribe_all

PATIENCE_S = 20
HOST = "127.0.0.1"


@dataclass
class Live:
    """A live process: where it is, and how to stop it."""

    url: str
    port: int
    stop: asyncio.Event
    serving: asyncio.Task[None]


@asynccontextmanager
async def open_live(platform: Platform, port: int | None = None, **limits: int) -> AsyncIterator[Live]:
    """The live stream of a platform on a port of its own, or on this one."""
    port, stop = port or free_port(), asyncio.Event()
    configured = replace(platform, config=replace(platform.config, live_port=port, **limits))
    serving = asyncio.create_task(serve_live(configured, stop))
    while not serving.done():
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            break
        except OSError:
            await asyncio.sleep(0.02)
    try:
        yield Live(f"ws://{HOST}:{port}/v1/live", port, stop, serving)
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def flowing(gateway: Gateway) -> AsyncIterator[None]:
    """Events go from the outbox to all consumers meanwhile."""
    subscribe_all(gateway.platform)
    relay, stop = gateway.platform.relay(), asyncio.Event()

    async def run() -> None:
        while not stop.is_set():
            if not await relay.step():
                await asyncio.sleep(0.02)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        stop.set()
        await running


class Client:
    """A client of the stream, which checks of every frame that it is the next of its channel."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.last: dict[str, int] = {}
        self.seen: list[dict[str, Any]] = []

    async def send(self, kind: str, **members: Any) -> None:
        await self.socket.send(json.dumps({"type": kind} | members))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        channel = frame.get("channel")
        if channel is not None:
            if channel in self.last and frame["type"] != "snapshot":
                assert frame["seq"] == self.last[channel] + 1, frame
            self.last[channel] = frame["seq"]
        self.seen.append(frame)
        return frame

    async def until(self, kind: str, **members: Any) -> dict[str, Any]:
        """The next frame of this type, and with these members; what comes before it is in `seen`."""
        while True:
            frame = await self.next()
            if frame["type"] == kind and all(frame.get(name) == value for name, value in members.items()):
                return frame

    async def ask(self, kind: str, **members: Any) -> dict[str, Any]:
        """The frame that answers a request."""
        request_id = f"r{len(self.seen)}"
        await self.send(kind, id=request_id, **members)
        while True:
            frame = await self.next()
            if frame.get("id") == request_id:
                return frame

    async def closed(self) -> tuple[int | None, str | None]:
        """The code and reason with which the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code, self.socket.close_reason


@asynccontextmanager
async def connected(live: Live, **first: Any) -> AsyncIterator[Client]:
    """A client; with `token` or `ticket` it is let in as a player, with `spectate` as nobody."""
    origin, headers = first.pop("origin", None), first.pop("headers", None)
    async with connect(
        live.url, origin=origin, additional_headers=headers, max_size=None, ping_interval=None
    ) as opened:
        client = Client(opened)
        if first.pop("spectate", False):
            assert (await client.ask("spectate"))["type"] == "welcome"
        elif first:
            assert (await client.ask("authenticate", **first))["type"] == "welcome"
        yield client


def room_channel(room: UUID) -> str:
    return f"room:{room}"
