"""What one tick has for all who follow it: one write for each follower, of bytes that are joined once for many.

Not here: which frames a channel has, and who joins it when (`hub.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from gateway.live.wire import encoded
from keno.notify import frames
from keno.notify.streams import Kept

EVERYBODY: Final = 1 << 63
"""As `Outgoing.first`: for whoever follows by then, whenever it joined."""
WRITES_AT_ONCE: Final = 500
_NOT_THERE: Final = EVERYBODY


Put = Callable[[bytes], None]
"""Sends whole encoded frames."""


class Follower(Protocol):
    """What the hub knows of a connection. Once it is closed it has left all channels."""

    put: Put
    """For who follows a channel: without asking whether it is closed."""

    def write(self, data: bytes) -> None:
        """Send whole encoded frames, or nothing once it is closed."""

    async def drained(self) -> bool:
        """Wait until all that was written is on its way; False where the connection is closed."""


class Channel:
    """A channel that somebody here follows. `name` is ours, `label` what its followers call it."""

    __slots__ = ("followers", "head", "label", "last_id", "name", "ready", "seen", "snapshot")

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label
        self.head = 0
        self.last_id = b""
        self.seen = 0
        self.ready = asyncio.Event()
        self.snapshot: tuple[int, dict[str, Any]] | None = None
        self.followers: dict[Put, int] = {}
        """Each who follows, as its `put`, with the number of the last frame it got when it joined."""

    def encoded(self, kept: Kept) -> bytes:
        """A frame as it goes to every follower."""
        return encoded(frames.numbered(self.label, kept.seq, kept.body))


class Outgoing(NamedTuple):
    """Encoded frames for the followers of a channel who joined before the frame numbered `first`."""

    channel: Channel
    first: int
    data: bytes


async def deliver(outgoing: Sequence[Outgoing]) -> None:
    """Write to every follower what is for it, all channels in one write, in their order."""
    written = 0
    for group, followers in _grouped(outgoing):
        data = b"".join([each.data for each in group])
        for start in range(0, len(followers), WRITES_AT_ONCE):
            some = followers[start : start + WRITES_AT_ONCE]
            _write(group, data, some)
            written += len(some)
            if written >= WRITES_AT_ONCE:
                # Let pings, bets and closes in between.
                await asyncio.sleep(0)
                written = 0


def _write(group: Sequence[Outgoing], data: bytes, followers: Sequence[Put]) -> None:
    """To those who are still to get it: a follower can have left meanwhile, and joined anew behind it."""
    if len(group) == 1:
        # By far the most; what is done here is done for every frame and client.
        joined, first = group[0].channel.followers.get, group[0].first
        for put in followers:
            if joined(put, _NOT_THERE) < first:
                put(data)
        return
    for put in followers:
        due = [each for each in group if each.channel.followers.get(put, _NOT_THERE) < each.first]
        if due:
            put(data if len(due) == len(group) else b"".join([each.data for each in due]))


def _grouped(outgoing: Sequence[Outgoing]) -> Iterable[tuple[Sequence[Outgoing], list[Put]]]:
    """Those who follow the same of these channels, together."""
    if len(outgoing) == 1:
        return [(outgoing, list(outgoing[0].channel.followers))]
    places: dict[Put, tuple[int, ...]] = {}
    for place, each in enumerate(outgoing):
        for put in each.channel.followers:
            places[put] = (*places.get(put, ()), place)
    groups: dict[tuple[int, ...], list[Put]] = {}
    for put, of_follower in places.items():
        groups.setdefault(of_follower, []).append(put)
    return [([outgoing[place] for place in group], followers) for group, followers in groups.items()]
