"""Gathers bets that arrive together into one call, because a transaction for each would cost ten times as much.

A batch leaves as soon as a connection is free: when nothing is under way the first bet goes at once with all that
arrived in the same turn of the event loop; under load a batch is what gathered while the one before it was away. There
is no timer. The queue is bounded: what does not fit is refused at once as overloaded. The batcher knows nothing of SQL
or HTTP.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar


class Keyed(Protocol):
    """Something submitted: no two of one key are ever under way at the same time."""

    @property
    def key(self) -> Hashable:
        """What makes it the same as another: for a bet, its operator and transaction id."""


ItemT = TypeVar("ItemT", bound=Keyed)
AnswerT = TypeVar("AnswerT")


class Batcher(Generic[ItemT, AnswerT]):
    """Batches items for `send`, which gets them in the order of their arrival and answers with one answer an item.

    An item whose key is under way waits for the next batch, so that it finds what became of the first.
    """

    def __init__(
        self,
        send: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        overloaded: AnswerT,
        *,
        batch_items_max: int = 1_000,
        queue_items_max: int = 20_000,
        batches_under_way_max: int = 2,
    ) -> None:
        self._send = send
        self._overloaded = overloaded
        self._batch_items_max = batch_items_max
        self._queue_items_max = queue_items_max
        self._batches_under_way_max = batches_under_way_max
        self._queue: deque[tuple[ItemT, asyncio.Future[AnswerT]]] = deque()
        self._keys_under_way: set[Hashable] = set()
        self._batches: set[asyncio.Task[None]] = set()
        self._flush_scheduled = False

    async def submit(self, item: ItemT) -> AnswerT:
        """The answer for `item`; raises what `send` raised. A caller that is cancelled does not take its item back."""
        return await self._enqueue(item)

    async def submit_all(self, items: Sequence[ItemT]) -> list[AnswerT]:
        """The answers for items that came together, in their order. One that does not fit is overloaded by itself."""
        return await asyncio.gather(*[self._enqueue(item) for item in items])

    def _enqueue(self, item: ItemT) -> "asyncio.Future[AnswerT]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[AnswerT] = loop.create_future()
        if len(self._queue) >= self._queue_items_max:
            answer.set_result(self._overloaded)
            return answer
        self._queue.append((item, answer))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        return answer

    async def close(self) -> None:
        """Waits until everything submitted has its answer."""
        while self._queue or self._batches:
            await asyncio.sleep(0) if not self._batches else await asyncio.wait(self._batches)

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._queue and len(self._batches) < self._batches_under_way_max:
            batch = self._take_batch()
            if not batch:
                return
            task = asyncio.ensure_future(self._send_batch(batch))
            self._batches.add(task)
            task.add_done_callback(self._batch_done)

    def _take_batch(self) -> list[tuple[ItemT, asyncio.Future[AnswerT]]]:
        batch: list[tuple[ItemT, asyncio.Future[AnswerT]]] = []
        waiting: list[tuple[ItemT, asyncio.Future[AnswerT]]] = []
        while self._queue and len(batch) < self._batch_items_max:
            entry = self._queue.popleft()
            if entry[0].key in self._keys_under_way:
                waiting.append(entry)
            else:
                self._keys_under_way.add(entry[0].key)
                batch.append(entry)
        self._queue.extendleft(reversed(waiting))
        return batch

    async def _send_batch(self, batch: list[tuple[ItemT, asyncio.Future[AnswerT]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
            # Paired before the first is given away: with one answer missing, each could be another caller's.
            for (_, future), answer in list(zip(batch, answers, strict=True)):
                if not future.done():
                    future.set_result(answer)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._keys_under_way.difference_update(item.key for item, _ in batch)

    def _batch_done(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._flush()
