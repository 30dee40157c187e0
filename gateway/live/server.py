"""The live process: who may connect, how many, for how long, and how all are sent away at the end.

HTTP/1.1 without TLS: a proxy ends TLS in front of it, and shows it under the origin of the gateway.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
import uuid
from collections import Counter
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from gateway.auth.entrance import sender_of
from gateway.desk import Capacity
from gateway.live.connection import MESSAGE_BYTES_MAX, Connection
from gateway.live.hub import Hub
from gateway.live.wire import Close
from gateway.problems import PROBLEM_JSON, problem
from keno.bootstrap import Platform
from keno.identity.networks import caller
from keno.identity.sessions import Session, SessionStoreError
from keno.infra.listening import listening
from keno.infra.transient import is_transient
from keno.notify import frames
from keno.notify.players import player_channel
from keno.notify.streams import Publication
from keno.phrases import said
from keno.texts.languages import Language

PATH: Final = "/v1/live"
KNOWN_S: Final = 10.0
"""How long a connection may take to say who it is."""
QUIET_S: Final = 25.0
"""After this without a frame a client is asked whether it is there, and after as long again it is cut off."""
IDLE_S: Final = 300.0
"""How long a connection may follow no channel and send nothing."""
HANDSHAKE_S: Final = 5.0
SWEEP_S: Final = 1.0
SESSIONS_SWEEP_S: Final = 10.0
CLOSING_S: Final = 5.0
RETURN_SPREAD_MS: Final = 5_000
"""Over how long clients that are sent away are asked to spread their return."""
# What waits in the kernel for a client that does not read.
SEND_BUFFER_BYTES: Final = 64 * 1024
_BACKLOG: Final = 4_096
_OTHER_FILES: Final = 1_000
"""What a process has open beside its connections, and more."""
_BALANCES_EVERY_S: Final = 0.25

_log = structlog.get_logger("gateway.live")


class LiveServer:
    """All connections of a process. `hub` must be running."""

    def __init__(self, platform: Platform) -> None:
        self.hub = Hub(platform.streams, platform.rooms, platform.player_news)
        self.sessions = platform.sessions
        self.bets = platform.bets
        self.limits = platform.limits
        self.texts = platform.texts
        self.texts.follow()
        self.capacity = Capacity()
        self.connections: set[Connection] = set()
        self._config = platform.config
        self._streams = platform.streams
        self._news = platform.player_news
        self._origins = {*platform.config.public_origins, *platform.config.player_origins}
        self._by_address: Counter[str] = Counter()
        self._accepted: list[Publication] = []
        self._bettors: set[int] = set()

    def route(self, request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener:
        """The connection that a handshake opens, or the problem it is answered with."""
        path = request.path.partition(b"?")[0].decode("latin-1")
        if path == "/healthz":
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(b'{"live":true}'), None)
        if path != PATH:
            return self._refusal("not_found", request)
        pages = request.headers.getall("Origin", [])
        if len(pages) > 1 or any(page not in self._origins for page in pages):
            return self._refusal("origin_not_allowed", request)
        if len(self.connections) >= self._config.live_connections_max:
            return self._refusal("overloaded", request)
        address = None
        if self._config.proxies_count:
            lines = request.headers.getall("X-Forwarded-For", [])
            address = sender_of(caller(None, lines, self._config.proxies_count), "unknown")
        return Connection(self, address, self._language(request))

    def admit(self, connection: Connection) -> bool:
        """Count a connection that has shaken hands; False where its address has too many."""
        assert connection.address is not None, "known since the handshake"  # noqa: S101
        self.connections.add(connection)
        self._by_address[connection.address] += 1
        return self._by_address[connection.address] <= self._config.live_address_connections_max

    def dismiss(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        if connection in self.connections and connection.address is not None:
            self.connections.discard(connection)
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def bet_stands(self, session: Session, bet: bytes) -> None:
        """A bet was accepted here: all connections of the player are told, soon."""
        found = msgspec.json.decode(bet)
        channel = player_channel(session.player_id, session.currency)
        body = frames.body_of(frames.BetAccepted(bet=found))
        self._accepted.append(Publication(channel, f"accepted:{found['bet_id']}", body))
        self._bettors.add(session.player_id)

    async def tell_bettors(self) -> None:
        """Publish accepted bets and the balances after them, all of a moment at once, until cancelled."""
        while True:
            await asyncio.sleep(_BALANCES_EVERY_S)
            accepted, self._accepted = self._accepted, []
            bettors, self._bettors = self._bettors, set()
            try:
                if accepted:
                    balances = await self._news.balances(uuid.uuid4().hex, sorted(bettors))
                    await self._streams.publish([*accepted, *balances])
            except Exception as failure:
                if not is_transient(failure):
                    raise
                self._accepted, self._bettors = accepted + self._accepted, bettors | self._bettors

    async def sweep(self) -> None:
        """Look after quiet connections, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = time.monotonic()
            for connection in list(self.connections):
                _look_after(connection, now_s)

    async def end_sessions(self) -> None:
        """Close the connections of sessions at the moment in which they end, until cancelled."""
        while True:
            try:
                look_s = 0.0
                async for ended in self.sessions.listen_for_ends():
                    if ended is not None and ended.startswith("player:"):
                        look_s = 0.0
                    elif ended is not None:
                        self._cut_off({ended})
                    if time.monotonic() >= look_s:
                        # What ran out, and what was said while nobody listened.
                        look_s = time.monotonic() + SESSIONS_SWEEP_S
                        self._cut_off(await self.sessions.ended_of(self._open_sessions()))
            except SessionStoreError as failure:
                _log.warning("sessions.unheard", failure=repr(failure.__cause__))
                await asyncio.sleep(SWEEP_S)

    async def send_all_away(self) -> None:
        """Close every connection with a hint when to come back, and wait for them, for a while."""
        leaving = list(self.connections)
        for place, connection in enumerate(leaving):
            after_ms = RETURN_SPREAD_MS * place // max(len(leaving), 1)
            reason = said("restart: connect again in {after_ms} ms and subscribe with after", after_ms=after_ms)
            connection.close(Close.RESTART, reason)
        until_s = time.monotonic() + CLOSING_S
        while self.connections and time.monotonic() < until_s:  # noqa: ASYNC110 - at the end, for a moment
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()

    def _language(self, request: WSUpgradeRequest) -> Language:
        return self.texts.for_header(request.headers.getall("Accept-Language", [])).to_players()

    def _refusal(self, code: str, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        answer = problem(code, language=self._language(request))
        headers = answer.headers | {"Content-Type": PROBLEM_JSON}
        response = WSUpgradeResponse.create_error_response(HTTPStatus(answer.status), answer.body, headers)
        return WSUpgradeResponseWithListener(response, None)

    def _open_sessions(self) -> list[Session]:
        sessions = (each.session for each in self.connections if each.session is not None)
        return list({session.id: session for session in sessions}.values())

    def _cut_off(self, ended: set[str]) -> None:
        for connection in list(self.connections) if ended else ():
            if connection.session is not None and connection.session.id in ended:
                connection.close(Close.SESSION_ENDED, "the session is over")


def _look_after(connection: Connection, now_s: float) -> None:
    quiet_s = now_s - connection.seen_s
    if not connection.known and now_s - connection.began_s > KNOWN_S:
        reason = said("no authenticate or spectate within {seconds:g} s", seconds=KNOWN_S)
        connection.close(Close.NOT_AUTHENTICATED, reason)
    elif connection.pinged and quiet_s > 2 * QUIET_S:
        connection.abort()
    elif not connection.channels and now_s - max(connection.asked_s, connection.began_s) > IDLE_S:
        connection.close(Close.IDLE, "no channel and no frame")
    elif quiet_s > QUIET_S and not connection.pinged:
        connection.ping()


async def serve_live(platform: Platform, stop: asyncio.Event) -> None:
    """Serve the live stream until `stop`, then send everybody away. Raises ConfigError where it cannot listen."""
    config = platform.config
    # What it would log as errors are the mistakes of clients; our own are logged where they are caught.
    logging.getLogger("picows.server").setLevel(logging.CRITICAL)
    _allow_files(config.live_connections_max + _OTHER_FILES)
    live = LiveServer(platform)
    listening = _listen(config.host, config.live_port)
    server = await ws_create_server(
        live.route,
        sock=listening,
        backlog=_BACKLOG,
        websocket_handshake_timeout=HANDSHAKE_S,
        enable_auto_pong=False,
        max_frame_size=MESSAGE_BYTES_MAX,
        read_buffer_init_size=1024,
    )
    _log.info("server.started", host=config.host, port=config.live_port)
    works = [live.hub.run(), live.hub.tell_players(), live.tell_bettors(), live.sweep(), live.end_sessions()]
    tasks = [asyncio.create_task(work) for work in works]
    stopping = asyncio.create_task(stop.wait())
    try:
        finished, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await live.send_all_away()
        for task in finished - {stopping}:
            task.result()
    finally:
        server.close()
        await _end(*tasks, stopping)


def _allow_files(wanted: int) -> None:
    """As many open files as the system lets us: who starts a process often leaves it 1,024."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    within = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if allowed != resource.RLIM_INFINITY and allowed < within:
        resource.setrlimit(resource.RLIMIT_NOFILE, (within, most))
    if within < wanted:
        _log.warning("server.files_limited", allowed=within, wanted=wanted)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels until all have ended: a cancellation that meets an answer of Redis can get lost in its client."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=1.0)
    await asyncio.gather(*tasks, return_exceptions=True)


def _listen(host: str, port: int) -> socket.socket:
    with listening(host, port):
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind(address)
    return listener
