"""What every event bus of ours promises: events, who gets them, in what order, and what happens when a handler fails.

RabbitBus joins processes, LocalBus serves a process that has everything in it; one suite of tests holds both to this:

- Every event reaches every consumer that is subscribed or declared for its routing key, at least once. A handler that
  must act once asks the inbox (`keno.infra.store.new_events`) in the transaction of its effect.
- A handler gets one event or many in a call, so that it can act on all of them in one transaction. It meets the events
  of one aggregate in the order in which they were published, and none before the call with those before it has ended;
  while one call lasts, events of other aggregates go to others. A redelivery after a lost connection can repeat events,
  so can a publisher that lost its confirmation: the inbox leaves the first of each, which are in order. Two things
  break that order, and both are reported: a broker that refuses one of the messages in flight and takes those behind
  it, and the replay of a dead event. So an effect may not depend on another round's; each is complete in itself.
- A handler that fails gets the events again after a pause, while the later ones of their aggregates wait: all of them
  after a transient failure (`keno.infra.transient`), for as long as those last, and else each alone. An event that has
  failed ATTEMPTS_MAX times alone is dead: put aside, reported, and no longer in the way.
- `publish` returns when all events are safe: with the broker's confirmation, or because their handlers have ended.
- An event that nobody subscribed to or declared is no error: RabbitBus puts it aside, LocalBus drops it.

Not here: transactions and exactly-once effects (outbox and inbox do that), requests with an answer.
"""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from keno.errors import KenoError

ATTEMPTS_MAX = 8


class BusError(KenoError):
    """The bus could not take or confirm what it was given, or can't be reached. Trying again later is right."""


class Event(msgspec.Struct, frozen=True):
    """A fact that was committed. `data` is a JSON object, whose `v` is the version of its shape."""

    id: UUID
    routing_key: str
    aggregate: str
    time_ms: int
    data: bytes


class Handler(Protocol):
    """Takes one event or more. When it raises it may have acted on some: it gets all of them again."""

    async def __call__(self, *events: Event) -> None: ...


class Bus(Protocol):
    """See the promises above."""

    def declare(self, consumer: str, routing_keys: Sequence[str]) -> None:
        """Before `start`: this consumer exists, perhaps in another process, and must miss nothing while it is down."""

    def subscribe(self, consumer: str, routing_keys: Sequence[str], handler: Handler) -> None:
        """Before `start`: this process handles the consumer's events. Several processes that do share them.

        A routing key is words with dots between them; `*` stands for one word, `#` for any number of words.
        """

    async def start(self) -> None:
        """Raises BusError when the broker can't be reached or refuses; it can be called again then."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Raises BusError unless all events are safe; some may be, so publish all of them again."""

    async def close(self) -> None:
        """Lets running handlers end, drops what waits for another attempt; the broker will deliver that again."""


class DeadEvent(msgspec.Struct, frozen=True):
    """An event that a consumer could not take. `id` is that of the event, or of a message that is none; `consumer` is
    empty where nobody can say whose it was.
    """

    id: str
    consumer: str
    routing_key: str
    aggregate: str
    dead_ms: int
    reason: str


class DeadLetters(Protocol):
    """The dead events of a bus, which wait for somebody who has mended their handler."""

    async def dead(self) -> list[DeadEvent]:
        """All of them, the longest dead first; none is lost or moved by it. Raises BusError."""

    async def replay(self, ids: Collection[str] | None = None) -> list[DeadEvent]:
        """Gives events, by default all, to the consumers they died of once more; those that are dead no longer.

        An event leaves the dead only after it is safe elsewhere; who is interrupted between has it in both, and the
        inbox makes the second harmless. Raises BusError.
        """
