"""A local beacon for tests, its clock that of the test's database, and endpoints that misbehave."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from keno.fairness.beacons.local import LocalBeacon
from keno.game.rules import FairnessProfile, RoomRules
from support.rounds import room_rules

SECRET = bytes(range(64, 96))
ALWAYS = LocalBeacon(SECRET, lambda: 4_000_000_000_000)
"""A beacon that is far ahead: what it publishes is decided by who asks it."""
CHAIN = ALWAYS.chain


def beacon_rules(profile: FairnessProfile, guard_ms: int = 2_000) -> RoomRules:
    """Rules of a profile with the beacon of these tests."""
    return room_rules(profile=profile, guard_ms=guard_ms, beacon_chain=CHAIN.hash.hex())


def answer_of(beacon_round: int) -> dict[str, object]:
    """What an honest endpoint answers."""
    answer = ALWAYS.beacon(beacon_round)
    assert answer is not None
    return answer


def signature_of(beacon_round: int) -> bytes:
    """A round's signature."""
    return bytes.fromhex(str(answer_of(beacon_round)["signature"]))


class Endpoint:
    """What an HTTP endpoint answers to a path, and which it was asked for. `content` gives status and body."""

    def __init__(self, content: Callable[[str], tuple[int, bytes]]) -> None:
        self.content = content
        self.asked: list[str] = []
        self.url = ""


def honest(path: str) -> tuple[int, bytes]:
    """Answers as drand."""
    what = path.rsplit("/", 1)[-1]
    if what == "info":
        return 200, json.dumps(ALWAYS.info()).encode()
    return 200, json.dumps(answer_of(1000 if what == "latest" else int(what))).encode()


@contextmanager
def endpoint(content: Callable[[str], tuple[int, bytes]] = honest) -> Iterator[Endpoint]:
    """An endpoint that answers while the block lasts."""
    opened = Endpoint(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            opened.asked.append(self.path)
            status, body = opened.content(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status in (301, 302, 307):
                self.send_header("Location", f"{opened.url}/elsewhere")
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    opened.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield opened
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
