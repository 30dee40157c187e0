"""How events are handed to a handler, the same for every bus: together where they may be, again when it fails, until
they are dead.

Events wait in lanes, one an aggregate. Whenever a call of the handler is free, it gets what waits in lanes that no
other call is at work on: at low rates single events, at high rates hundreds. A call that fails for good is repeated
event by event, so that one bad event costs its neighbours a little time and nothing else.

Not here: where events come from, and where dead ones go.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

import structlog

from keno.infra.bus import ATTEMPTS_MAX, Event, Handler
from keno.infra.transient import is_transient

CALLS_MAX = 4
CALL_EVENTS_MAX = 500
_PAUSE_MIN_S = 0.05
_PAUSE_MAX_S = 10.0

_log = structlog.get_logger(__name__)


class Ending(Enum):
    """What became of a delivery. UNFINISHED: deliver it again, later or from another process."""

    HANDLED = auto()
    DEAD = auto()
    UNFINISHED = auto()


class Delivery(NamedTuple):
    """How a delivery ended and, of one that is dead, the last failure."""

    event: Event
    ending: Ending
    failure: str = ""


class _Waiting:
    """An event on its way, and what has come of it so far."""

    __slots__ = ("alone", "ended", "event", "failures", "pause_s", "transient_failures")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.ended: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        self.alone = False
        self.failures = self.transient_failures = 0
        self.pause_s = _PAUSE_MIN_S

    def end(self, ending: Ending, failure: str = "") -> None:
        if not self.ended.done():  # whoever waited for it may have been cancelled
            self.ended.set_result(Delivery(self.event, ending, failure))


class Consumer:
    """One handler and its events."""

    def __init__(self, name: str, handler: Handler, transient_failures_max: int | None = None) -> None:
        """Past `transient_failures_max` a delivery ends UNFINISHED, and with it those of its aggregate behind it; None:
        it goes on until the consumer is closed.
        """
        self.name = name
        self._transient_failures_max = transient_failures_max
        self._handler = handler
        self._closed = False
        self._lanes: dict[str, deque[_Waiting]] = {}
        # The lanes in which something waits and that no call is at work on, nor pauses for, in the order they came.
        self._ready: dict[str, None] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """No further attempts: what waits ends UNFINISHED now, and what is being handled when its attempt fails."""
        self._closed = True
        for lane in self._lanes.values():
            _end_all(lane, Ending.UNFINISHED)
        self._lanes.clear()
        self._ready.clear()

    async def deliver(self, events: Sequence[Event]) -> list[Delivery]:
        """Hands the events over, each when those of its aggregate that came before have ended."""
        waiting = [_Waiting(event) for event in events]
        for each in waiting:
            self._put(each)
        # Later: what arrives meanwhile goes along.
        asyncio.get_running_loop().call_soon(self._work)
        return [await each.ended for each in waiting]

    def _put(self, waiting: _Waiting) -> None:
        if self._closed:
            waiting.end(Ending.UNFINISHED)
            return
        aggregate = waiting.event.aggregate
        lane = self._lanes.get(aggregate)
        if lane is None:
            lane = self._lanes[aggregate] = deque()
            self._ready[aggregate] = None
        lane.append(waiting)

    def _work(self) -> None:
        """Uses the free calls for what is ready."""
        while self._ready and len(self._calls) < CALLS_MAX:
            call = asyncio.create_task(self._call(self._take()))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _take(self) -> list[_Waiting]:
        """The next events for one call, whose lanes are not ready any more."""
        taken: list[_Waiting] = []
        for aggregate in list(self._ready):
            lane = self._lanes[aggregate]
            if lane[0].alone:
                if not taken:
                    del self._ready[aggregate]
                    return [lane.popleft()]
                continue
            del self._ready[aggregate]
            while lane and not lane[0].alone and len(taken) < CALL_EVENTS_MAX:
                taken.append(lane.popleft())
            if len(taken) == CALL_EVENTS_MAX:
                break
        return taken

    async def _call(self, batch: list[_Waiting]) -> None:
        failure = await self._attempt([each.event for each in batch])
        aggregates = dict.fromkeys(each.event.aggregate for each in batch)
        if failure is None:
            _end_all(batch, Ending.HANDLED)
            self._release(aggregates)
        elif self._closed:
            _end_all(batch, Ending.UNFINISHED)
        elif not is_transient(failure) and len(batch) > 1:
            for each in batch:
                each.alone = True
            self._put_back(batch)
            self._release(aggregates)
        else:
            self._count(batch, failure)
        # This call is over in a moment, and so free for what waits.
        asyncio.get_running_loop().call_soon(self._work)

    def _count(self, batch: list[_Waiting], failure: Exception) -> None:
        """Ends what has failed too often, and lets the rest have another attempt after a pause."""
        again: list[_Waiting] = []
        given_up: set[str] = set()
        for each in batch:
            each.transient_failures += is_transient(failure)
            each.failures += not is_transient(failure)
            if each.failures == ATTEMPTS_MAX:
                self._log("error", "event.dead", [each.event], failure=repr(failure))
                each.end(Ending.DEAD, repr(failure))
            elif each.transient_failures == self._transient_failures_max or each.event.aggregate in given_up:
                given_up.add(each.event.aggregate)
                each.end(Ending.UNFINISHED)
            else:
                again.append(each)
        for aggregate in given_up:
            _end_all(self._lanes[aggregate], Ending.UNFINISHED)
            self._lanes[aggregate].clear()
        pause_s = max((each.pause_s for each in again), default=0.0)
        for each in again:
            each.pause_s = min(2 * each.pause_s, _PAUSE_MAX_S)
        self._put_back(again)
        aggregates = dict.fromkeys(each.event.aggregate for each in batch)
        asyncio.get_running_loop().call_later(pause_s, self._go_on, aggregates)

    def _go_on(self, aggregates: dict[str, None]) -> None:
        self._release(aggregates)
        self._work()

    def _put_back(self, batch: list[_Waiting]) -> None:
        for each in reversed(batch):
            self._lanes[each.event.aggregate].appendleft(each)

    def _release(self, aggregates: dict[str, None]) -> None:
        for aggregate in aggregates:
            lane = self._lanes.get(aggregate)
            if lane:
                self._ready[aggregate] = None
            elif lane is not None:
                del self._lanes[aggregate]

    async def _attempt(self, events: list[Event]) -> Exception | None:
        """What the handler failed with."""
        try:
            await self._handler(*events)
        except Exception as failure:  # noqa: BLE001 - one event that breaks a handler must not stop those after it
            self._log("warning", "event.attempt_failed", events, transient=is_transient(failure), exc_info=failure)
            return failure
        return None

    def _log(self, level: str, what: str, events: list[Event], **details: object) -> None:
        about = {"consumer": self.name, "event_id": str(events[0].id), "routing_key": events[0].routing_key}
        getattr(_log, level)(what, **about, events=len(events), **details)


def _end_all(batch: Sequence[_Waiting] | deque[_Waiting], ending: Ending) -> None:
    for each in batch:
        each.end(ending)
