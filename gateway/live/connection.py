"""One WebSocket: its frames in, its frames out, and every reason for which it is closed.

The first frame says who it is. Frames that are wrong are answered with a problem and change nothing; a client that goes
on with them meets the limit of frames. Frames are worked on one after another, bets beside them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gateway.answers import Answer
from gateway.auth.entrance import sender_of
from gateway.auth.exchange import session_answer
from gateway.auth.limits import counted, require_within
from gateway.live.fanout import Put
from gateway.live.wire import PING, PONG, Close, encoded, reason_bytes
from gateway.placing import place_player_bet
from gateway.problems import ProblemError, problem, problem_of
from keno.errors import KenoError
from keno.identity.networks import address_of
from keno.identity.sessions import Session
from keno.identity.tokens import ACCESS_TOKEN_S
from keno.infra.transient import is_transient
from keno.notify import frames
from keno.notify.players import player_channel
from keno.phrases import said
from keno.requests import decode_as
from keno.risk import rates
from keno.texts.languages import Language

if TYPE_CHECKING:
    from gateway.live.server import LiveServer

MESSAGE_BYTES_MAX: Final = 16 * 1024
WAITING_BYTES_MAX: Final = 128 * 1024
"""What may wait for a reader in this process. One that is further behind is too slow."""
FRAMES_A_SECOND_MAX: Final = 50
FRAMES_BURST: Final = 200
TASKS_MAX: Final = 64
LINGER_S: Final = 2.0
"""How long a client may take to answer a close frame, and to read what comes before it."""
DRAIN_S: Final = 10.0
_DRAIN_LOOK_S: Final = 0.01

_AskedT = TypeVar("_AskedT", bound=frames.Asked)
_log = structlog.get_logger("gateway.live")


class Connection(WSListener):
    """A player or a spectator."""

    def __init__(self, server: LiveServer, address: str | None, language: Language) -> None:
        self.server = server
        self.address = address
        self.language = language
        """That of the handshake, and once a player is there that of the session."""
        self.session: Session | None = None
        self.known = False
        self.closed = False
        self.gone = False
        self.channels: dict[str, str] = {}
        """Our names of the channels it follows, by its own."""
        self.seen_s = self.asked_s = self.began_s = time.monotonic()
        """When a frame came, when one asked for something, and when it connected."""
        self.pinged = False
        self._transport: WSTransport | None = None
        self.put: Put
        """Of the transport, from when there is one."""
        self._credit = float(FRAMES_BURST)
        self._credit_s = self.began_s
        self._message = bytearray()
        """What has come of a message."""
        self._waiting: deque[Coroutine[Any, Any, None]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._bets: set[asyncio.Task[None]] = set()

    # ---- what the server library calls ----

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        self.put = transport.underlying_transport.write
        transport.underlying_transport.set_write_buffer_limits(high=WAITING_BYTES_MAX)
        if self.address is None:
            name = transport.underlying_transport.get_extra_info("peername")
            peer = str(name[0]) if name else "unknown"
            self.address = sender_of(address_of(peer), peer)
        if not self.server.admit(self):
            self.close(Close.TOO_MANY_CONNECTIONS, "too many connections from your address")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is closed, by whomever."""
        self.gone = True
        self._leave()
        self.channels.clear()
        for coroutine in self._waiting:
            coroutine.close()
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
        self.server.dismiss(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came in."""
        self.seen_s, self.pinged = time.monotonic(), False
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            if not self.closed:
                self.close(Close.NORMAL, "")
            transport.disconnect()
        elif self.closed or kind == WSMsgType.PONG:
            pass
        elif not self._pay():
            self.close(Close.TOO_MANY_FRAMES, said("more than {most} frames a second", most=FRAMES_A_SECOND_MAX))
        elif kind == WSMsgType.PING:
            self.write(encoded(frame.get_payload_as_bytes(), PONG))
        elif kind == WSMsgType.BINARY:
            self.close(Close.UNSUPPORTED, "frames are text")
        else:
            self._gather(frame.get_payload_as_bytes(), frame.fin)

    def pause_writing(self) -> None:
        """More waits for the client than may."""
        self.close(Close.TOO_SLOW, "too slow: connect again and subscribe with after")

    def resume_writing(self) -> None:
        """The client reads what came before the close frame."""

    # ---- what the process calls ----

    def write(self, data: bytes) -> None:
        """Send whole encoded frames, unless it is closed."""
        if not self.closed and data:
            self.put(data)

    async def drained(self) -> bool:
        """Wait until what was written is on its way; False where the connection is closed or takes too long."""
        give_up_s = time.monotonic() + DRAIN_S
        while not self.closed:
            assert self._transport is not None, "connected"  # noqa: S101
            if not self._transport.underlying_transport.get_write_buffer_size():
                return True
            if time.monotonic() > give_up_s:
                self.pause_writing()
            await asyncio.sleep(_DRAIN_LOOK_S)
        return False

    def ping(self) -> None:
        """Ask whether anybody is there."""
        self.pinged = True
        self.write(encoded(b"", PING))

    def close(self, code: Close, reason: str) -> None:
        """Send a close frame after what was written, its reason in the language of the client; cut the connection off
        where that takes too long.
        """
        if self.closed:
            return
        self._leave()
        if self._transport is not None:
            # The library takes any number, its types only those of the RFC.
            self._transport.send_close(code, reason_bytes(self.language.phrase(reason)))  # type: ignore[arg-type]
            asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def abort(self) -> None:
        """Cut the connection off."""
        self._leave()
        if self._transport is not None and not self.gone:
            self._transport.underlying_transport.abort()

    def _leave(self) -> None:
        self.closed = True
        self.server.hub.leave(self, self.channels.values())

    # ---- frames ----

    def _pay(self) -> bool:
        now_s = self.seen_s
        self._credit = min(FRAMES_BURST, self._credit + (now_s - self._credit_s) * FRAMES_A_SECOND_MAX) - 1
        self._credit_s = now_s
        return self._credit >= 0

    def _gather(self, piece: bytes, complete: bool) -> None:
        self._message += piece
        if len(self._message) > MESSAGE_BYTES_MAX:
            self.close(Close.TOO_BIG, said("a message has at most {most} bytes", most=MESSAGE_BYTES_MAX))
        elif complete:
            message = bytes(self._message)
            self._message.clear()
            self._take(message)

    def _take(self, message: bytes) -> None:
        self.asked_s = self.seen_s
        try:
            asked = decode_as(frames.asked_decoder, message)
        except KenoError as error:
            self._refuse(None, problem_of(error, self.language))
            return
        first = isinstance(asked, frames.Authenticate | frames.Spectate)
        if not first and not self.known and not self._waiting and self._worker is None:
            self.close(Close.NOT_AUTHENTICATED, "the first frame is authenticate or spectate")
        elif len(self._waiting) + len(self._bets) >= TASKS_MAX:
            self._refuse(asked.id, problem("overloaded", "wait for the answers to your frames", language=self.language))
        elif isinstance(asked, frames.Bet) and self.known:
            task = asyncio.create_task(self._answered(asked, self._bet))
            self._bets.add(task)
            task.add_done_callback(self._bets.discard)
        else:
            self._waiting.append(self._answered(asked, self._work_on))
            if self._worker is None:
                self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            await self._waiting.popleft()
        self._worker = None

    async def _answered(self, asked: _AskedT, work: Callable[[_AskedT], Awaitable[None]]) -> None:
        try:
            await work(asked)
        except KenoError as error:
            self._refuse(asked.id, problem_of(error, self.language))
            if not self.known:
                self.close(Close.NOT_AUTHENTICATED, "not let in")
        except Exception as failure:  # noqa: BLE001 - one frame that fails must not end the process
            if is_transient(failure):
                # Of a server that is away: the same for every client, and nothing of ours to look for.
                _log.warning("frame.unavailable", kind=type(asked).__name__, failure=repr(failure))
            else:
                _log.error("frame.failed", kind=type(asked).__name__, exc_info=failure)
            code = "unavailable" if is_transient(failure) else "internal"
            self._refuse(asked.id, problem(code, language=self.language))

    async def _work_on(self, asked: frames.Asked) -> None:
        match asked:
            case frames.Authenticate() | frames.Spectate():
                await self._come_in(asked)
            case _ if not self.known:
                raise ProblemError("token_missing", "the first frame was not accepted")
            case frames.Subscribe():
                await self._subscribe(asked)
            case frames.Unsubscribe():
                self._unsubscribe(asked.channels)
                self._send(frames.Unsubscribed(id=asked.id, channels=asked.channels))
            case frames.Bet():
                await self._bet(asked)
            case frames.Ping():
                self._send(frames.Pong(id=asked.id))

    async def _come_in(self, asked: frames.Authenticate | frames.Spectate) -> None:
        if self.known:
            raise ProblemError("invalid_request", "only the first frame says who you are", "type")
        sessions, now_ms = self.server.sessions, time.time_ns() // 1_000_000
        if isinstance(asked, frames.Spectate):
            self.known = True
            self._send(frames.Welcome(id=asked.id))
            return
        if (asked.token is None) == (asked.ticket is None):
            raise ProblemError("invalid_request", "give either a token or a ticket", "token")
        tokens = None
        if asked.ticket is not None:
            issued = await sessions.exchange(asked.ticket, now_ms)
            self.session = issued.session
            tokens = {
                "access_token": issued.access_token,
                "expires_in_s": ACCESS_TOKEN_S,
                "refresh_token": issued.refresh_token,
            }
        elif asked.token is not None:
            self.session = await sessions.authenticate(asked.token, now_ms)
        assert self.session is not None, "one of both was given"  # noqa: S101
        self.language = self.server.texts.for_locale(self.session.locale).to_players()
        self.known = True
        self._send(frames.Welcome(id=asked.id, session=session_answer(self.session), tokens=tokens))

    async def _subscribe(self, asked: frames.Subscribe) -> None:
        if len(self.channels.keys() | set(asked.channels)) > frames.CHANNELS_MAX:
            raise ProblemError(
                "invalid_request", said("follow at most {most} channels", most=frames.CHANNELS_MAX), "channels"
            )
        names = {label: await self._name(label) for label in asked.channels}
        for label, name in names.items():
            # Once more is from anew.
            self._unsubscribe([label])
            player_id = self.session.player_id if self.session and label == frames.PLAYER_CHANNEL else None
            await self.server.hub.follow(self, name, label, asked.after.get(label), player_id)
            if self.closed:
                self.server.hub.leave(self, [name])
                return
            self.channels[label] = name
        self._send(frames.Subscribed(id=asked.id, channels=asked.channels))

    async def _name(self, label: str) -> str:
        """Our name of a channel. Raises ProblemError where there is none for this client."""
        if label == frames.PLAYER_CHANNEL:
            if self.session is None:
                raise ProblemError("token_missing", "the channel player is for players", "channels")
            return player_channel(self.session.player_id, self.session.currency)
        operator_id = self.session.operator_id if self.session else None
        room_id = UUID(label.partition(":")[2])
        if not self.server.hub.knows(room_id):
            # The database is asked for it, as by a call over HTTP.
            await self._take_from_address()
        if not await self.server.hub.may_follow(room_id, operator_id):
            raise ProblemError("room_not_found", said("you have no channel {label}", label=label), "channels")
        return label

    async def _take_from_address(self) -> None:
        assert self.address is not None, "known since the handshake"  # noqa: S101
        buckets = (rates.of_address(self.address),)
        standings = await counted(self.server.limits, buckets, reads=True)
        if standings is not None:
            require_within(buckets, standings)

    def _unsubscribe(self, labels: list[str]) -> None:
        self.server.hub.leave(self, [self.channels.pop(label) for label in labels if label in self.channels])

    async def _bet(self, asked: frames.Bet) -> None:
        if self.session is None:
            raise ProblemError("token_missing", "only players bet")
        # As for every request over HTTP: whether the session lives is asked with each bet.
        session = await self.server.sessions.living(
            self.session.id, self.session.player_id, time.time_ns() // 1_000_000
        )
        buckets = rates.of_session(session.player_id, session.id)
        require_within(buckets, await self.server.limits.take(buckets))
        with self.server.capacity.held(len(bytes(asked.bet))):
            answer = await place_player_bet(self.server.bets, session, bytes(asked.bet), self.language)
        if answer.status != 201:
            self._refuse(asked.id, answer)
            return
        replayed = "Idempotent-Replayed" in answer.headers
        self._send(frames.BetAnswer(id=asked.id, status=201, replayed=replayed, bet=msgspec.Raw(answer.body)))
        if not replayed:
            self.server.bet_stands(session, answer.body)

    def _refuse(self, request_id: str | None, answer: Answer) -> None:
        self._send(frames.Problem(id=request_id, status=answer.status, problem=msgspec.Raw(answer.body)))

    def _send(self, frame: frames.Told) -> None:
        self.write(encoded(frames.encode(frame)))
