"""Serves a local beacon over the HTTP of drand: /{chain}/info, /{chain}/public/latest and /{chain}/public/{round}.

Threads of the standard library are enough: a few services ask it every few seconds. What it answers, and why nobody
need believe it: `keno.fairness.beacons.local`.
"""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
import structlog

from keno.errors import ConfigError
from keno.fairness.beacons.local import LocalBeacon

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_log = structlog.get_logger(__name__)
_ROUND_DIGITS_MAX = 18


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: it is asked every few seconds."""


@contextmanager
def serving(beacon: LocalBeacon, host: str, port: int) -> Iterator[int]:
    """Serves while the block lasts, and gives the port (0 chooses one). Raises ConfigError where it is taken."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        found = _answer(beacon, environ["PATH_INFO"])
        status = "404 Not Found" if found is None else "200 OK"
        start_response(status, [("Content-Type", "application/json"), ("X-Keno-Beacon", "local, not public")])
        return [msgspec.json.encode(found or {"error": "there is no such round of this chain, or not yet"})]

    try:
        server = make_server(host, port, answer, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    thread = threading.Thread(target=server.serve_forever, name="local beacon", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def serve_beacon(beacon: LocalBeacon, host: str, port: int, stop: asyncio.Event) -> None:
    """Serves until `stop` is set."""
    with serving(beacon, host, port) as served_port:
        _log.warning(
            "beacon.local_not_public",
            host=host,
            port=served_port,
            chain=beacon.chain.hash.hex(),
            beacon_id=beacon.chain.beacon_id,
        )
        await stop.wait()


def _answer(beacon: LocalBeacon, path: str) -> dict[str, object] | None:
    match path.strip("/").split("/"):
        case [chain, *rest] if chain == beacon.chain.hash.hex():
            match rest:
                case ["info"]:
                    return beacon.info()
                case ["public", "latest"]:
                    return beacon.beacon()
                case ["public", number] if number.isdecimal() and number.isascii() and len(number) <= _ROUND_DIGITS_MAX:
                    return beacon.beacon(int(number))
    return None
