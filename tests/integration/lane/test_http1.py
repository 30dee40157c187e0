"""HTTP/1.1 as the lane speaks it, over sockets, before an application that echoes: order, limits, slow clients."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from support.lanes import Wire
from support.ports import free_port
from support.serving import HOST

from gateway.answers import Answer, json_answer
from gateway.auth import guard
from gateway.failing import answer_to
from gateway.lane import http1, server
from gateway.lane.messages import Request
from gateway.lane.server import serve_lane
from gateway.problems import ProblemError
from keno.errors import KenoError

LIMIT = 100


class Echo:
    """Answers with what it was asked, once `gate` is open; holds at most `room` bytes of bodies."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.room = 1_000_000
        self.asked: list[Request] = []
        self.refused: list[Request] = []

    def reserve(self, request: Request, announced: int | None) -> int:
        if self.room < LIMIT:
            raise ProblemError("overloaded", "full")
        if announced is not None and announced > LIMIT:
            return LIMIT
        self.room -= LIMIT
        request.reserved = LIMIT
        return LIMIT

    def release(self, request: Request) -> None:
        assert request.reserved is not None
        self.room += request.reserved
        request.reserved = None

    def refuse(self, request: Request, error: KenoError) -> Answer:
        self.refused.append(request)
        return answer_to(error, request.method, None)

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        await self.gate.wait()
        if request.target == "/mistake":
            raise AssertionError("a mistake of ours")
        if request.target == "/large":
            return Answer(200, b"x" * 3_000_000, "text/plain", {})
        if request.target == "/empty":
            return Answer(204, b"", "", {"Allow": "POST"})
        return json_answer({"method": request.method, "target": request.target, "body": request.body.decode("latin-1")})


class Client:
    """A connection on which bytes go as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        length = int(headers.get("content-length", "0")) if body else 0
        return int(head[0].split()[1]), headers, await asyncio.wait_for(self.reader.readexactly(length), 5)

    async def ended(self) -> bool:
        """Whether the server ends the connection, soon and without another word."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        except ConnectionError:
            return True


class Echoing:
    """The server under test."""

    def __init__(self, app: Echo, port: int, stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
        self.app, self.port, self.stop, self.serving = app, port, stop, serving
        self.clients: list[Client] = []
        self.mistakes: list[dict[str, Any]] = []
        """What escaped into the event loop."""

    async def client(self, data: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection(HOST, self.port))
        self.clients.append(client)
        client.writer.write(data)
        return client


@pytest.fixture
async def echoing() -> AsyncIterator[Echoing]:
    app, port, stop = Echo(), free_port(), asyncio.Event()
    serving = asyncio.create_task(serve_lane(app, HOST, port, stop))
    await asyncio.sleep(0.05)
    opened = Echoing(app, port, stop, serving)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: opened.mistakes.append(context))
    yield opened
    app.gate.set()
    for client in opened.clients:
        client.writer.transport.abort()
    stop.set()
    await serving
    await asyncio.sleep(0)
    gc.collect()
    assert app.room == 1_000_000, "what was reserved was not given back"
    assert opened.mistakes == []


async def test_a_body_in_pieces_and_a_chunked_one_arrive_whole(echoing: Echoing) -> None:
    for request in (
        b"POST /a?b=%31 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a?b=%31 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ):
        for size in (1, 7, 1_000):
            client = await echoing.client()
            for at in range(0, len(request), size):
                client.writer.write(request[at : at + size])
                await client.writer.drain()
                await asyncio.sleep(0)
            status, headers, body = await client.answer()
            assert (status, body) == (200, b'{"method":"POST","target":"/a?b=%31","body":"hello"}')
            assert headers["content-type"] == "application/json"
            assert "date" in headers


async def test_requests_at_once_are_answered_in_order_and_one_at_a_time(echoing: Echoing) -> None:
    echoing.app.gate.clear()
    asked = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(500))
    client = await echoing.client(asked)
    await asyncio.sleep(0.1)
    assert [each.target for each in echoing.app.asked] == ["/0"]
    echoing.app.gate.set()
    for number in range(500):
        assert b'"/%d"' % number in (await client.answer())[2]


async def test_fields_behind_the_body_are_not_of_the_head(echoing: Echoing) -> None:
    client = await echoing.client(
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSignature: forged\r\nHost: evil\r\n\r\n"
    )
    assert (await client.answer())[0] == 200
    values = echoing.app.asked[0].values
    assert [values(name) for name in ("host", "transfer-encoding", "signature")] == [["h"], ["chunked"], []]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /a HTTP/2.0\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nX: a\x00b\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n" + b"".join(b"X%d: x\r\n" % number for number in range(101)) + b"\r\n", 400),
        (b"GET /a HTTP/1.1\r\n" + b"X: x\r\n" * 101 + b"\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", 413),
        (b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, 413),
    ],
)
async def test_what_cannot_be_read_is_refused_once_and_ends_the_connection(
    echoing: Echoing, request_: bytes, status: int
) -> None:
    # In one piece, and in two whatever they are.
    for pieces in ([request_], [request_[: len(request_) // 2], request_[len(request_) // 2 :]]):
        client = await echoing.client()
        for piece in pieces:
            client.writer.write(piece)
            await asyncio.sleep(0.02)
        found, headers, body = await client.answer()
        assert (found, headers["connection"]) == (status, "close"), body
        client.writer.write(b"GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await client.ended()
    assert echoing.app.asked == []


async def test_a_refusal_waits_for_the_answers_before_it(echoing: Echoing) -> None:
    echoing.app.gate.clear()
    client = await echoing.client(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n")
    await asyncio.sleep(0.1)
    echoing.app.gate.set()
    assert (await client.answer())[0] == 200
    assert (await client.answer())[0] == 400
    assert await client.ended()


@pytest.mark.parametrize("rest", [b"no field\r\n\r\n", b"X: y\r\n" * http1.FIELDS_MAX + b"\r\n", b""])
async def test_of_a_head_that_is_refused_the_fields_before_are_known(echoing: Echoing, rest: bytes) -> None:
    client = await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\nAccept-Language: de\r\nX: y\r\n" + rest)
    client.writer.write_eof()
    assert (await client.answer())[0] == 400
    assert [each.values("accept-language") for each in echoing.app.refused] == [["de"]]


async def test_a_head_without_an_end_is_cut_off(echoing: Echoing) -> None:
    client = await echoing.client(b"GET /a HTTP/1.1\r\nX: ")
    for _ in range(80):
        client.writer.write(b"x" * 1024)
        await asyncio.sleep(0.001)
    assert (await client.answer())[0] == 400


async def test_a_client_that_asks_to_go_on_is_told_to(echoing: Echoing) -> None:
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await client.answer())[0] == 100
    client.writer.write(b"{}")
    assert (await client.answer())[0] == 200
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 999\r\n\r\n")
    assert (await client.answer())[0] == 413


async def test_a_client_that_waits_to_go_on_is_told_at_once_that_there_is_no_room(echoing: Echoing) -> None:
    room, echoing.app.room = echoing.app.room, 0
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (503, "close")
    echoing.app.room = room


async def test_nobody_is_told_to_go_on_who_sends_nothing_or_does_not_know_how(echoing: Echoing) -> None:
    for request in (
        b"GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    ):
        assert (await (await echoing.client(request)).answer())[0] == 200


async def test_what_stands_behind_the_last_request_is_not_read(echoing: Echoing) -> None:
    for head in (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"):
        client = await echoing.client(head * 3)
        assert (await client.answer())[0] == 200
        assert await client.ended()
    assert len(echoing.app.asked) == 2


async def test_a_request_to_upgrade_is_heard_with_its_body(echoing: Echoing) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    for rest in (
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ):
        for size in (1, 60, 1_000):
            client = await echoing.client()
            for at in range(0, len(head + rest), size):
                client.writer.write((head + rest)[at : at + size])
                await asyncio.sleep(0)
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert body == b'{"method":"POST","target":"/a","body":"hello"}'
            assert await client.ended()
    for rest in (b"Content-Length: 101\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101):
        assert (await (await echoing.client(head + rest)).answer())[0] == 413


async def test_the_connection_is_kept_as_the_client_asks(echoing: Echoing) -> None:
    client = await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    for _ in range(3):
        status, headers, _ = await client.answer()
        assert (status, "connection" in headers) == (200, False)
        client.writer.write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    for request in (
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ):
        client = await echoing.client(request)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()


async def test_a_head_is_answered_without_a_body_and_204_without_a_length(echoing: Echoing) -> None:
    client = await echoing.client(b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
    _, headers, _ = await client.answer(body=False)
    assert headers["content-length"] == "41"
    client.writer.write(b"GET /empty HTTP/1.1\r\nHost: h\r\n\r\n")
    status, headers, _ = await client.answer()
    assert (status, "content-length" in headers) == (204, False)


async def test_a_body_for_which_there_is_no_room_is_read_and_refused(echoing: Echoing) -> None:
    room, echoing.app.room = echoing.app.room, 0
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    status, headers, _ = await client.answer()
    assert (status, headers["retry-after"]) == (503, "1")
    echoing.app.room = room
    client.writer.write(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    assert (await client.answer())[0] == 200


async def test_a_long_body_for_which_there_is_no_room_is_not_called_too_large(echoing: Echoing) -> None:
    room, echoing.app.room = echoing.app.room, 0
    for framing in (b"Content-Length: 70000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n11170\r\n" + b"x" * 70_000):
        client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\n" + framing)
        status, headers, _ = await client.answer()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
    echoing.app.room = room


@pytest.mark.parametrize("endless", [b"X: ", b"X: x\r\n", b"1;", b"0;x="])
async def test_fields_and_extensions_without_an_end_behind_a_body_are_cut_off(echoing: Echoing, endless: bytes) -> None:
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    if endless.startswith(b"X"):
        client.writer.write(b"0\r\n")
    client.writer.write(endless)
    for _ in range(100):
        client.writer.write(b"x" * 1024 if not endless.endswith(b"\n") else endless * 200)
        await asyncio.sleep(0.001)
    assert (await client.answer())[0] == 413
    assert echoing.app.asked == []


async def test_of_requests_sent_at_once_only_few_wait(echoing: Echoing) -> None:
    echoing.app.gate.clear()
    client = await echoing.client(b"POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n" * 5_000)
    await asyncio.sleep(0.1)
    assert 1_000_000 - echoing.app.room < 300 * LIMIT
    echoing.app.gate.set()
    for _ in range(5_000):
        assert (await client.answer())[0] == 200


async def test_a_long_request_before_the_beginning_of_another_is_no_long_head(echoing: Echoing) -> None:
    # The head in two pieces, and behind it much in one.
    client = await echoing.client(b"GET /a HTTP/1.1\r\nX: ")
    await asyncio.sleep(0.05)
    more = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" * 5_000
    client.writer.write(b"x\r\n\r\n" + more + b"GET /b HTTP/1.1\r\n")
    await asyncio.sleep(0.05)
    client.writer.write(b"Host: h\r\n\r\n")
    for _ in range(5_002):
        assert (await client.answer())[0] == 200


async def test_between_requests_that_came_together_others_have_their_turn(echoing: Echoing) -> None:
    passed: list[int] = []
    turns = []

    class Watched(Echo):
        async def answer(self, request: Request) -> Answer:
            turns.append(len(passed))
            return await super().answer(request)

    connection = http1.Connection(Watched(), set(), 10)
    connection.connection_made(Wire())
    connection.data_received(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
    for turn in range(10):
        passed.append(turn)
        await asyncio.sleep(0)
    assert len(turns) == len(set(turns)) == 3
    connection.connection_lost(None)


async def test_a_mistake_of_ours_between_two_requests_costs_the_connection(
    echoing: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> Answer:
        raise AssertionError("another mistake of ours")

    monkeypatch.setattr(echoing.app, "refuse", mistaken)
    # What is refused is more than is read at once, and so read when the first request has its answer.
    long_field = b"X: " + b"x" * 9_000 + b"\r\n"
    first, second = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /b HTTP/1.1\r\nHost: h\r\n" + long_field
    client = await echoing.client(first + second + b"no field\r\n\r\n")
    with suppress(ConnectionError):
        await asyncio.wait_for(client.reader.read(), 5)
    gc.collect()
    assert [str(each["exception"]) for each in echoing.mistakes] == ["another mistake of ours"]
    echoing.mistakes.clear()


async def test_a_mistake_of_ours_costs_the_connection_and_nothing_more(echoing: Echoing) -> None:
    client = await echoing.client(b"POST /mistake HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    assert await client.ended()
    gc.collect()
    assert [str(each["exception"]) for each in echoing.mistakes] == ["a mistake of ours"]
    echoing.mistakes.clear()
    assert (await (await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")).answer())[0] == 200


async def test_slow_heads_silent_clients_and_idle_connections_are_ended(
    echoing: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SWEEP_S", 0.02)
    monkeypatch.setattr(http1, "HEAD_S", 0.2)
    monkeypatch.setattr(http1, "IDLE_S", 0.2)
    idle = await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await idle.answer())[0] == 200
    silent = await echoing.client()
    slow = await echoing.client(b"GET /a HTTP/1.1\r\n")
    for client in (silent, slow, idle):
        assert await client.ended()
    assert len(echoing.app.asked) == 1


async def test_a_slow_body_is_refused_and_a_slow_answer_is_not(
    echoing: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SWEEP_S", 0.02)
    monkeypatch.setattr(http1, "IDLE_S", 0.1)
    monkeypatch.setattr(http1, "HEAD_S", 0.1)
    monkeypatch.setattr(guard, "BODY_READ_S", 0.2)
    slow = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{")
    assert (await slow.answer())[0] == 408
    echoing.app.gate.clear()
    waiting = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    await asyncio.sleep(0.5)
    echoing.app.gate.set()
    assert (await waiting.answer())[0] == 200


async def test_a_client_that_reads_nothing_gets_one_answer_and_is_cut_off(
    echoing: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SWEEP_S", 0.02)
    monkeypatch.setattr(http1, "UNREAD_S", 0.3)
    # The buffers of the kernel swallow a few.
    client = await echoing.client(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    assert len(echoing.app.asked) < 10
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    rest = bytearray()
    while piece := await asyncio.wait_for(client.reader.read(1 << 16), 5):
        rest += piece
    assert len(rest) < 50 * 3_000_000


async def test_a_client_that_ends_its_half_gets_its_answers(echoing: Echoing) -> None:
    echoing.app.gate.clear()
    client = await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
    client.writer.write_eof()
    await asyncio.sleep(0.05)
    echoing.app.gate.set()
    assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
    assert await client.ended()
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{")
    client.writer.write_eof()
    assert (await client.answer())[0] == 400


async def test_a_client_that_is_gone_does_not_undo_what_it_asked_for(echoing: Echoing) -> None:
    echoing.app.gate.clear()
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}" * 3)
    await asyncio.sleep(0.05)
    client.writer.transport.abort()
    await asyncio.sleep(0.05)
    assert len(echoing.app.asked) == 1
    echoing.app.gate.set()
    other = await echoing.client(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await other.answer())[0] == 200


async def test_what_waits_on_a_connection_that_is_cut_off_is_not_begun(
    echoing: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STOP_S", 0.1)
    echoing.app.gate.clear()
    await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}" * 3)
    await asyncio.sleep(0.05)
    echoing.stop.set()
    await asyncio.wait_for(echoing.serving, 5)
    echoing.app.gate.set()
    await asyncio.sleep(0.05)
    assert len(echoing.app.asked) == 1


async def test_a_body_is_not_slow_while_it_is_not_read(echoing: Echoing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SWEEP_S", 0.02)
    monkeypatch.setattr(guard, "BODY_READ_S", 0.2)
    echoing.app.gate.clear()
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
    client = await echoing.client((head + b"{}") * 2 + head)
    await asyncio.sleep(0.4)
    echoing.app.gate.set()
    client.writer.write(b"{}")
    assert [(await client.answer())[0] for _ in range(3)] == [200] * 3


async def test_more_connections_than_there_may_be_are_refused(
    echoing: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    held = [await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n") for _ in range(3)]
    assert [(await each.answer())[0] for each in held] == [200] * 3
    assert (await (await echoing.client()).answer())[0] == 503
    held[0].writer.close()
    await asyncio.sleep(0.05)
    assert (await (await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")).answer())[0] == 200


async def test_a_stopping_server_answers_what_has_begun_and_ends_the_rest(echoing: Echoing) -> None:
    idle = await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await idle.answer())[0] == 200
    echoing.app.gate.clear()
    waiting = await echoing.client(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    half = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{")
    await asyncio.sleep(0.05)
    echoing.stop.set()
    assert await idle.ended()
    with pytest.raises(ConnectionError):
        await echoing.client()
    half.writer.write(b"}")
    await asyncio.sleep(0.05)
    echoing.app.gate.set()
    for client in (waiting, half):
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        client.writer.close()
    await asyncio.wait_for(echoing.serving, 5)


async def test_what_does_not_end_is_cut_off_by_the_stop(echoing: Echoing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_S", 0.2)
    client = await echoing.client(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{")
    await asyncio.sleep(0.05)
    echoing.stop.set()
    await asyncio.wait_for(echoing.serving, 5)
    assert await client.ended()
