"""The bet lane in the process of a test: bets go to it, everything else to the gateway's routes, as behind a proxy."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httpx

from gateway.lane.app import Lane
from gateway.placing import BATCH, BET


class LaneTransport(httpx.AsyncBaseTransport):
    """Sends POSTs of bets to the lane, by the calls of RSGI, and the rest by another transport."""

    def __init__(self, lane: Lane, others: httpx.AsyncBaseTransport) -> None:
        self._lane = lane
        self._others = others

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST" or request.url.path not in (BET.path, BATCH.path):
            return await self._others.handle_async_request(request)
        protocol = _Protocol(await request.aread())
        await self._lane.__rsgi__(_Scope(request), protocol)  # type: ignore[arg-type]
        return protocol.response


class _Headers:
    def __init__(self, headers: httpx.Headers) -> None:
        # What is not ASCII is left out, as granian does.
        self._pairs = [(name.decode().lower(), value.decode()) for name, value in headers.raw if value.isascii()]

    def get(self, name: str) -> str | None:
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> list[str]:
        return [value for known, value in self._pairs if known == name]


class _Scope:
    def __init__(self, request: httpx.Request) -> None:
        path, _, query = request.url.raw_path.decode().partition("?")
        self.method = request.method
        self.path = unquote(path)
        self.query_string = query
        self.client = "127.0.0.1:1"
        self.headers = _Headers(request.headers)


class _Protocol:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._pieces = iter([body])
        self.response: Any = None

    async def __call__(self) -> bytes:
        return self._body

    def __aiter__(self) -> _Protocol:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.response = httpx.Response(status, headers=headers, content=body)
