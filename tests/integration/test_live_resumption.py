"""Channels of the live stream over lost connections, several processes and a Redis that goes away."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis
from support.gateway import Gateway
from support.live import HOST, Client, Live, connected, open_live, room_channel
from websockets.exceptions import ConnectionClosed

from keno.notify import streams as kept
from keno.notify.streams import Publication, Streams

BODY = b'{"type":"round.skipped","number":%d}'


@pytest.fixture
async def live(gateway: Gateway) -> AsyncIterator[Live]:
    async with open_live(gateway.platform) as opened:
        yield opened


@pytest.fixture
def streams(gateway: Gateway) -> Streams:
    return gateway.platform.streams


async def publish(streams: Streams, channel: str, *numbers: int) -> None:
    await streams.publish([Publication(channel, f"e-{number}", BODY % number) for number in numbers])


async def read(client: Client, *numbers: int) -> None:
    for number in numbers:
        assert (await client.until("round.skipped"))["number"] == number


async def test_who_comes_back_to_another_process_gets_what_it_missed_and_nothing_twice(
    gateway: Gateway, live: Live, streams: Streams
) -> None:
    channel = room_channel((await gateway.room()).id)
    await publish(streams, channel, 1, 2)
    async with connected(live, spectate=True) as client:
        await client.ask("subscribe", channels=[channel])
        await publish(streams, channel, 3, 3, 4)
        await read(client, 3, 4)
        last = client.last[channel]
    await publish(streams, channel, 5, 6)
    async with open_live(gateway.platform) as other, connected(other, spectate=True) as client:
        client.last[channel] = last
        await client.ask("subscribe", channels=[channel], after={channel: last})
        await publish(streams, channel, 7)
        await read(client, 7)
        assert [each["number"] for each in client.seen if each["type"] == "round.skipped"] == [5, 6, 7]
        assert all(each["type"] != "snapshot" for each in client.seen)


async def test_a_gap_that_is_not_kept_is_told_with_a_snapshot(gateway: Gateway, live: Live, streams: Streams) -> None:
    channel = room_channel((await gateway.room()).id)
    await publish(streams, channel, *range(1, kept.ROOM_FRAMES_MAX + 10))
    head = (await streams.head(channel)).seq
    for after in (head - kept.ROOM_FRAMES_MAX - 1, head + 5, 0):
        async with connected(live, spectate=True) as client:
            await client.ask("subscribe", channels=[channel], after={channel: after})
            snapshot = next(each for each in client.seen if each["type"] == "snapshot")
            assert (snapshot["reason"], snapshot["seq"]) == ("gap", head)
    async with connected(live, spectate=True) as client:
        await client.ask("subscribe", channels=[channel], after={channel: head - kept.ROOM_FRAMES_MAX})
        frames_missed = [each for each in client.seen if each["type"] == "round.skipped"]
        assert len(frames_missed) == kept.ROOM_FRAMES_MAX


async def test_a_redis_that_loses_everything_leaves_numbers_that_only_grow(
    gateway: Gateway, live: Live, streams: Streams, redis: Redis
) -> None:
    channel = room_channel((await gateway.room()).id)
    async with connected(live, spectate=True) as client:
        await client.ask("subscribe", channels=[channel])
        await publish(streams, channel, 1, 2)
        await read(client, 1, 2)
        before = client.last[channel]
        await redis.flushdb()
        await publish(streams, channel, 3)
        snapshot = await client.until("snapshot")
        assert snapshot["reason"] == "gap"
        assert snapshot["seq"] > before
        await publish(streams, channel, 4)
        await read(client, 4)


async def test_a_reader_that_stalls_is_dropped_while_others_are_served(
    gateway: Gateway, live: Live, streams: Streams
) -> None:
    channel = room_channel((await gateway.room()).id)
    body = b'{"type":"round.skipped","number":1,"padding":"' + b"x" * 8_000 + b'"}'
    async with connected(live, spectate=True) as stalled, connected(live, spectate=True) as reader:
        for client in (stalled, reader):
            await client.ask("subscribe", channels=[channel])
        stalled.socket.transport.pause_reading()
        for _ in range(400):
            await streams.publish([Publication(channel, uuid.uuid4().hex, body) for _ in range(10)])
            for _ in range(10):
                await reader.until("round.skipped")
        stalled.socket.transport.resume_reading()
        code, _ = await stalled.closed()
        assert code in (4409, 1006)
        assert (await reader.ask("ping"))["type"] == "pong"


async def test_malformed_and_huge_frames_end_nothing_but_what_they_must(gateway: Gateway, live: Live) -> None:
    channel = room_channel((await gateway.room()).id)
    async with connected(live, spectate=True) as neighbour, connected(live, spectate=True) as client:
        for text, code in (
            ("{", "malformed_json"),
            ('"ping"', "invalid_request"),
            ('{"type":"dance"}', "invalid_request"),
            ('{"type":"ping","x":1}', "unknown_field"),
            ('{"type":"subscribe"}', "missing_field"),
            ('{"type":"subscribe","channels":[]}', "invalid_request"),
            ('{"type":"subscribe","channels":["rounds"]}', "invalid_request"),
            ('{"type":"subscribe","channels":["room:00000000-0000-4000-8000-000000000000"]}', "room_not_found"),
            (json.dumps({"type": "subscribe", "channels": [channel], "after": {channel: -1}}), "invalid_request"),
        ):
            await client.socket.send(text)
            assert (await client.next())["problem"]["code"] == code, text
        await client.socket.send(["{", '"type":"ping"', "}"])
        assert (await client.next())["type"] == "pong"
        await client.socket.send(b"binary")
        assert (await client.closed())[0] == 1003
        for size in (20_000, 10_000_000):
            async with connected(live, spectate=True) as huge:
                with suppress(ConnectionClosed):
                    await huge.socket.send("x" * size)
                # What was still being sent can break the connection before the close frame is read.
                assert (await huge.closed())[0] in (1009, 1006)
        async with connected(live, spectate=True) as flood:
            for _ in range(400):
                await flood.socket.send('{"type":"ping"}')
            assert (await flood.closed())[0] == 4429
        assert (await neighbour.ask("ping"))["type"] == "pong"


async def test_an_address_has_a_number_of_connections_and_the_process_too(gateway: Gateway) -> None:
    async with (
        open_live(gateway.platform, live_address_connections_max=2) as live,
        connected(live, spectate=True),
        connected(live, spectate=True) as second,
        connected(live) as third,
    ):
        assert (await third.closed())[0] == 4430
        assert (await second.ask("ping"))["type"] == "pong"


async def test_the_addresses_of_one_ipv6_network_are_one(gateway: Gateway) -> None:
    def caller(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    async with (
        open_live(gateway.platform, live_address_connections_max=1, proxies_count=1) as live,
        connected(live, spectate=True, headers=caller("2001:db8::1")) as first,
        connected(live, headers=caller("2001:db8::2")) as second,
        connected(live, spectate=True, headers=caller("2001:db8:0:1::1")),
        connected(live, spectate=True, headers=caller("::ffff:192.0.2.1")),
        connected(live, spectate=True, headers=caller("192.0.2.2")),
    ):
        assert (await second.closed())[0] == 4430
        assert (await first.ask("ping"))["type"] == "pong"


async def test_who_is_sent_away_is_told_when_to_come_back(gateway: Gateway) -> None:
    async with open_live(gateway.platform) as live, connected(live, spectate=True) as client:
        await client.ask("ping")
        # A half-open one does not hold the process up.
        with socket.create_connection((HOST, live.port)):
            live.stop.set()
            code, reason = await client.closed()
            assert code == 1012
            assert "subscribe with after" in (reason or "")
            async with asyncio.timeout(10):
                await asyncio.wait({live.serving})
