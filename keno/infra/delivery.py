"""How an event is handed to a handler, the same for every bus: in turn, again when it fails, until it is dead.

Not here: where events come from, and where dead ones go.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog

from keno.infra.bus import ATTEMPTS_MAX, Event, Handler
from keno.infra.transient import is_transient

_PAUSE_MIN_S = 0.05
_PAUSE_MAX_S = 10.0

_log = structlog.get_logger(__name__)


class Ending(Enum):
    """What became of a delivery. UNFINISHED: deliver it again, later or from another process."""

    HANDLED = auto()
    DEAD = auto()
    UNFINISHED = auto()


class Delivery(NamedTuple):
    """How a delivery ended and, of one that did not succeed, the last failure."""

    ending: Ending
    failure: str = ""


class Consumer:
    """One handler and its events."""

    def __init__(self, name: str, handler: Handler, transient_failures_max: int | None = None) -> None:
        """Past `transient_failures_max` a delivery ends UNFINISHED; None: it goes on until the consumer is closed."""
        self.name = name
        self._transient_failures_max = transient_failures_max
        self._handler = handler
        self._closing = asyncio.Event()
        # A lock lives as long as somebody has it or waits for it, in the order in which they came.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        """No further attempts: deliveries in progress end UNFINISHED when theirs fails."""
        self._closing.set()

    async def deliver(self, event: Event) -> Delivery:
        """Hands the event over when those of its aggregate that came before have ended."""
        async with self._turn(event.aggregate):
            failures = transient_failures = 0
            failure: Exception | None = None
            pause_s = _PAUSE_MIN_S
            while not self._closing.is_set() and transient_failures != self._transient_failures_max:
                failure = await self._attempt(event)
                if failure is None:
                    return Delivery(Ending.HANDLED)
                transient = is_transient(failure)
                transient_failures += transient
                failures += not transient
                if failures == ATTEMPTS_MAX:
                    self._log("error", "event.dead", event, failure=repr(failure))
                    return Delivery(Ending.DEAD, repr(failure))
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
            return Delivery(Ending.UNFINISHED, repr(failure))

    async def _attempt(self, event: Event) -> Exception | None:
        """What the handler failed with."""
        try:
            await self._handler(event)
        except Exception as failure:  # noqa: BLE001 - one event that breaks a handler must not stop those after it
            self._log("warning", "event.attempt_failed", event, transient=is_transient(failure), exc_info=failure)
            return failure
        return None

    def _log(self, level: str, what: str, event: Event, **details: object) -> None:
        about = {"consumer": self.name, "event_id": str(event.id), "routing_key": event.routing_key}
        getattr(_log, level)(what, **about, **details)

    @asynccontextmanager
    async def _turn(self, aggregate: str) -> AsyncIterator[None]:
        lock = self._turns.get(aggregate)
        if lock is None:
            lock = self._turns[aggregate] = asyncio.Lock()
        async with lock:
            yield

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            pass
