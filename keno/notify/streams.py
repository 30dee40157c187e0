"""The channels of the live stream in Redis: numbered once, kept for a while, read by every live process.

A channel is a stream whose ids are its numbers: entry `N-0` is frame N. A frame is written together with the feed, the
one stream that all live processes read. A channel that is new, or that Redis has lost, starts at its clock in
milliseconds: above every number that was given out before, as long as a channel has fewer than a thousand frames a
second.

Not here: what frames say (`frames.py`), and who reads them (`gateway/live`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from keno.infra.redis import LoneConnection

FEED: Final = "keno:live:feed"
FEED_FRAMES_MAX: Final = 50_000
ROOM_FRAMES_MAX: Final = 256
"""How many frames of a room are kept, about a minute at four a second."""
PLAYER_FRAMES_MAX: Final = 64
PLAYER_KEEP_MS: Final = 10 * 60_000
ROOM_KEEP_MS: Final = 24 * 3_600_000
BLOCK_MS: Final = 1_000
"""How long a read of the feed waits for a frame."""
_ANSWER_S: Final = 4.0
"""How much longer its answer may take."""

# Each frame once for its id: a set beside the stream remembers four times as many ids as the stream keeps frames. All
# frames of a call are in the feed before anybody reads it.
_PUBLISH: Final = """
local function publish(stream, ids, base, id, channel, body, keep, keep_ms)
    if redis.call('ZSCORE', ids, id) then return end
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    local seq
    if last then
        seq = tonumber(string.match(last[1], '^%d+')) + 1
    else
        local now = redis.call('TIME')
        seq = tonumber(redis.call('GET', base) or now[1] * 1000 + math.floor(now[2] / 1000)) + 1
    end
    local text = string.format('%.0f', seq)
    redis.call('XADD', stream, 'MAXLEN', keep, text .. '-0', 'i', id, 'b', body)
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'c', channel, 's', text, 'i', id, 'b', body)
    redis.call('ZADD', ids, seq, id)
    redis.call('ZREMRANGEBYRANK', ids, 0, -(4 * tonumber(keep) + 1))
    redis.call('PEXPIRE', stream, keep_ms)
    redis.call('PEXPIRE', ids, keep_ms)
end
for n = 0, (#KEYS - 1) / 3 - 1 do
    publish(KEYS[3 * n + 2], KEYS[3 * n + 3], KEYS[3 * n + 4], unpack(ARGV, 5 * n + 2, 5 * n + 6))
end
"""
_PUBLISHED_AT_ONCE: Final = 100
"""How many frames one call of the script has: Redis does nothing else meanwhile, 20 to 23 us for each."""
# The last frame of a channel; where there is none, the number before the first that will come.
_HEAD: Final = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then return {string.match(last[1], '^%d+'), last[2][2]} end
local now = redis.call('TIME')
redis.call('SET', KEYS[2], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)), 'NX', 'PX', ARGV[1])
return {redis.call('GET', KEYS[2]), ''}
"""


class Publication(NamedTuple):
    """A frame for a channel. `id` makes it one however often it is published; `body` is as in `frames.numbered`."""

    channel: str
    id: str
    body: bytes


class Kept(NamedTuple):
    """A frame of a channel as it is kept."""

    seq: int
    id: bytes
    body: bytes


class Head(NamedTuple):
    """The number and the id of a channel's last frame; the id is empty where none is kept."""

    seq: int
    id: bytes


class Fed(NamedTuple):
    """A frame of the feed; `place` is where to read on."""

    place: str
    channel: str
    frame: Kept


class Streams:
    """The channels in a Redis. Errors are those of redis-py."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._publish = redis.register_script(_PUBLISH)
        self._head = redis.register_script(_HEAD)

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Write frames, in their order within a channel. One that was written before changes nothing."""
        if not publications:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for start in range(0, len(publications), _PUBLISHED_AT_ONCE):
                keys: list[str] = [FEED]
                arguments: list[str | int | bytes] = [FEED_FRAMES_MAX]
                for each in publications[start : start + _PUBLISHED_AT_ONCE]:
                    stream = _stream(each.channel)
                    is_room = each.channel.startswith("room:")
                    keep = (ROOM_FRAMES_MAX, ROOM_KEEP_MS) if is_room else (PLAYER_FRAMES_MAX, PLAYER_KEEP_MS)
                    keys += [stream, f"{stream}:ids", f"{stream}:base"]
                    arguments += [each.id, each.channel, each.body, *keep]
                await self._publish(keys=keys, args=arguments, client=pipeline)
            await pipeline.execute()

    async def head(self, channel: str) -> Head:
        """How far a channel is."""
        stream = _stream(channel)
        seq, last_id = await self._head(keys=[stream, f"{stream}:base"], args=[ROOM_KEEP_MS])
        return Head(int(seq), last_id)

    async def between(self, channel: str, after: int, to: int) -> list[Kept] | None:
        """The frames with the numbers after + 1 .. to, all of them; None where some are not kept."""
        if after == to:
            return []
        found: Any = await self._redis.xrange(_stream(channel), f"{after + 1}-0", f"{to}-0")
        kept = [_kept(each) for each in found]
        # Numbers only grow: as many as there should be are all of them.
        return kept if len(kept) == to - after else None

    def feed(self) -> Feed:
        """For one reader of what is published in all channels."""
        return Feed(LoneConnection(self._redis, timeout_s=BLOCK_MS / 1000 + _ANSWER_S))


class Feed:
    """What is published in all channels, for one reader. Errors are those of `LoneConnection.call`."""

    def __init__(self, connection: LoneConnection) -> None:
        self._connection = connection

    async def end(self) -> str:
        """The place behind all that is in it."""
        found = await self._connection.call("XREVRANGE", FEED, "+", "-", "COUNT", 1)
        return str(found[0][0], "ascii") if found else "0-0"

    async def read(self, place: str, frames_max: int) -> list[Fed]:
        """What there is behind `place`; waits up to BLOCK_MS for the first of it."""
        answer = await self._connection.call("XREAD", "COUNT", frames_max, "BLOCK", BLOCK_MS, "STREAMS", FEED, place)
        return [_fed(entry) for entry in _entries(answer)] if answer else []

    async def close(self) -> None:
        """Closes its connection; another read makes a new one."""
        await self._connection.close()


def _entries(answer: Any) -> Any:
    # As RESP3 has it, or RESP2.
    return next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]


def _fed(entry: Any) -> Fed:
    place, (_, channel, _, seq, _, frame_id, _, body) = entry
    return Fed(place.decode(), channel.decode(), Kept(int(seq), frame_id, body))


def _stream(channel: str) -> str:
    return f"keno:live:channel:{channel}"


def _kept(entry: Any) -> Kept:
    place, fields = entry
    return Kept(int(place.partition(b"-")[0]), fields[b"i"], fields[b"b"])
