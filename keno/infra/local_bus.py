"""The event bus of a process that runs everything: `publish` hands events to the handlers and waits for them.

So whoever marks an event as sent after `publish` marks what has taken effect. Dead events are kept in memory and in the
log only; their outbox row stands without a row in the inbox, which the audit finds.
"""

import asyncio
from collections.abc import Sequence

from keno.infra.bus import ATTEMPTS_MAX, BusError, Event, Handler
from keno.infra.delivery import Consumer, Ending


class LocalBus:
    """A `Bus` within one event loop."""

    def __init__(self) -> None:
        self._subscribed: list[tuple[Consumer, tuple[str, ...]]] = []
        self._declared: dict[str, tuple[str, ...]] = {}
        self.dead: list[tuple[str, Event]] = []

    def declare(self, consumer: str, routing_keys: Sequence[str]) -> None:
        self._declared[consumer] = tuple(routing_keys)

    def subscribe(self, consumer: str, routing_keys: Sequence[str], handler: Handler) -> None:
        # A handler that waits for a server gives up in a while: the publisher tries again, unless it is told to stop.
        self._subscribed.append((Consumer(consumer, handler, ATTEMPTS_MAX), tuple(routing_keys)))

    async def start(self) -> None:
        """Nothing to do: there is nobody to connect to."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Raises BusError also when a declared consumer has no handler here, or a handler's transient failures last."""
        self._refuse_unhandled(events)
        lanes: dict[tuple[str, str], tuple[Consumer, list[Event]]] = {}
        for event in events:
            for consumer, keys in self._subscribed:
                if any(matches(key, event.routing_key) for key in keys):
                    lanes.setdefault((consumer.name, event.aggregate), (consumer, []))[1].append(event)
        finished = await asyncio.gather(*(self._deliver(consumer, lane) for consumer, lane in lanes.values()))
        if not all(finished):
            raise BusError("not all events could be handled")

    async def close(self) -> None:
        for consumer, _ in self._subscribed:
            consumer.close()

    def _refuse_unhandled(self, events: Sequence[Event]) -> None:
        handled = {consumer.name for consumer, _ in self._subscribed}
        for name, keys in self._declared.items():
            if name not in handled and any(matches(key, event.routing_key) for event in events for key in keys):
                raise BusError(f"consumer {name} has no handler in this process")

    async def _deliver(self, consumer: Consumer, lane: Sequence[Event]) -> bool:
        """Whether all were handled or are dead; none after one that is neither was tried, so none overtook it."""
        for event in lane:
            ending = await consumer.deliver(event)
            if ending is Ending.UNFINISHED:
                return False
            if ending is Ending.DEAD:
                self.dead.append((consumer.name, event))
        return True


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic pattern (`*` one word, `#` any number of words) covers a routing key, as AMQP 0-9-1 has it."""
    return _match(pattern.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_match(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])
