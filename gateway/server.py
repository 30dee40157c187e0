"""Serves the gateway with granian inside the running event loop, until told to stop.

HTTP/1.1 without TLS: a proxy ends TLS in front of it. Several processes on one port are the business of granian's own
command line, not of this file.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar import Litestar

from keno.infra.listening import listening

_log = structlog.get_logger("gateway")

STOP_S: Final = 10.0
"""How long requests under way may take to end once the server stops; then they are cut off."""


CONNECTIONS_MAX: Final = 1_024
"""Connections that are served at a time; more wait in the kernel's queue, of the same length."""
_HTTP1: Final = HTTP1Settings(header_read_timeout=10_000, max_buffer_size=64 * 1024)
"""A head must be complete after 10 s, and fit into the buffer."""


async def serve(app: Litestar, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve `app` on host and port until `stop` is set, then finish what is under way.

    Raises ConfigError where the address cannot be listened on. A cancelled call stops the server too.
    """
    _check_free(host, port)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=_HTTP1,
        backlog=CONNECTIONS_MAX,
        backpressure=CONNECTIONS_MAX,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve(), name="gateway")
    stopping = asyncio.create_task(stop.wait(), name="gateway-stop")
    _log.info("server.started", host=host, port=port)
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=STOP_S)
        if not serving.done():
            _log.warning("requests.cut_off", after_s=STOP_S)
            serving.cancel()
    await serving
    if not stop.is_set():
        raise ConnectionError(f"the server on {host}:{port} ended by itself")


def _check_free(host: str, port: int) -> None:
    # granian listens with SO_REUSEPORT: a second server would silently share the port with the first.
    with listening(host, port):
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
