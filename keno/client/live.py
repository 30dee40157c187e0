"""The live stream as a client follows it: frames in order, over lost connections, restarts and processes of the server.

After a loss it comes back by itself, asks for what it missed, and sends again what has no answer: a bet has the same
transaction id, so it is the same bet. Where the server does not keep what was missed any more, a `Snapshot` with the
reason `gap` says where the channel stands. Frames of a type that is newer than this client are passed over.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from keno import shapes
from keno.client.attempts import pause_s
from keno.client.errors import Refused, StreamEnded, Unanswered, UnknownAnswer
from keno.client.requests import PlayerBetRequest
from keno.notify import frames, received

ATTEMPTS: Final = 10
ANSWER_S: Final = 30.0
WAITING_FRAMES_MAX: Final = 1_000
"""Frames that wait for the iterator. When it is further behind, nothing more is read, and the server drops us."""
OLD_TOKEN_CODES: Final = frozenset({"token_expired", "token_invalid"})
"""Of an access token whose session may well live: a clock stood still, or its key was taken out as compromised."""
_FOR_GOOD: Final = frozenset({1003, 1009, 4401, 4403})
_HINT: Final = re.compile(r"([0-9]{1,6}) ms")

_T = TypeVar("_T")
_Answer = (
    received.Welcome | frames.Subscribed | frames.Unsubscribed | frames.Pong | received.Problem | received.BetAnswer
)


class _Envelope(msgspec.Struct):
    id: str | None = None
    channel: str | None = None
    seq: int = 0


class Live:
    """Frames of channels. To be used in `async with`, and iterated over: a bet is answered only while frames are taken.

    `token` gives an access token for each connection, another one than what was refused; without it this is a
    spectator. `url` is of the WebSocket where it is not under the origin. Raises Refused where it is not let in or may
    not follow a channel, Unanswered where the server cannot be reached, and StreamEnded once the session is over.
    """

    def __init__(
        self,
        origin: str,
        channels: Iterable[str],
        token: Callable[[str | None], Awaitable[str]] | None = None,
        *,
        url: str | None = None,
    ) -> None:
        self._url = url or re.sub("^http", "ws", origin) + "/v1/live"
        self._token = token
        self._refused_token: str | None = None
        self._first = tuple(channels)
        self._followed: set[str] = set()
        self._last: dict[str, int] = {}
        """The number of the last frame of each channel."""
        self._frames: asyncio.Queue[received.OfChannel | None] = asyncio.Queue(WAITING_FRAMES_MAX)
        self._pending: dict[str, tuple[bytes, asyncio.Future[_Answer]]] = {}
        self._number = 0
        self._socket: ClientConnection | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._come_back(0.0)
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._stopped)
        try:
            if self._first:
                await self.subscribe(*self._first)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> received.OfChannel:
        over = self._running is None or self._running.done()
        frame = None if over and self._frames.empty() else await self._frames.get()
        if frame is None:
            raise self._failure() or StopAsyncIteration
        return frame

    async def subscribe(self, *channels: str) -> None:
        """Follow channels too, each from a snapshot on."""
        await self._ask(frames.Subscribed, {"type": "subscribe", "channels": channels})
        self._followed.update(channels)

    async def unsubscribe(self, *channels: str) -> None:
        """Follow channels no longer."""
        self._followed.difference_update(channels)
        await self._ask(frames.Unsubscribed, {"type": "unsubscribe", "channels": channels})

    async def place_bet(self, bet: PlayerBetRequest) -> shapes.PlacedBet:
        """The bet with its receipt. Asks again, as the same bet, where the server has too much to do."""
        for attempt in range(ATTEMPTS):
            try:
                return (await self._ask(received.BetAnswer, {"type": "bet", "bet": bet})).bet
            except Refused as refusal:
                if refusal.problem.status < 500 and refusal.problem.status != 429:
                    raise
            await asyncio.sleep(pause_s(attempt))
        raise Unanswered(f"{ATTEMPTS} attempts at the bet {bet['transaction_id']}")

    async def ping(self) -> None:
        """Return once the server has answered."""
        await self._ask(frames.Pong, {"type": "ping"})

    # ---- requests ----

    async def _ask(self, form: type[_T], members: dict[str, Any]) -> _T:
        if self._running is not None and self._running.done():
            raise self._failure() or _left()
        self._number += 1
        request_id = str(self._number)
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        sent = msgspec.json.encode(members | {"id": request_id})
        self._pending[request_id] = sent, answer
        try:
            await self._send(sent)
            async with asyncio.timeout(ANSWER_S):
                told = await answer
        except TimeoutError:
            raise Unanswered(f"no answer to {members['type']} within {ANSWER_S:g} s") from None
        finally:
            del self._pending[request_id]
        if isinstance(told, received.Problem):
            raise Refused(told.problem)
        if not isinstance(told, form):
            raise UnknownAnswer(f"{members['type']} was answered with {type(told).__name__}")
        return told

    async def _send(self, sent: bytes) -> None:
        """Send a request, unless there is no connection: then it goes out with the next."""
        if self._socket is not None:
            with suppress(ConnectionClosed):
                await self._socket.send(sent, text=True)

    # ---- the connection ----

    async def _run(self) -> None:
        while True:
            assert self._socket is not None, "connected"  # noqa: S101
            wait_s = await self._read(self._socket)
            self._socket = None
            await self._come_back(wait_s)

    def _failure(self) -> BaseException | None:
        """Why nothing comes any more, where it was not left."""
        running = self._running
        return None if running is None or not running.done() or running.cancelled() else running.exception()

    def _stopped(self, _: asyncio.Task[None]) -> None:
        """Let nobody wait for more."""
        failure = self._failure() or _left()
        for _sent, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(failure)
        if not self._frames.full():
            self._frames.put_nowait(None)

    async def _read(self, socket: ClientConnection) -> float:
        """Take frames until the connection is lost; how long to wait before the next. Raises StreamEnded."""
        try:
            while True:
                await self._take(await socket.recv(decode=False))
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        if code in _FOR_GOOD:
            raise StreamEnded(code, reason)
        hint = _HINT.search(reason)
        return int(hint[1]) / 1000 if hint else random.uniform(0, pause_s(0))  # noqa: S311 - a spread

    async def _come_back(self, wait_s: float) -> None:
        """Connect, follow the same channels, and send what has no answer. Raises Refused, Unanswered."""
        renewed = False
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(wait_s)
            try:
                socket = await connect(self._url, max_size=None)
                try:
                    await self._introduce(socket)
                except BaseException:
                    await socket.close()
                    raise
            except Refused as refusal:
                old_token = refusal.code in OLD_TOKEN_CODES and not renewed
                if refusal.problem.status < 500 and refusal.problem.status != 429 and not old_token:
                    raise
                renewed |= old_token
            except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake):
                pass
            else:
                self._socket = socket
                return
            wait_s = pause_s(attempt) * random.uniform(0.5, 1)  # noqa: S311 - a spread
        raise Unanswered(f"{ATTEMPTS} attempts to connect to {self._url}")

    async def _introduce(self, socket: ClientConnection) -> None:
        await self._say_who(socket)
        if self._followed:
            after = {channel: seq for channel, seq in self._last.items() if channel in self._followed}
            await self._ask_directly(socket, {"type": "subscribe", "channels": sorted(self._followed), "after": after})
        # Others ask, and give up, meanwhile; what is asked after the last look goes out over this connection by itself.
        known: set[str] = set()
        while unsent := [each for each in self._pending if each not in known]:
            for request_id in unsent:
                if request_id in self._pending:
                    await socket.send(self._pending[request_id][0], text=True)
            known.update(unsent)

    async def _say_who(self, socket: ClientConnection) -> None:
        if self._token is None:
            await self._ask_directly(socket, {"type": "spectate"})
            return
        token = await self._token(self._refused_token)
        try:
            await self._ask_directly(socket, {"type": "authenticate", "token": token})
        except Refused as refusal:
            if refusal.code in OLD_TOKEN_CODES:
                self._refused_token = token
            raise

    async def _ask_directly(self, socket: ClientConnection, members: dict[str, Any]) -> None:
        """Ask before anybody else reads."""
        await socket.send(msgspec.json.encode(members | {"id": "first"}), text=True)
        # Not wait_for, which can lose a cancellation that meets an answer.
        async with asyncio.timeout(ANSWER_S):
            while True:
                told = await self._take(await socket.recv(decode=False))
                if isinstance(told, received.Problem) and told.id in (None, "first"):
                    raise Refused(told.problem)
                if told is not None and told.id == "first":
                    return

    async def _take(self, data: bytes) -> _Answer | None:
        """Give a frame to whom it is for; what answers a request is returned too."""
        try:
            told = received.decoder.decode(data)
        except msgspec.ValidationError as error:
            self._pass_over(msgspec.json.decode(data, type=_Envelope), error)
            return None
        if isinstance(told, _Answer):
            if told.id in self._pending and not self._pending[told.id][1].done():
                self._pending[told.id][1].set_result(told)
            return told
        if isinstance(told, received.Snapshot) or told.seq > self._last.get(told.channel, 0):
            # First put: a wait for room that is given up must not count as a frame that was got.
            await self._frames.put(told)
            self._last[told.channel] = told.seq
        return None

    def _pass_over(self, envelope: _Envelope, error: msgspec.ValidationError) -> None:
        if envelope.channel is not None:
            self._last[envelope.channel] = envelope.seq
        if envelope.id in self._pending and not self._pending[envelope.id][1].done():
            self._pending[envelope.id][1].set_exception(UnknownAnswer(f"a frame of an unknown form: {error}"))

    async def _close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()


def _left() -> Unanswered:
    return Unanswered("the stream was left before the answer")
