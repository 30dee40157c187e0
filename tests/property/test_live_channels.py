"""Channels of the live stream against a model: a list that remembers which ids it has had."""

from __future__ import annotations

import asyncio
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.loop_thread import LoopThread

from keno.infra.redis import create_redis
from keno.notify.streams import PLAYER_FRAMES_MAX, Kept, Publication, Streams

_IDS = 100


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, _IDS - 1), min_size=1, max_size=40), min_size=1, max_size=8))
def test_a_channel_numbers_each_id_once_and_resumes_from_every_number_it_keeps(
    services: object, session_loop: LoopThread, batches: list[list[int]]
) -> None:
    session_loop.run(_play(services.redis_url, batches))  # type: ignore[attr-defined]


async def _play(url: str, batches: list[list[int]]) -> None:
    redis: Redis = create_redis(url)
    channel = f"test-{uuid.uuid4().hex}"
    streams = Streams(redis)
    try:
        base = (await streams.head(channel)).seq
        model: list[int] = []
        for batch in batches:
            # Two processes publish the same: as after a lost acknowledgement.
            publications = [Publication(channel, f"{number}", b'{"n":%d}' % number) for number in batch]
            await asyncio.gather(streams.publish(publications), streams.publish(publications))
            model += [number for number in dict.fromkeys(batch) if number not in model]
        head = await streams.head(channel)
        assert head.seq == base + len(model)
        everything = [
            Kept(base + place + 1, b"%d" % number, b'{"n":%d}' % number) for place, number in enumerate(model)
        ]
        for after in range(len(model) + 1):
            missed = await streams.between(channel, base + after, head.seq)
            # Concurrent publishers may interleave, so the order within a batch is that of whoever came first.
            if len(model) - after > PLAYER_FRAMES_MAX:
                assert missed is None
            else:
                assert missed is not None
                assert [each.seq for each in missed] == [each.seq for each in everything[after:]]
        kept = await streams.between(channel, head.seq - min(len(model), PLAYER_FRAMES_MAX), head.seq)
        assert kept is not None
        assert len({each.id for each in kept}) == len(kept)
    finally:
        stream = f"keno:live:channel:{channel}"
        await redis.delete(stream, f"{stream}:ids", f"{stream}:base", "keno:live:feed")
        await redis.aclose()
