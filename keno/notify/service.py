"""Tells the live stream what has happened: the notifier turns committed events into frames, once each.

Not here: what concerns single players; live processes ask for that themselves, for the players they have
(`keno/notify/players.py`), when the channel `rounds` says that there is something to ask for.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keno.infra.bus import Event
from keno.notify import frames
from keno.notify.streams import Publication, Streams

CONSUMER: Final = "notifier"
ROUNDS: Final = "rounds"
"""A channel between our processes: rounds whose bets have ended, or whose money has moved."""

_FRAMES: Final[dict[str, type[msgspec.Struct]]] = {
    "round.opened": frames.RoundOpened,
    "round.locked": frames.RoundLocked,
    "round.drawn": frames.RoundDrawn,
    "round.settled": frames.RoundSettled,
    "round.voided": frames.RoundVoided,
    "round.skipped": frames.RoundSkipped,
}
_OF_PLAYERS: Final = ("round.settled", "round.voided", "wallet.credited", "wallet.refunded")
ROUTING_KEYS: Final = tuple(dict.fromkeys((*_FRAMES, *_OF_PLAYERS)))


class RoundTold(msgspec.Struct, frozen=True):
    """What the channel `rounds` says of a round: which event, and how many bets or payouts it is about."""

    key: str
    round: str
    count: int

    @property
    def moved_money(self) -> bool:
        """Whether balances have changed by it; else bets have ended."""
        return self.key.startswith("wallet.")


_told_decoder: Final = msgspec.json.Decoder(RoundTold)


def decode_told(body: bytes) -> RoundTold:
    """What a frame of the channel `rounds` says."""
    return _told_decoder.decode(body)


class Notifier:
    """Handles the events of rounds."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def tell(self, *events: Event) -> None:
        """Publish what the events say. Again after a failure: what was published stays as it is."""
        publications = []
        for event in events:
            fact = msgspec.json.decode(event.data)
            if event.routing_key in _FRAMES:
                body = _body(event.routing_key, fact)
                publications.append(Publication(frames.room_channel(fact["room"]), str(event.id), body))
            if event.routing_key in _OF_PLAYERS:
                told = RoundTold(event.routing_key, fact["round"], _count(fact))
                publications.append(Publication(ROUNDS, str(event.id), msgspec.json.encode(told)))
        await self._streams.publish(publications)


def _body(routing_key: str, fact: dict[str, Any]) -> bytes:
    if "round" in fact:
        fact = fact | {"round": {"id": fact["round"], "number": fact["number"]}}
    # Of the event only what the frame has: an event may come to know more than the public.
    frame = msgspec.convert({"type": routing_key} | fact, _FRAMES[routing_key])
    return frames.body_of(frame)  # type: ignore[arg-type]


def _count(fact: dict[str, Any]) -> int:
    return int(next(fact[name] for name in ("bets_count", "credits_count", "refunds_count") if name in fact))
