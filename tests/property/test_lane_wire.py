"""However bytes are cut on their way, the lane reads the same requests; whatever they are, it answers or waits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from support.lanes import Wire

from gateway.answers import Answer
from gateway.failing import answer_to
from gateway.lane.http1 import Connection
from gateway.lane.messages import Request
from keno.errors import KenoError

LIMIT = 50


class Recorder:
    """Answers everything at once; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.reserved = 0

    def reserve(self, request: Request, announced: int | None) -> int:
        self.reserved += 1
        request.reserved = 1
        return LIMIT

    def release(self, request: Request) -> None:
        self.reserved -= 1
        request.reserved = None

    def refuse(self, request: Request, error: KenoError) -> Answer:
        return answer_to(error, request.method, None)

    async def answer(self, request: Request) -> Answer:
        self.asked.append((request.method, request.target, request.body))
        await asyncio.sleep(0)
        return Answer(200, b"", "", {})


def exchanged(pieces: Sequence[bytes]) -> tuple[Recorder, list[bytes]]:
    """What was asked by bytes that came in these pieces, and the statuses they were answered with."""

    async def run() -> tuple[Recorder, list[bytes]]:
        app, wire, connections = Recorder(), Wire(), set[Connection]()
        connection = Connection(app, connections, 10)
        connection.connection_made(wire)
        for piece in pieces:
            # As much as a paused transport still has.
            connection.data_received(piece)
            while wire.paused:  # noqa: ASYNC110 - for what is answered in the next turn
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        assert (app.reserved, connections) == (0, set())
        return app, re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", wire.written)

    return asyncio.run(run())


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


bodies = st.binary(max_size=LIMIT)
targets = st.from_regex(r"/[a-z0-9%?=&._-]{0,20}", fullmatch=True)


@st.composite
def requests(draw: st.DrawFn) -> tuple[tuple[str, str, bytes], bytes]:
    """A request, and how it may be written."""
    method, target, body = draw(st.sampled_from(["GET", "POST", "PUT"])), draw(targets), draw(bodies)
    head = f"{method} {target} HTTP/1.1\r\nHost: h\r\n".encode()
    if draw(st.booleans()):
        return (method, target, body), head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    at = draw(st.integers(0, len(body)))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:at], body[at:]) if part)
    trailer = draw(st.sampled_from([b"", b"Signature: forged\r\n"]))
    return (method, target, body), head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


@settings(deadline=None)
@given(st.lists(requests(), max_size=5), st.lists(st.integers(0, 1_000), max_size=12))
def test_requests_are_read_alike_however_they_are_cut(
    written: list[tuple[tuple[str, str, bytes], bytes]], places: list[int]
) -> None:
    app, statuses = exchanged(cut(b"".join(data for _, data in written), places))
    assert app.asked == [asked for asked, _ in written]
    assert statuses == [b"200"] * len(written)


@settings(deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3), st.data())
def test_damaged_requests_never_make_more_of_what_was_asked(
    written: list[tuple[tuple[str, str, bytes], bytes]], data: st.DataObject
) -> None:
    whole = bytearray(b"".join(each for _, each in written))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    app, statuses = exchanged(cut(bytes(whole), data.draw(st.lists(st.integers(0, len(whole)), max_size=5))))
    assert statuses[: len(app.asked)] == [b"200"] * len(app.asked)
    # At most one refusal, the last word; a 100 comes before its answer, and is asked for by nothing here.
    assert len(statuses) - len(app.asked) in (0, 1)
    assert all(status.startswith(b"4") for status in statuses[len(app.asked) :])


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_bytes_of_any_kind_are_refused_or_waited_on(noise: bytes, places: list[int]) -> None:
    app, statuses = exchanged(cut(noise, places))
    assert len(statuses) <= len(app.asked) + 1
