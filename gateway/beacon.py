"""Serves a local beacon over the HTTP of drand: /{chain}/info, /{chain}/public/latest and /{chain}/public/{round}.

Threads of the standard library are enough: a few services ask it every few seconds. What it answers, and why nobody
need believe it: `keno.fairness.beacons.local`.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog

from keno.fairness.beacons.local import LocalBeacon
from keno.infra.threaded_http import serving_application

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_log = structlog.get_logger(__name__)
_ROUND_DIGITS_MAX = 18


@contextmanager
def serving(beacon: LocalBeacon, host: str, port: int) -> Iterator[int]:
    """Serves while the block lasts, and gives the port (0 chooses one). Raises ConfigError where it is taken."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        found = _answer(beacon, environ["PATH_INFO"])
        status = "404 Not Found" if found is None else "200 OK"
        start_response(status, [("Content-Type", "application/json"), ("X-Keno-Beacon", "local, not public")])
        return [msgspec.json.encode(found or {"error": "there is no such round of this chain, or not yet"})]

    with serving_application(answer, "local beacon", host, port) as served_port:
        yield served_port


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
