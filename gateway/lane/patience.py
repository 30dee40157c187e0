"""Ends waits that take too long, with one timer for all of them: a timer each would cost as much as decoding the bet.

A wait may take up to a second longer than it should. That is what bodies can be waited for with, not servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

_T = TypeVar("_T")

CHECK_S: Final = 1.0


class Patience:
    """Waits of at most `limit_s` seconds, or one check more."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._check_s = min(CHECK_S, limit_s)
        self._began_s: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, for_what: Awaitable[_T]) -> _T:
        """What `for_what` gives. Raises TimeoutError; to be called in a task, once at a time."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - as the docstring says
        self._began_s[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._check_s, self._check, loop)
        try:
            return await for_what
        except asyncio.CancelledError:
            if task not in self._late or task.uncancel() > 0:
                raise
            raise TimeoutError(f"{self._limit_s:g} s have passed") from None
        finally:
            self._late.discard(task)
            del self._began_s[task]

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for task, began_s in self._began_s.items():
            if now_s - began_s >= self._limit_s and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._timer = loop.call_later(self._check_s, self._check, loop) if self._began_s else None
