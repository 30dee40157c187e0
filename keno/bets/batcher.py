"""Gathers bets that arrive together into one call, because a transaction for each would cost ten times as much.

A batch leaves as soon as a connection is free: when nothing is under way the first bet goes at once with all that
arrived in the same turn of the event loop; under load a batch is what gathered while the one before it was away. There
is no timer. The queue is bounded: what does not fit is refused at once as overloaded. The batcher knows nothing of SQL
or HTTP.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class _Group(Generic[ItemT, AnswerT]):
    """Items that came together, with one future for all of them: one each would cost as much as the items."""

    __slots__ = ("answers", "done", "items", "missing")

    def __init__(self, items: Sequence[ItemT], unanswered: AnswerT) -> None:
        self.items = items
        self.answers: list[AnswerT] = [unanswered] * len(items)
        self.missing = len(items)
        self.done: asyncio.Future[list[AnswerT]] = asyncio.get_running_loop().create_future()

    def answer(self, start: int, answers: Sequence[AnswerT]) -> None:
        self.answers[start : start + len(answers)] = answers
        self.missing -= len(answers)
        if self.missing == 0 and not self.done.done():
            self.done.set_result(self.answers)

    def fail(self, count: int, error: BaseException) -> None:
        self.missing -= count
        if not self.done.done():
            self.done.set_exception(error)


class Batcher(Generic[ItemT, AnswerT]):
    """Batches items for `send`, which gets them in the order of their arrival and answers with one answer an item.

    No two items of one key (`key_of`) are ever under way at the same time: one whose key is waits for the next batch,
    so that it finds what became of the first. A batch leaves beside another only with `company_min` items: fewer are
    cheaper in one batch when that other has returned.
    """

    def __init__(
        self,
        send: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        key_of: Callable[[ItemT], Hashable],
        overloaded: AnswerT,
        *,
        batch_items_max: int = 1_000,
        queue_items_max: int = 20_000,
        batches_under_way_max: int = 2,
        company_min: int = 1,
    ) -> None:
        self._send = send
        self._key_of = key_of
        self._overloaded = overloaded
        self._batch_items_max = batch_items_max
        self._queue_items_max = queue_items_max
        self._batches_under_way_max = batches_under_way_max
        self._company_min = company_min
        self._queue: deque[tuple[_Group[ItemT, AnswerT], int, int]] = deque()
        """Of a group the items from one place to another."""
        self._queued = 0
        self._keys_under_way: set[Hashable] = set()
        self._batches: set[asyncio.Task[bool]] = set()
        self._starting: asyncio.Task[bool] | None = None
        """A batch that is about to leave, with what has been submitted by then."""

    async def submit(self, item: ItemT) -> AnswerT:
        """The answer for `item`; raises what `send` raised. A caller that is cancelled does not take its item back."""
        return (await self.submit_all((item,)))[0]

    def submit_all(self, items: Sequence[ItemT]) -> asyncio.Future[list[AnswerT]]:
        """The answers for items that came together, in their order, which are queued at once and not taken back by who
        is cancelled. One that does not fit is overloaded by itself. `items` is kept: it must not change.

        Where they went in several batches and one failed, its error is raised; the others stand.
        """
        group = _Group(items, self._overloaded)
        count = min(len(items), self._queue_items_max - self._queued)
        if count < len(items) or not items:
            group.answer(count, group.answers[count:])
        if count:
            self._queue.append((group, 0, count))
            self._queued += count
            self._start()
        return group.done

    @property
    def waiting(self) -> bool:
        """Whether items wait that no batch has taken yet."""
        return bool(self._queue)

    async def close(self) -> None:
        """Waits until everything submitted has its answer."""
        while self._queue or self._batches:
            await asyncio.sleep(0) if not self._batches else await asyncio.wait(self._batches)

    def _start(self) -> None:
        """Starts a batch, unless one starts or may not leave yet."""
        if self._starting is not None or not self._queued:
            return
        if self._batches and (self._queued < self._company_min or len(self._batches) >= self._batches_under_way_max):
            return
        self._starting = asyncio.create_task(self._send_batch(), name="batch")
        self._batches.add(self._starting)
        self._starting.add_done_callback(self._batch_ended)

    def _batch_ended(self, task: asyncio.Task[bool]) -> None:
        self._batches.discard(task)
        if self._starting is task:
            self._starting = None
        # Where all that is queued waits for keys under way, the end of their batch starts the next.
        if task.cancelled() or task.exception() is not None or task.result():
            self._start()

    def _take_batch(self) -> list[tuple[_Group[ItemT, AnswerT], int, int]]:
        batch, waiting, room = [], [], self._batch_items_max
        while self._queue and room:
            group, start, stop = self._queue.popleft()
            if stop - start > room:
                self._queue.appendleft((group, start + room, stop))
                stop = start + room
            keys = set(map(self._key_of, group.items[start:stop]))
            if len(keys) == stop - start and keys.isdisjoint(self._keys_under_way):
                self._keys_under_way |= keys
                batch.append((group, start, stop))
                room -= stop - start
            elif stop - start == 1:
                waiting.append((group, start, stop))
            else:
                self._queue.extendleft([(group, at, at + 1) for at in reversed(range(start, stop))])
        self._queue.extendleft(reversed(waiting))
        self._queued -= self._batch_items_max - room
        return batch

    async def _send_batch(self) -> bool:
        """Sends what may leave now; False where that is nothing."""
        self._starting = None
        batch = self._take_batch()
        if not batch:
            return False
        self._start()
        items = [item for group, start, stop in batch for item in group.items[start:stop]]
        try:
            answers = await self._send(items)
            # Counted before the first is given away: with one answer missing, each could be another caller's.
            if len(answers) != len(items):
                raise ValueError(f"{len(items)} items have {len(answers)} answers")
            taken = 0
            for group, start, stop in batch:
                group.answer(start, answers[taken : taken + stop - start])
                taken += stop - start
        except BaseException as error:
            for group, start, stop in batch:
                group.fail(stop - start, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._keys_under_way.difference_update(map(self._key_of, items))
        return True
