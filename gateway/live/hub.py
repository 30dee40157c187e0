"""The channels of a live process: one reader of the feed for all of them, and who follows which.

A channel is at its `head`, the last frame that went out to its followers. Who joins is brought to the head first, from
Redis or by a snapshot, and is added in the same step of the event loop in which it is there: nothing can fall in
between. A frame that is not the next one, or a connection to Redis that broke, makes the channel catch up the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import structlog

from gateway.live.fanout import EVERYBODY, Channel, Follower, Outgoing, deliver
from gateway.live.wire import encoded
from gateway.rest.rooms import round_members
from keno.infra.transient import is_transient
from keno.notify import frames
from keno.notify.players import PlayerNews
from keno.notify.service import ROUNDS, RoundTold, decode_told
from keno.notify.streams import Fed, Streams
from keno.rounds.service import RoomService

TICK_S: Final = 0.02
"""How long frames are gathered, so that a connection gets those of a tick in one write."""
FEED_READ_MAX: Final = 2_000
SNAPSHOT_ROUNDS: Final = 5
_RETRY_S: Final = 0.2
_NEWS_S: Final = 60.0
"""How long news of a round wait for a server that starts again; later rounds do not wait for ever."""

_log = structlog.get_logger("gateway.live")


class Hub:
    """All channels of the process."""

    def __init__(self, streams: Streams, rooms: RoomService, news: PlayerNews) -> None:
        self._streams = streams
        self._rooms = rooms
        self._news = news
        self._channels: dict[str, Channel] = {}
        self._joining: Counter[str] = Counter()
        self._owners: dict[UUID, UUID | None] = {}
        self._players: dict[str, int] = {}
        self._told: asyncio.Queue[RoundTold] = asyncio.Queue(10_000)

    def knows(self, room_id: UUID) -> bool:
        """Whether somebody has asked for this room before, and it was there."""
        return room_id in self._owners

    async def may_follow(self, room_id: UUID, operator_id: UUID | None) -> bool:
        """Whether a room is there for an operator's players, or with None for everybody."""
        if room_id not in self._owners:
            room = await self._rooms.room(room_id)
            if room is None:
                return False
            self._owners[room_id] = room.operator_id
        return self._owners[room_id] in (None, operator_id)

    async def follow(
        self, follower: Follower, name: str, label: str, after: int | None, player_id: int | None = None
    ) -> None:
        """Send what a follower has not seen of a channel, and from then on whatever comes.

        With `player_id` the channel is that player's: its news are asked for while somebody here follows it, and who
        comes back gets what nobody had asked for meanwhile.
        """
        # Keeps the channel, and the player, while others leave it.
        self._joining[name] += 1
        try:
            if player_id is not None:
                self._players[name] = player_id
                if after is not None:
                    await self._streams.publish(await self._news.missed(player_id))
            await self._bring_to_head(follower, await self._opened(name, label), after)
        finally:
            self._joining[name] -= 1
            self._forget_empty(name)

    async def _bring_to_head(self, follower: Follower, channel: Channel, after: int | None) -> None:
        position, reason = after, "joined"
        while await follower.drained():
            if position is None:
                position = channel.head
                follower.write(await self._snapshot(channel, position, reason))
                continue
            head = channel.head
            if position != head:
                missed = await self._streams.between(channel.name, position, head) if position < head else None
                if missed is None:
                    position, reason = None, "gap"
                    continue
                follower.write(b"".join(channel.encoded(kept) for kept in missed))
                position = head
            if position == channel.head:
                channel.followers[follower.put] = position
                return

    def leave(self, follower: Follower, names: Iterable[str]) -> None:
        """A follower follows these channels no longer."""
        for name in names:
            channel = self._channels.get(name)
            if channel is not None:
                channel.followers.pop(follower.put, None)
                self._forget_empty(name)

    async def run(self) -> None:
        """Read the feed until cancelled."""
        feed = self._streams.feed()
        place: str | None = None
        broken = False
        try:
            while True:
                try:
                    if place is None:
                        place = await feed.end()
                    if broken:
                        await self._catch_all_up()
                        broken = False
                    fed = await feed.read(place, FEED_READ_MAX)
                    if fed:
                        await self._dispatch(fed)
                        place = fed[-1].place
                        await asyncio.sleep(TICK_S)
                except Exception as failure:
                    if not is_transient(failure):
                        raise
                    _log.warning("feed.broken", failure=repr(failure))
                    broken = True
                    await asyncio.sleep(_RETRY_S)
        finally:
            await feed.close()

    async def tell_players(self) -> None:
        """Publish what ended rounds mean for the players who are here, until cancelled."""
        while True:
            told = await self._told.get()
            give_up_s = time.monotonic() + _NEWS_S
            while True:
                try:
                    await self._streams.publish(await self._news.of(told, sorted(set(self._players.values()))))
                    break
                except Exception as failure:
                    if not is_transient(failure):
                        raise
                    if time.monotonic() > give_up_s:
                        _log.error("news.given_up", round=told.round)
                        break
                    await asyncio.sleep(_RETRY_S)

    async def _dispatch(self, fed: list[Fed]) -> None:
        outgoing: dict[str, tuple[Channel, int, list[bytes]]] = {}
        behind: dict[str, Channel] = {}
        for each in fed:
            if each.channel == ROUNDS:
                self._hear(each.frame.body)
                continue
            channel = self._channels.get(each.channel)
            if channel is None:
                continue
            channel.seen = max(channel.seen, each.frame.seq)
            if not channel.ready.is_set() or each.frame.seq <= channel.head or each.channel in behind:
                continue
            if each.frame.seq != channel.head + 1:
                behind[each.channel] = channel
                continue
            channel.head, channel.last_id = each.frame.seq, each.frame.id
            _, _, data = outgoing.setdefault(each.channel, (channel, each.frame.seq, []))
            data.append(channel.encoded(each.frame))
        await deliver([Outgoing(channel, first, b"".join(data)) for channel, first, data in outgoing.values()])
        for channel in behind.values():
            await self._catch_up(channel)

    def _hear(self, body: bytes) -> None:
        told = decode_told(body)
        if told.count and self._players and not self._told.full():
            self._told.put_nowait(told)

    async def _opened(self, name: str, label: str) -> Channel:
        while name in self._channels:
            channel = self._channels[name]
            await channel.ready.wait()
            # Who opened it may have failed, and the next one tries.
            if self._channels.get(name) is channel:
                return channel
        channel = self._channels[name] = Channel(name, label)
        try:
            while True:
                last = await self._streams.head(name)
                if channel.seen <= last.seq:
                    break
        except BaseException:
            del self._channels[name]
            raise
        else:
            channel.head, channel.last_id = last
            return channel
        finally:
            channel.ready.set()

    async def _catch_all_up(self) -> None:
        for channel in list(self._channels.values()):
            if channel.ready.is_set():
                await self._catch_up(channel)

    async def _catch_up(self, channel: Channel) -> None:
        """Bring a channel from its head to the last frame that is kept, or tell its followers that there is a gap."""
        last = await self._streams.head(channel.name)
        if last == (channel.head, channel.last_id):
            return
        missed = None
        if last.seq > channel.head and await self._is_ours(channel):
            missed = await self._streams.between(channel.name, channel.head, last.seq)
        first = channel.head + 1
        channel.head, channel.last_id = last
        if missed is not None:
            await deliver([Outgoing(channel, first, b"".join(channel.encoded(kept) for kept in missed))])
        elif channel.followers:
            await deliver([Outgoing(channel, EVERYBODY, await self._snapshot(channel, last.seq, "gap"))])

    async def _is_ours(self, channel: Channel) -> bool:
        """Whether the channel that Redis has now is the one we know: it may have come back without its last frames."""
        if not channel.last_id:
            return True
        at_head = await self._streams.between(channel.name, channel.head - 1, channel.head)
        return at_head is not None and at_head[0].id == channel.last_id

    async def _snapshot(self, channel: Channel, seq: int, reason: Any) -> bytes:
        if channel.snapshot is None or channel.snapshot[0] != seq or not channel.name.startswith("room:"):
            channel.snapshot = seq, await self._members(channel.name)
        members = channel.snapshot[1]
        return encoded(frames.encode(frames.Snapshot(channel=channel.label, seq=seq, reason=reason, **members)))

    async def _members(self, name: str) -> dict[str, Any]:
        kind, _, rest = name.partition(":")
        if kind == "room":
            rounds = await self._rooms.rounds(UUID(rest), limit=SNAPSHOT_ROUNDS)
            return {"rounds": [round_members(each) for each in rounds]}
        player_id, _, currency = rest.partition(":")
        return await self._news.snapshot(int(player_id), currency)

    def _forget_empty(self, name: str) -> None:
        channel = self._channels.get(name)
        if self._joining[name] or (channel is not None and channel.followers):
            return
        del self._joining[name]
        self._channels.pop(name, None)
        self._players.pop(name, None)
