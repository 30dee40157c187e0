"""The live stream over a Redis that restarts, and beside clients that stall, vanish or never finish their handshake."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import pytest
from redis.exceptions import RedisError
from support.databases import Database
from support.gateway import Gateway, open_gateway
from support.live import HOST, PATIENCE_S, Client, connected, open_live, room_channel
from support.own_redis import OwnRedis, own_redis

from gateway.live import connection, server
from gateway.live.hub import Hub
from gateway.live.wire import PING
from keno.notify.streams import Publication, Streams

STALLED = 50
FLOOD_BATCHES = 60
FLOOD_BATCH = 10
HANDSHAKE = (
    b"GET /v1/live HTTP/1.1\r\nHost: live\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[OwnRedis]:
    async with own_redis(tmp_path / "redis") as started:
        yield started


@pytest.fixture
async def fragile(
    database: Database, owner_pool: asyncpg.Pool, redis_server: OwnRedis, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway on a Redis that the test may kill; it is back before the gateway is closed."""
    async with open_gateway(database, owner_pool, redis_server.url, tmp_path) as opened:
        yield opened


def masked(frame: dict[str, object]) -> bytes:
    data = json.dumps(frame).encode()
    assert len(data) < 126
    return bytes((0x81, 0x80 | len(data), 0, 0, 0, 0)) + data


async def publish(streams: Streams, channel: str, *numbers: int) -> None:
    """As the notifier does it: again until Redis has taken it."""
    body = b'{"type":"round.skipped","number":%d}'
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(RedisError, OSError):
                await streams.publish([Publication(channel, f"e-{number}", body % number) for number in numbers])
                return
            await asyncio.sleep(0.05)


async def follow(client: Client, channel: str) -> None:
    """Subscribe, again until Redis answers."""
    while (await client.ask("subscribe", channels=[channel]))["type"] != "subscribed":  # noqa: ASYNC110 - asks
        await asyncio.sleep(0.05)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what a server in this process counts
            await asyncio.sleep(0.02)


def told(client: Client) -> list[int]:
    return [each["number"] for each in client.seen if each["type"] == "round.skipped"]


def gaps(client: Client) -> int:
    return sum(each["type"] == "snapshot" and each["reason"] == "gap" for each in client.seen)


async def test_a_redis_that_restarts_with_its_data_costs_its_followers_no_frame_and_no_snapshot(
    fragile: Gateway, redis_server: OwnRedis
) -> None:
    channel, streams = room_channel((await fragile.room()).id), fragile.platform.streams
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(open_live(fragile.platform)) for _ in range(2)]
        clients = [await stack.enter_async_context(connected(live, spectate=True)) for live in lives for _ in range(2)]
        for client in clients:
            await follow(client, channel)
        await publish(streams, channel, 1)
        for restart in range(1, 4):
            # What is published just before the end may or may not have been read by then.
            await publish(streams, channel, 10 * restart)
            redis_server.kill()
            for client in clients:
                assert (await client.ask("ping"))["type"] == "pong"
            await redis_server.start()
            await publish(streams, channel, 10 * restart + 1, 10 * restart + 2)
        for client in clients:
            await client.until("round.skipped", number=32)
            assert told(client) == [1, 10, 11, 12, 20, 21, 22, 30, 31, 32]
            assert gaps(client) == 0


async def test_a_redis_that_comes_back_empty_is_told_as_a_gap_and_every_later_frame_arrives(
    fragile: Gateway, redis_server: OwnRedis
) -> None:
    channel, streams = room_channel((await fragile.room()).id), fragile.platform.streams
    async with open_live(fragile.platform) as live, connected(live, spectate=True) as client:
        await follow(client, channel)
        await publish(streams, channel, 1, 2)
        await client.until("round.skipped", number=2)
        before = client.last[channel]
        redis_server.kill()
        redis_server.lose_everything()
        await redis_server.start()
        await publish(streams, channel, 3)
        gap = await client.until("snapshot", reason="gap")
        assert gap["seq"] > before
        await publish(streams, channel, 4, 5)
        await client.until("round.skipped", number=5)
        assert told(client)[-2:] == [4, 5]
        assert gaps(client) == 1


async def test_who_was_told_subscribed_while_redis_failed_gets_the_frames_after_it(
    fragile: Gateway, redis_server: OwnRedis
) -> None:
    channel, streams = room_channel((await fragile.room()).id), fragile.platform.streams
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(open_live(fragile.platform))
        clients = [await stack.enter_async_context(connected(live, spectate=True)) for _ in range(4)]
        redis_server.freeze()
        asking = [asyncio.create_task(client.ask("subscribe", channels=[channel])) for client in clients]
        # All of them wait for the one that asks Redis.
        await asyncio.sleep(0.3)
        redis_server.kill()
        answers = await asyncio.gather(*asking)
        await redis_server.start()
        for client, answer in zip(clients, answers, strict=True):
            if answer["type"] != "subscribed":
                assert answer["problem"]["code"] == "unavailable"
                await follow(client, channel)
        await publish(streams, channel, 1)
        for client in clients:
            await client.until("round.skipped", number=1)


class HeldFollower:
    """Stands for a connection whose reader is slow: it lets the hub go on when the test says so."""

    def __init__(self) -> None:
        self.got = b""
        self.waits = asyncio.Event()
        self.goes_on = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.got += data

    put = write

    async def drained(self) -> bool:
        self.waits.set()
        await self.goes_on.wait()
        return True


async def test_who_joins_while_the_last_follower_leaves_gets_the_frames_after_it(gateway: Gateway) -> None:
    platform = gateway.platform
    channel = room_channel((await gateway.room()).id)
    hub = Hub(platform.streams, platform.rooms, platform.player_news)
    leaves, joins = HeldFollower(), HeldFollower()
    leaves.goes_on.set()
    await hub.follow(leaves, channel, channel, None)
    joining = asyncio.create_task(hub.follow(joins, channel, channel, None))
    await joins.waits.wait()
    hub.leave(leaves, [channel])
    joins.goes_on.set()
    await joining
    running = asyncio.create_task(hub.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            number = 0
            while b"round.skipped" not in joins.got:
                number += 1
                await publish(platform.streams, channel, number)
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert b"round.skipped" not in leaves.got


async def test_who_follows_several_channels_gets_the_frames_of_each_in_order_and_no_other(gateway: Gateway) -> None:
    streams = gateway.platform.streams
    channels = [room_channel((await gateway.room()).id) for _ in range(3)]
    wanted = [channels[:1], channels[1:], channels, channels[:2]]
    async with open_live(gateway.platform) as live, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(live, spectate=True)) for _ in wanted]
        for client, followed in zip(clients, wanted, strict=True):
            assert (await client.ask("subscribe", channels=followed))["type"] == "subscribed"
        for start in range(0, 100, 5):
            await streams.publish(
                [
                    Publication(channel, f"e-{number}", b'{"type":"round.skipped","number":%d}' % number)
                    for number in range(start, start + 5)
                    for channel in channels
                ]
            )
        for client, followed in zip(clients, wanted, strict=True):
            for _ in followed:
                await client.until("round.skipped", number=99)
            of_channel: dict[str, list[int]] = {channel: [] for channel in followed}
            for each in client.seen:
                if each["type"] == "round.skipped":
                    of_channel[each["channel"]].append(each["number"])
            assert of_channel == {channel: list(range(100)) for channel in followed}


class Remembered(server.LiveServer):
    """A live server that a test can look into."""

    last: server.LiveServer

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        Remembered.last = self

    def waiting_bytes(self) -> list[int]:
        """What waits in the process, for each of its connections."""
        open_ = (each._transport for each in self.connections if not each.gone)
        return [each.underlying_transport.get_write_buffer_size() for each in open_ if each is not None]


async def test_readers_that_stall_take_a_bounded_memory_and_are_dropped_while_others_get_every_frame(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LiveServer", Remembered)
    channel, streams = room_channel((await gateway.room()).id), gateway.platform.streams
    body = b'{"type":"round.skipped","number":1,"padding":"' + b"x" * 8_000 + b'"}'
    bound = connection.WAITING_BYTES_MAX + 2 * FLOOD_BATCH * (len(body) + 200)
    async with open_live(gateway.platform) as live, connected(live, spectate=True) as reader, AsyncExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(stalled := _raw(live.port))
            stalled.sendall(masked({"type": "subscribe", "channels": [channel]}))
        await follow(reader, channel)
        await until(lambda: sum(channel in each.channels for each in Remembered.last.connections) > STALLED)
        highest = 0
        for _ in range(FLOOD_BATCHES):
            await streams.publish([Publication(channel, uuid.uuid4().hex, body) for _ in range(FLOOD_BATCH)])
            for _ in range(FLOOD_BATCH):
                await reader.until("round.skipped")
            highest = max(highest, *Remembered.last.waiting_bytes())
        assert highest < bound
        await until(lambda: len(Remembered.last.connections) == 1)
        assert sum(Remembered.last.waiting_bytes()) == 0
        assert (await reader.ask("ping"))["type"] == "pong"


def _raw(port: int) -> socket.socket:
    """A client that is in as a spectator, and from then on only does what the test does."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.connect((HOST, port))
    raw.sendall(HANDSHAKE + masked({"type": "spectate"}))
    return raw


async def test_a_peer_that_vanished_is_cut_off_after_the_quiet_time_and_gives_its_place_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "QUIET_S", 0.2)
    monkeypatch.setattr(server, "SWEEP_S", 0.05)
    channel = room_channel((await gateway.room()).id)
    async with (
        open_live(gateway.platform, live_address_connections_max=2) as live,
        connected(live, spectate=True) as answers,
    ):
        await follow(answers, channel)
        with _raw(live.port) as vanished:
            vanished.sendall(masked({"type": "subscribe", "channels": [channel]}))
            heard = await _heard(vanished)
        assert heard.endswith(bytes((0x80 | PING, 0)))
        async with connected(live, spectate=True) as next_one:
            assert (await next_one.ask("ping"))["type"] == "pong"
        # Who answers pings stays.
        assert (await answers.ask("ping"))["type"] == "pong"


async def test_headers_that_drip_in_are_cut_off_with_the_handshake_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.5)
    async with open_live(gateway.platform) as live, connected(live, spectate=True) as neighbour:
        slow = [socket.create_connection((HOST, live.port)) for _ in range(20)]
        dripping = asyncio.create_task(_drip(slow))
        try:
            assert [await _heard(each) for each in slow] == [b""] * len(slow)
        finally:
            dripping.cancel()
            for each in slow:
                each.close()
        assert (await neighbour.ask("ping"))["type"] == "pong"


async def _drip(sockets: list[socket.socket]) -> None:
    """One more byte of a header that never ends, every moment, so that none of them is ever idle."""
    piece = b"GET /v1/live HTTP/1.1\r\nX-Slow: "
    while True:
        for each in sockets:
            with suppress(OSError):
                each.send(piece)
        piece = b"x"
        await asyncio.sleep(0.02)


async def _heard(raw: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    raw.setblocking(False)
    heard = b""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionResetError):
            while piece := await asyncio.get_running_loop().sock_recv(raw, 65_536):
                heard += piece
    return heard


async def test_a_process_that_may_open_few_files_asks_for_as_many_as_connections_may_be(gateway: Gateway) -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
    try:
        async with open_live(gateway.platform, live_connections_max=700) as live, connected(live, spectate=True):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1_700, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
