"""The bet lane in the process of a test: bets go to it, everything else to the gateway's routes, as behind a proxy."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from gateway.lane.app import Lane
from gateway.lane.http1 import Connection
from gateway.placing import BATCH, BET


class Wire(asyncio.Transport):
    """A transport without a socket, whose other end reads at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = b""
        self.wrote = asyncio.Event()
        self.closed = self.paused = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data
        self.wrote.set()

    def write_eof(self) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


class LaneTransport(httpx.AsyncBaseTransport):
    """Sends POSTs of bets to the lane, a connection each, and the rest by another transport."""

    def __init__(self, lane: Lane, others: httpx.AsyncBaseTransport) -> None:
        self._lane = lane
        self._others = others

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST" or request.url.path not in (BET.path, BATCH.path):
            return await self._others.handle_async_request(request)
        wire = Wire()
        connection = Connection(self._lane, set(), 1)
        connection.connection_made(wire)
        connection.data_received(await _written(request))
        await wire.wrote.wait()
        connection.connection_lost(None)
        head, _, body = wire.written.partition(b"\r\n\r\n")
        status, *fields = head.split(b"\r\n")
        headers = [(name, value) for name, _, value in (field.partition(b": ") for field in fields)]
        return httpx.Response(int(status.split()[1]), headers=headers, content=body)


async def _written(request: httpx.Request) -> bytes:
    """The request as it goes over a wire, with a length where it had chunks."""
    body = await request.aread()
    fields = [(name, value) for name, value in request.headers.raw if name.lower() != b"transfer-encoding"]
    if "content-length" not in request.headers:
        fields.append((b"Content-Length", b"%d" % len(body)))
    lines = [b"POST %b HTTP/1.1" % request.url.raw_path, *(b"%b: %b" % field for field in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
