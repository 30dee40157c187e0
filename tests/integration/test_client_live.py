"""The Python client's live stream: frames in order over lost connections, bets over the socket, and its ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from support.cables import laid_cable
from support.gateway import ORIGIN, Casino, Gateway
from support.live import Live as LiveProcess
from support.live import open_live, room_channel
from support.players import launch
from support.ports import free_port

from keno.client import Client, Live, Player, PlayerBetRequest, Refused, StreamEnded, Unanswered, attempts
from keno.client import live as live_module
from keno.notify.frames import RoundSkipped
from keno.notify.received import BetAccepted, Snapshot
from keno.notify.streams import Publication, Streams
from keno.rounds.room_store import Room

BODY = b'{"type":"round.skipped","number":%d}'
NEWER = b'{"type":"round.of_a_newer_server","number":%d}'


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PAUSE_S", 0.01)


@pytest.fixture
async def live(gateway: Gateway) -> AsyncIterator[LiveProcess]:
    async with open_live(gateway.platform) as opened:
        yield opened


@asynccontextmanager
async def player_of(gateway: Gateway, casino: Casino, url: str) -> AsyncIterator[Player]:
    deposit = {"transaction_id": "d-1", "amount_minor": 100_000, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    ticket = (await launch(casino))["ticket"]
    line = httpx.ASGITransport(app=gateway.client._transport.app)  # type: ignore[attr-defined]
    async with await Player.enter(ORIGIN, ticket, transport=line, live_url=url) as player:
        yield player


def bet(room: Room, number: int) -> PlayerBetRequest:
    return {"transaction_id": f"t-{number}", "room": str(room.id), "picks": [1, 2], "stake_minor": 100}


async def publish(streams: Streams, channel: str, body: bytes, *numbers: int) -> None:
    await streams.publish([Publication(channel, f"e-{number}", body % number) for number in numbers])


async def numbers_of(stream: Live, last: int) -> list[int]:
    """The numbers of the skipped rounds up to the last."""
    found = []
    async with asyncio.timeout(20):
        async for frame in stream:
            assert not isinstance(frame, Snapshot), "a gap"
            if isinstance(frame, RoundSkipped):
                found.append(frame.number)
                if frame.number == last:
                    break
    return found


async def test_a_spectator_gets_every_frame_once_over_a_connection_that_breaks(
    gateway: Gateway, live: LiveProcess
) -> None:
    streams, channel = gateway.platform.streams, room_channel((await gateway.room()).id)
    casino = await gateway.casino()
    async with (
        laid_cable(live.url) as (cable, near),
        Client(ORIGIN, casino.key_id, casino.key, live_url=near) as client,
        client.live(channel) as stream,
    ):
        assert isinstance(await anext(stream), Snapshot)
        await publish(streams, channel, BODY, 1, 2)
        assert await numbers_of(stream, 2) == [1, 2]
        for number in (3, 5, 7):
            cable.pull()
            await publish(streams, channel, BODY, number, number + 1)
            cable.plug()
            assert await numbers_of(stream, number + 1) == [number, number + 1]


async def test_a_server_that_restarts_says_when_to_come_back_and_nothing_is_missed(gateway: Gateway) -> None:
    streams, channel, port = gateway.platform.streams, room_channel((await gateway.room()).id), free_port()
    async with open_live(gateway.platform, port) as first:
        stream = Live(ORIGIN, [channel], url=first.url)
        await stream.__aenter__()
        assert isinstance(await anext(stream), Snapshot)
        await publish(streams, channel, BODY, 1)
    await publish(streams, channel, BODY, 2)
    async with open_live(gateway.platform, port):
        await publish(streams, channel, BODY, 3)
        assert await numbers_of(stream, 3) == [1, 2, 3]
        await stream.__aexit__(None, None, None)


async def test_frames_that_find_no_room_while_coming_back_are_asked_for_again(
    gateway: Gateway, live: LiveProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, channel = gateway.platform.streams, room_channel((await gateway.room()).id)
    monkeypatch.setattr(live_module, "WAITING_FRAMES_MAX", 2)
    connections, connect = [], live_module.connect

    def counted(url: str, **more: Any) -> Any:
        connections.append(url)
        return connect(url, **more)

    monkeypatch.setattr(live_module, "connect", counted)
    async with laid_cable(live.url) as (cable, near), Live(ORIGIN, [channel], url=near) as stream:
        assert isinstance(await anext(stream), Snapshot)
        with monkeypatch.context() as impatient:
            impatient.setattr(live_module, "ANSWER_S", 0.5)
            cable.pull()
            await publish(streams, channel, BODY, *range(1, 9))
            cable.plug()
            await _until(stream._frames.full)
            before = len(connections)
            await _until(lambda: len(connections) > before)
        assert await numbers_of(stream, 8) == [*range(1, 9)]


async def test_a_frame_of_a_newer_server_is_passed_over(gateway: Gateway, live: LiveProcess) -> None:
    streams, channel = gateway.platform.streams, room_channel((await gateway.room()).id)
    async with Live(ORIGIN, [channel], url=live.url) as stream:
        assert isinstance(await anext(stream), Snapshot)
        await publish(streams, channel, NEWER, 1)
        await publish(streams, channel, BODY, 2)
        assert await numbers_of(stream, 2) == [2]


async def test_bets_over_the_socket_are_answered_refused_and_told(gateway: Gateway, live: LiveProcess) -> None:
    casino, room = await gateway.casino(), await gateway.room()
    async with player_of(gateway, casino, live.url) as player, player.live("player") as stream:
        snapshot = await anext(stream)
        assert isinstance(snapshot, Snapshot)
        assert (snapshot.balance_minor, snapshot.open_bets) == (100_000, [])
        placed, same = await stream.place_bet(bet(room, 1)), await stream.place_bet(bet(room, 1))
        assert placed == same == await player.place_bet(bet(room, 1))
        accepted = await anext(stream)
        assert isinstance(accepted, BetAccepted)
        assert accepted.bet == placed
        with pytest.raises(Refused, match="transaction_conflict"):
            await stream.place_bet(bet(room, 1) | {"picks": [3]})
        with pytest.raises(Refused, match="room_not_found"):
            await stream.subscribe("room:00000000-0000-4000-8000-000000000000")
        await stream.ping()
        await stream.subscribe(room_channel(room.id))
        await stream.unsubscribe("player", room_channel(room.id))


async def test_a_bet_whose_answer_is_lost_is_placed_once(
    gateway: Gateway, live: LiveProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    casino, room = await gateway.casino(), await gateway.room()
    async with laid_cable(live.url) as (cable, near), player_of(gateway, casino, near) as player:
        async with player.live() as stream:
            cable.pull()
            placing = asyncio.create_task(stream.place_bet(bet(room, 1)))
            await asyncio.sleep(0.05)
            cable.plug()
            placed = await placing
        assert (await gateway.stored())["bets"] == 1
        assert (await player.bet(placed.bet_id)).transaction_id == "t-1"


async def test_a_stream_whose_token_is_refused_gets_another_and_goes_on(gateway: Gateway, live: LiveProcess) -> None:
    async with player_of(gateway, await gateway.casino(), live.url) as player:
        await gateway.platform.signing_keys.rotate("player-token", compromised=True, actor="test")
        async with player.live("player") as stream:
            await stream.ping()

        async def old(_: str | None) -> str:
            return "old"

        with pytest.raises(Refused, match="token_invalid"):
            async with Live(ORIGIN, [], old, url=live.url):
                pass


async def test_the_stream_of_a_session_that_ends_says_so(gateway: Gateway, live: LiveProcess) -> None:
    casino = await gateway.casino()
    async with player_of(gateway, casino, live.url) as player, player.live("player") as stream:
        assert isinstance(await anext(stream), Snapshot)
        assert (await casino.send("DELETE", "/v1/players/p-1/sessions")).status_code == 200
        with pytest.raises(StreamEnded) as ended:
            await anext(stream)
        assert ended.value.code == 4403
        with pytest.raises(StreamEnded):
            await stream.ping()
    with pytest.raises(Refused, match="room_not_found"):
        async with Live(ORIGIN, ["room:00000000-0000-4000-8000-000000000000"], url=live.url):
            pass


async def test_a_stream_whose_end_nobody_was_told_of_yet_says_why_it_ended() -> None:
    async def ends() -> None:
        raise StreamEnded(4403, "over")

    stream = Live(ORIGIN, [])
    stream._running = asyncio.create_task(ends())
    stream._running.add_done_callback(stream._stopped)
    # Between the end of the task and its callbacks.
    await asyncio.sleep(0)
    assert stream._running.done()
    with pytest.raises(StreamEnded):
        await anext(stream)


class _FakeSocket:
    """Welcomes, and has another request asked and one given up for each that it is sent, up to three."""

    def __init__(self, stream: Live) -> None:
        self._stream = stream
        self.sent: list[bytes] = []

    async def recv(self, **_: object) -> bytes:
        return b'{"type":"welcome","id":"first","session":null}'

    async def send(self, sent: bytes, **_: object) -> None:
        self.sent.append(sent)
        pending, number = self._stream._pending, len(self.sent)
        if 1 < number < 4:
            pending[f"n{number}"] = b"n%d" % number, asyncio.get_running_loop().create_future()
            pending.pop("given up", None)


async def test_what_is_asked_while_pending_requests_are_sent_again_goes_out_too() -> None:
    stream = Live(ORIGIN, [])
    for name in ("a", "given up", "b"):
        stream._pending[name] = name.encode(), asyncio.get_running_loop().create_future()
    socket = _FakeSocket(stream)
    await stream._introduce(socket)  # type: ignore[arg-type]
    assert socket.sent[1:] == [b"a", b"b", b"n2", b"n3"]


async def test_a_stream_that_is_left_ends_for_who_still_iterates(gateway: Gateway, live: LiveProcess) -> None:
    channel = room_channel((await gateway.room()).id)
    async with Live(ORIGIN, [channel], url=live.url) as stream:
        reading = asyncio.create_task(_all(stream))
        await stream.ping()
    assert [type(frame) for frame in await reading] == [Snapshot]


async def test_who_still_asks_when_a_stream_is_left_is_told_at_once(live: LiveProcess) -> None:
    async with laid_cable(live.url) as (cable, near):
        async with Live(ORIGIN, [], url=near) as stream:
            cable.pull()
            asking = asyncio.create_task(stream.ping())
            await asyncio.sleep(0.05)
        for asked in (asking, stream.ping()):
            with pytest.raises(Unanswered, match="left"):
                async with asyncio.timeout(5):
                    await asked


async def test_a_server_that_is_not_there_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "ATTEMPTS", 2)
    with pytest.raises(Unanswered, match="2 attempts"):
        async with Live(f"http://127.0.0.1:{free_port()}", []):
            pass


async def _until(question: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not question():  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.01)


async def _all(stream: Live) -> list[object]:
    return [frame async for frame in stream]
