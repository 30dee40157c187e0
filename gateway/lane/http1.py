"""HTTP/1.1 on one connection of the bet lane: requests in, answers out in their order. The parser is httptools'.

Why not a server that somebody else keeps: decision 0045. A request is complete before anything is done with it, and is
then answered by the connection's one task, in one turn of the event loop with what else has arrived. What a client may
do slowly or without end has a limit here; the clock of those limits is `Connection.look_after`, called by the server.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from types import SimpleNamespace
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gateway.answers import Answer
from gateway.auth import guard
from gateway.lane.messages import Application, Request, message_of
from gateway.problems import ProblemError
from keno._core import HeaderFields
from keno.errors import KenoError
from keno.phrases import said

HEAD_BYTES_MAX: Final = 64 * 1024
FIELDS_MAX: Final = 100
HEAD_S: Final = 10.0
"""How long a head may take to arrive, and the first one to begin."""
IDLE_S: Final = 75.0
"""How long a connection is kept between requests: longer than proxies keep theirs, so that they are who closes it."""
UNREAD_S: Final = 10.0
"""How long a client may leave an answer unread, and the connection open behind the last one."""
_PIECE_BYTES: Final = 8 * 1024
"""How much is read before the requests in it have their turn: so many at most wait on a connection."""


class _Reading(Enum):
    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


# A member looked up in its class costs ten times a name of the module, and a request asks for twenty.
_NOTHING, _HEAD, _BODY = _Reading


class Connection(asyncio.Protocol):
    """A connection. `connections` are those of the server, to which it belongs until it is lost."""

    def __init__(self, application: Application, connections: set[Connection], connections_max: int) -> None:
        self._application = application
        self._connections = connections
        self._connections_max = connections_max
        self._loop = asyncio.get_running_loop()
        self._fields = HeaderFields(FIELDS_MAX)
        """Of the request that is read; those behind a body are nobody's: what is signed stands in the head."""
        # The parser calls it, and knows no other: what is taken from the fields leaves them empty.
        self.on_header = self._fields.add
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        self._body_apart = False
        """The parser of the head does not read the body."""
        self._reading = _NOTHING
        self._since_s = self._loop.time()
        """Since when it reads this, or waits for the first request."""
        self._request: Request
        self._url = b""
        self._body = bytearray()
        self._room_bytes = 0
        """How much of the head or body may still come."""
        self._empty_bytes = 0
        """What has come since the head began or the body went on: a field without an end, fields behind a body."""
        self._held = b""
        """What came behind a request that waits."""
        self._complete: deque[Request] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._next: asyncio.Future[Request | None] = self._loop.create_future()
        """The request that is answered next; None once the connection is gone."""
        self._answering = False
        self._served = False
        self._deaf = False
        """Nothing more is read: the last request has come, or what came cannot be told apart."""
        self._leaving = False
        self._client_ended = self._lost = False
        self._paused = False
        self._unread_since_s: float | None = None
        self._left_since_s: float | None = None
        """Since when it is for the client to go."""

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
        if len(self._connections) < self._connections_max:
            self._connections.add(self)
        else:
            self._refuse(ProblemError("overloaded", "too many connections are open"))
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, of several, or of a part of one."""
        self._read(data)
        if self._complete and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked for is answered yet."""
        if self._reading is not _NOTHING:
            self._refuse(ProblemError("bad_request", "the connection ended before the body"))
        self._deaf = self._leaving = self._client_ended = True
        return self._busy

    def connection_lost(self, _: Exception | None) -> None:
        """The connection is gone. A request under way goes on: a bet that was asked for is placed."""
        self._connections.discard(self)
        self._deaf = True
        self._held = b""
        if self._reading is not _NOTHING:
            self._release(self._request)
        while self._complete:
            self._release(self._complete.popleft())
        self._lost = True
        if not self._next.done():
            self._next.set_result(None)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._unread_since_s = self._loop.time()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._unread_since_s = None
        self._go_on()
        self._read_on()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._deaf:
            raise HttpParserError("behind the last request")
        self._reading = _HEAD
        self._since_s = self._loop.time()
        self._fields.take()
        self._request = Request(self._peer, self._fields.values)
        self._url = b""
        self._room_bytes = HEAD_BYTES_MAX
        self._empty_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The target, or a part of it."""
        self._room_bytes -= len(url)
        if self._room_bytes < 0:
            raise _head_too_large()
        self._url += url

    def on_headers_complete(self) -> None:
        """The head is there: is there room for the body?"""
        request, parser, fields = self._request, self._parser, self._fields.take()
        request.values = fields.values
        if fields.overflowed or fields.size_bytes > self._room_bytes:
            raise _head_too_large()
        request.method = parser.get_method().decode("ascii")
        request.target = self._url.decode("latin-1")
        version, upgrades = parser.get_http_version(), parser.should_upgrade()
        # A client of HTTP/1.0 would have to be told that the connection stays.
        request.keep_alive = version == "1.1" and parser.should_keep_alive() and not upgrades
        if version not in ("1.0", "1.1"):
            raise ProblemError("bad_request", said("not HTTP/1.1: {reason}", reason=f"HTTP/{version}"))
        if not request.target.startswith("/"):
            raise ProblemError("bad_request", "the target of a request is a path")
        self._reading = _BODY
        self._since_s = self._loop.time()
        self._empty_bytes = 0
        lengths = request.values("content-length")
        announced = int(lengths[0]) if lengths else None if request.values("transfer-encoding") else 0
        # One of HTTP/1.0 could not read the answer to it.
        waits = version == "1.1" and announced != 0 and bool(request.values("expect"))
        try:
            self._room_bytes = self._application.reserve(request, announced)
        except KenoError as error:
            if waits or announced is None or announced > HEAD_BYTES_MAX:
                raise
            request.refusal = self._application.refuse(request, error)
            self._room_bytes = HEAD_BYTES_MAX
        if announced is not None and announced > self._room_bytes:
            raise _body_too_large()
        if waits and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if upgrades and announced != 0:
            self._parser = self._parser_of_body(announced)
            self._body_apart = True

    def on_body(self, piece: bytes) -> None:
        """A part of the body."""
        self._room_bytes -= len(piece)
        if self._room_bytes < 0:
            raise _body_too_large()
        self._empty_bytes = 0
        self._body += piece

    def on_message_complete(self) -> None:
        """The request is complete, as far as the parser knows."""
        if not self._body_apart:
            self._heard()

    def _heard(self) -> None:
        self._reading = _NOTHING
        self._since_s = self._loop.time()
        request = self._request
        request.body = bytes(self._body)
        self._body.clear()
        self._deaf = not request.keep_alive
        self._complete.append(request)
        self._go_on()

    # What the server calls.

    def look_after(self, now_s: float) -> None:
        """Ends what takes too long."""
        waited_s = now_s - self._since_s
        if self._left_since_s is not None or self._unread_since_s is not None:
            since_s = self._left_since_s if self._unread_since_s is None else self._unread_since_s
            if since_s is not None and now_s - since_s >= UNREAD_S:
                self._transport.abort()
        elif self._reading is _BODY and not self._paused:
            if waited_s >= guard.BODY_READ_S:
                detail = said("the body was not complete after {seconds:g} s", seconds=guard.BODY_READ_S)
                self._refuse(ProblemError("body_too_slow", detail))
        elif not self._busy and waited_s >= (IDLE_S if self._served and self._reading is _NOTHING else HEAD_S):
            self._close()

    def leave(self) -> None:
        """Close it once what has begun is answered."""
        self._leaving = True
        if self._reading is _NOTHING and not self._busy and self._left_since_s is None:
            self._close()

    def abort(self) -> None:
        """Cut it off."""
        self._transport.abort()

    @property
    def _busy(self) -> bool:
        return self._answering or bool(self._complete)

    def _read(self, data: bytes) -> None:
        """Read until a request has to wait for the one before it."""
        at = 0
        while at < len(data) and not self._complete and not self._deaf:
            self._parse(data[at : at + _PIECE_BYTES])
            at += _PIECE_BYTES
        self._held = b"" if self._deaf else data[at:]

    def _parse(self, data: bytes) -> None:
        self._empty_bytes += len(data)
        parser, rest = self._parser, b""
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            # It is answered as any other, as the last request of the connection.
            rest = data[upgrade.args[0] :]
        except HttpParserError as error:
            if not self._deaf:
                self._refuse(_refused_by(error))
        if rest and self._parser is not parser:
            self._parse(rest)
        if self._reading is not _NOTHING and self._empty_bytes > HEAD_BYTES_MAX:
            # The parser keeps a field until it is complete, however long.
            self._refuse(_head_too_large() if self._reading is _HEAD else _body_too_large())

    def _parser_of_body(self, announced: int | None) -> HttpRequestParser:
        """Reads what httptools does not: the body of a request to upgrade, which Java's client sends with the first."""
        parser = HttpRequestParser(SimpleNamespace(on_body=self.on_body, on_message_complete=self._heard))
        framing = "Transfer-Encoding: chunked" if announced is None else f"Content-Length: {announced}"
        parser.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode("ascii"))
        return parser

    def _refuse(self, error: KenoError) -> None:
        """The request that is being read is answered in its turn, as the last one of the connection."""
        request = self._request if self._reading is not _NOTHING else Request(self._peer)
        self._reading = _NOTHING
        self._deaf = True
        self._body.clear()
        request.keep_alive = False
        request.refusal = self._application.refuse(request, error)
        self._complete.append(request)
        self._go_on()

    def _go_on(self) -> None:
        while self._complete and not self._answering and self._unread_since_s is None:
            request = self._complete.popleft()
            if request.refusal is None:
                self._answering = True
                self._next.set_result(request)
                self._serving = self._serving or self._loop.create_task(self._serve())
            else:
                self._release(request)
                self._finish(request, request.refusal)

    def _read_on(self) -> None:
        """What came behind the requests that waited, and then what else comes."""
        while self._paused and not self._complete and not self._transport.is_closing():
            if self._held:
                self._read(self._held)
            else:
                self._paused = False
                self._since_s = self._loop.time()
                self._transport.resume_reading()

    async def _serve(self) -> None:
        """Answers one request after the other: the loop enters a new task into a set, in Python, and takes it out."""
        try:
            while (request := await self._next) is not None:
                self._next = self._loop.create_future()
                try:
                    self._finish(request, await self._application.answer(request))
                finally:
                    self._answering = False
                    self._release(request)
                if self._lost:
                    break
                self._go_on()
                self._read_on()
                if self._next.done():
                    # It came with the one before, and others have their turn first.
                    await asyncio.sleep(0)
        except BaseException:
            # A mistake of ours, or the end of the process: nobody must wait for what does not come.
            self._transport.abort()
            raise

    def _finish(self, request: Request, answer: Answer) -> None:
        self._served = True
        idle = self._reading is _NOTHING
        if idle:
            self._since_s = self._loop.time()
        if self._transport.is_closing():
            return
        last = not request.keep_alive or (self._leaving and idle and not self._complete)
        self._transport.write(message_of(request, answer, last=last))
        if last and self._client_ended:
            self._close()
        elif last:
            # Closed only when the client has: a connection cut off while it still sends could cost it the answer.
            self._deaf = True
            self._left_since_s = self._loop.time()
            self._transport.write_eof()

    def _close(self) -> None:
        self._deaf = True
        self._left_since_s = self._loop.time()
        self._transport.close()

    def _release(self, request: Request) -> None:
        if request.reserved is not None:
            self._application.release(request)


def _body_too_large() -> ProblemError:
    """Its title says it all, as on the routes of the gateway."""
    return ProblemError("body_too_large", "")


def _head_too_large() -> ProblemError:
    most = {"most": HEAD_BYTES_MAX, "fields": FIELDS_MAX}
    return ProblemError("bad_request", said("a head has at most {most} bytes and {fields} fields", **most))


def _refused_by(error: HttpParserError) -> KenoError:
    """Why the parser stopped: what one of our calls raised, or what the request is not."""
    if isinstance(error.__context__, KenoError):
        return error.__context__
    return ProblemError("bad_request", said("not HTTP/1.1: {reason}", reason=str(error)))
