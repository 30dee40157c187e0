"""Serves the bet lane inside the running event loop until told to stop: who may connect, and how all are sent away.

HTTP/1.1 without TLS: a proxy ends TLS in front of it.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from gateway.auth import guard
from gateway.lane.http1 import Connection
from gateway.lane.messages import Application
from gateway.server import CONNECTIONS_MAX, STOP_S
from keno.infra.listening import listening

_SWEEP_S: Final = 1.0

_log = structlog.get_logger("gateway.lane")


async def serve_lane(lane: Application, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve the lane on host and port until `stop` is set, then answer what is under way.

    More than CONNECTIONS_MAX connections are refused as overloaded. Raises ConfigError where the address cannot be
    listened on. A cancelled call stops the server too.
    """
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()

    def connected() -> Connection:
        return Connection(lane, connections, CONNECTIONS_MAX)

    with listening(host, port):
        server = await loop.create_server(connected, host, port, backlog=CONNECTIONS_MAX)
    _log.info("server.started", host=host, port=port)
    sweeping = asyncio.create_task(_sweep(connections), name="lane-sweep")
    stopping = asyncio.create_task(stop.wait(), name="lane-stop")
    try:
        await asyncio.wait({sweeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.close()
        stopping.cancel()
        await _send_away(connections)
        sweeping.cancel()
    if not stop.is_set():
        await sweeping


async def _sweep(connections: set[Connection]) -> None:
    """Look after slow connections, until cancelled."""
    while True:
        await asyncio.sleep(min(_SWEEP_S, guard.BODY_READ_S))
        now_s = asyncio.get_running_loop().time()
        for connection in list(connections):
            connection.look_after(now_s)


async def _send_away(connections: set[Connection]) -> None:
    """Close every connection once its requests are answered, for a while; then cut off those that are left."""
    loop = asyncio.get_running_loop()
    for connection in list(connections):
        connection.leave()
    until_s = loop.time() + STOP_S
    while connections and loop.time() < until_s:  # noqa: ASYNC110 - at the end, for a moment
        await asyncio.sleep(0.02)
    if connections:
        _log.warning("requests.cut_off", count=len(connections), after_s=STOP_S)
    for connection in list(connections):
        connection.abort()
