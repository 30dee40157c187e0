"""The feed of the live stream: what is published together is read together, and nothing is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from keno.notify.streams import Fed, Feed, Publication, Streams

TOGETHER = 100
"""The most frames of one call of the script."""


@pytest.fixture
async def feed(redis: Redis) -> AsyncIterator[Feed]:
    opened = Streams(redis).feed()
    yield opened
    await opened.close()


def publications(count: int) -> list[Publication]:
    return [Publication(f"room:{number % 3}", f"{number}", b"%d" % number) for number in range(count)]


def bodies(fed: Sequence[Fed]) -> list[bytes]:
    return [each.frame.body for each in fed]


async def test_who_waits_for_the_first_frame_gets_all_that_are_published_with_it(redis: Redis, feed: Feed) -> None:
    waiting = asyncio.create_task(feed.read(await feed.end(), 10 * TOGETHER))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await Streams(redis).publish(publications(TOGETHER))
    assert bodies(await waiting) == [each.body for each in publications(TOGETHER)]


async def test_more_than_one_call_takes_is_published_in_its_order(redis: Redis, feed: Feed) -> None:
    count = 2 * TOGETHER + 50
    await Streams(redis).publish(publications(count))
    fed = await feed.read("0-0", count + 1)
    assert bodies(fed) == [each.body for each in publications(count)]
    assert await feed.end() == fed[-1].place
    for channel in ("room:0", "room:1", "room:2"):
        seqs = [each.frame.seq for each in fed if each.channel == channel]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
