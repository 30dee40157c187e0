"""Time that stands still until somebody waits for it: coroutines, run one step at a time in the order of a fake clock.

A process can be killed or paused at any `await`. What a server does for it goes on by itself.
"""

import heapq
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Reply(Generic[T]):
    """The answer of a server, which comes when it comes."""

    __slots__ = ("_failure", "_value", "_waiter", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._failure: Exception | None = None
        self._waiter: Callable[[], None] | None = None

    def give(self, value: T) -> None:
        self._value = value
        self._end()

    def fail(self, failure: Exception) -> None:
        self._failure = failure
        self._end()

    def _end(self) -> None:
        self.done = True
        if self._waiter is not None:
            self._waiter()

    def then(self, call: Callable[[], None]) -> None:
        self._waiter = call
        if self.done:
            call()

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done:
            yield self
        if self._failure is not None:
            raise self._failure
        return self._value  # type: ignore[return-value]  # given before it ends


class Rest:
    """`await Rest(seconds)` lets the clock go on."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[Any, None, None]:
        yield self


@dataclass(eq=False)
class Process:
    """What dies, or stands still, as a whole. `trap` is called at the await after so many more."""

    alive: bool = True
    paused: bool = False
    trap_in: int = 0
    trap: Callable[[], None] | None = None
    _missed: list[Callable[[], None]] = field(default_factory=list)

    def wake(self) -> None:
        self.paused = False
        missed, self._missed = self._missed, []
        for call in missed:
            call()

    def passes(self, call: Callable[[], None]) -> bool:
        """Whether the process takes its next step now; `call` comes again when it wakes up."""
        if self.trap is not None and self.alive and not self.paused:
            self.trap_in -= 1
            if self.trap_in <= 0:
                trap, self.trap = self.trap, None
                trap()
        if self.alive and self.paused:
            self._missed.append(call)
        return self.alive and not self.paused


class Clock:
    """The time, in seconds, and all that is to come."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._count = 0
        self._coming: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when_s: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._coming, (when_s, self._count, call))

    def start(self, process: Process, steps: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine for a process; what it raises ends the simulation."""

        def step() -> None:
            if not process.passes(step):
                if not process.alive:
                    steps.close()
                return
            try:
                waits_for = steps.send(None)
            except StopIteration:
                return
            if isinstance(waits_for, Rest):
                self.at(self.now_s + waits_for.seconds, step)
            else:
                waits_for.then(step)

        self.at(self.now_s, step)

    def run(self, until_s: float) -> None:
        while self._coming and self._coming[0][0] <= until_s:
            self.now_s, _, call = heapq.heappop(self._coming)
            call()
        self.now_s = until_s
