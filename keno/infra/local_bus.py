"""The event bus of a process that runs everything: `publish` hands events to the handlers and waits for them.

So whoever marks an event as sent after `publish` marks what has taken effect, or is dead and kept in `dead_events`.
"""

import asyncio
from collections.abc import Collection, Sequence

from keno.infra import store
from keno.infra.bus import ATTEMPTS_MAX, BusError, DeadEvent, Event, Handler
from keno.infra.delivery import Consumer, Ending
from keno.infra.postgres import Executor


class LocalBus:
    """A `Bus` within one event loop, and its `DeadLetters`: `replay` has the handlers subscribed here try again."""

    def __init__(self, pool: Executor) -> None:
        """`pool` keeps the dead."""
        self._pool = pool
        self._subscribed: list[tuple[Consumer, tuple[str, ...]]] = []
        self._declared: dict[str, tuple[str, ...]] = {}

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
        finished = await asyncio.gather(
            *(self._hand_over(consumer, _covered(keys, events)) for consumer, keys in self._subscribed),
            return_exceptions=True,
        )
        for each in finished:
            if isinstance(each, BaseException):
                raise each
            if Ending.UNFINISHED in each:
                raise BusError("not all events could be handled")

    async def close(self) -> None:
        for consumer, _ in self._subscribed:
            consumer.close()

    async def dead(self) -> list[DeadEvent]:
        return [_dead_event(row) for row in await store.dead_events(self._pool)]

    async def replay(self, ids: Collection[str] | None = None) -> list[DeadEvent]:
        consumers = {consumer.name: consumer for consumer, _ in self._subscribed}
        replayed = []
        for row in await store.dead_events(self._pool):
            if row.consumer not in consumers or (ids is not None and str(row.event_id) not in ids):
                continue
            event = Event(row.event_id, row.routing_key, row.aggregate, row.time_ms, row.data)
            if await self._hand_over(consumers[row.consumer], [event]) == [Ending.HANDLED]:
                await store.mark_replayed(self._pool, row.consumer, row.event_id)
                replayed.append(_dead_event(row))
        return replayed

    def _refuse_unhandled(self, events: Sequence[Event]) -> None:
        handled = {consumer.name for consumer, _ in self._subscribed}
        for name, keys in self._declared.items():
            if name not in handled and _covered(keys, events):
                raise BusError(f"consumer {name} has no handler in this process")

    async def _hand_over(self, consumer: Consumer, events: Sequence[Event]) -> list[Ending]:
        """How each ended; the dead are buried."""
        deliveries = await consumer.deliver(events)
        for event, ending, failure in deliveries:
            if ending is Ending.DEAD:
                await store.bury(
                    self._pool,
                    consumer.name,
                    event.id,
                    event.routing_key,
                    event.aggregate,
                    event.time_ms,
                    event.data,
                    failure,
                )
        return [each.ending for each in deliveries]


def _dead_event(row: store.DeadRow) -> DeadEvent:
    return DeadEvent(str(row.event_id), row.consumer, row.routing_key, row.aggregate, row.dead_ms, row.reason)


def _covered(patterns: Sequence[str], events: Sequence[Event]) -> list[Event]:
    # Of many events few have a routing key of their own.
    keys = {event.routing_key for event in events}
    covered = {key for key in keys if any(matches(pattern, key) for pattern in patterns)}
    return [event for event in events if event.routing_key in covered]


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic pattern (`*` one word, `#` any number of words) covers a routing key, as AMQP 0-9-1 has it."""
    return _match(pattern.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_match(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])
