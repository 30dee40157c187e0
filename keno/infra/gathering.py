"""Gathers what many callers ask of a server into one exchange, because an exchange costs more than what it carries.

What is asked while the exchange before is away goes together; where none is, the first waits a turn of the event loop
for what has come meanwhile. There is no timer. The queue is bounded. Not here: what is asked, and how it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


class Gathering(Generic[AskedT, AnswerT]):
    """`exchange` gets everything asked, in order, and returns an answer each or raises for all of them.

    One exchange is under way at a time. One that raises does not keep the next from being tried.
    """

    def __init__(
        self,
        exchange: Callable[[Sequence[AskedT]], Awaitable[Sequence[AnswerT]]],
        overloaded: Callable[[], Exception],
        *,
        exchange_max: int = 500,
        queue_max: int = 10_000,
    ) -> None:
        self._exchange = exchange
        self._overloaded = overloaded
        self._exchange_max = exchange_max
        self._queue_max = queue_max
        self._queue: list[tuple[AskedT, asyncio.Future[AnswerT]]] = []
        self._running: asyncio.Task[None] | None = None

    def ask(self, asked: AskedT) -> asyncio.Future[AnswerT]:
        """The answer, once there is one; raises `overloaded()` where the queue is full."""
        if len(self._queue) >= self._queue_max:
            raise self._overloaded()
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._queue.append((asked, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="gathering")
        return answer

    async def close(self) -> None:
        """Waits until everything asked has its answer."""
        if self._running is not None:
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            # The loop looks at its sockets once more: others have come while the first were read (decision 0053).
            await asyncio.sleep(0)
            while self._queue:
                together, self._queue = self._queue[: self._exchange_max], self._queue[self._exchange_max :]
                await self._ask(together)
        finally:
            self._running = None

    async def _ask(self, together: Sequence[tuple[AskedT, asyncio.Future[AnswerT]]]) -> None:
        try:
            answers = await self._exchange([asked for asked, _ in together])
            for (_, future), answer in zip(together, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        except BaseException as error:
            for _, future in together:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
