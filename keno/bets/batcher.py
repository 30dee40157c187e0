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


class _Group(Generic[AnswerT]):
    """Items that came together, with one future for all of them: one each would cost as much as the items."""

    __slots__ = ("answers", "done", "missing")

    def __init__(self, size: int, unanswered: AnswerT) -> None:
        self.answers: list[AnswerT] = [unanswered] * size
        self.missing = size
        self.done: asyncio.Future[list[AnswerT]] = asyncio.get_running_loop().create_future()

    def answer(self, place: int, answer: AnswerT) -> None:
        self.answers[place] = answer
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(self.answers)

    def fail(self, error: BaseException) -> None:
        self.missing -= 1
        if not self.done.done():
            self.done.set_exception(error)


class Batcher(Generic[ItemT, AnswerT]):
    """Batches items for `send`, which gets them in the order of their arrival and answers with one answer an item.

    An item whose key is under way waits for the next batch, so that it finds what became of the first. A batch leaves
    beside another only with `company_min` items: fewer are cheaper in one batch when that other has returned.
    """

    def __init__(
        self,
        send: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        overloaded: AnswerT,
        *,
        batch_items_max: int = 1_000,
        queue_items_max: int = 20_000,
        batches_under_way_max: int = 2,
        company_min: int = 1,
    ) -> None:
        self._send = send
        self._overloaded = overloaded
        self._batch_items_max = batch_items_max
        self._queue_items_max = queue_items_max
        self._batches_under_way_max = batches_under_way_max
        self._company_min = company_min
        self._queue: deque[tuple[ItemT, _Group[AnswerT], int]] = deque()
        self._keys_under_way: set[Hashable] = set()
        self._batches: set[asyncio.Task[None]] = set()
        self._flush_scheduled = False

    async def submit(self, item: ItemT) -> AnswerT:
        """The answer for `item`; raises what `send` raised. A caller that is cancelled does not take its item back."""
        return (await self.submit_all((item,)))[0]

    def submit_all(self, items: Sequence[ItemT]) -> asyncio.Future[list[AnswerT]]:
        """The answers for items that came together, in their order, which are queued at once and not taken back by who
        is cancelled. One that does not fit is overloaded by itself.

        Where they went in several batches and one failed, its error is raised; the others stand.
        """
        group = _Group(len(items), self._overloaded)
        room = max(self._queue_items_max - len(self._queue), 0)
        self._queue.extend((item, group, place) for place, item in enumerate(items[:room]))
        for place in range(room, len(items)):
            group.answer(place, self._overloaded)
        if not items:
            group.done.set_result([])
            return group.done
        if room and not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)
        return group.done

    @property
    def waiting(self) -> bool:
        """Whether items wait that no batch has taken yet."""
        return bool(self._queue)

    async def close(self) -> None:
        """Waits until everything submitted has its answer."""
        while self._queue or self._batches:
            await asyncio.sleep(0) if not self._batches else await asyncio.wait(self._batches)

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._may_leave():
            batch = self._take_batch()
            if not batch:
                return
            task = asyncio.ensure_future(self._send_batch(batch))
            self._batches.add(task)
            task.add_done_callback(self._batch_done)

    def _may_leave(self) -> bool:
        if not self._batches:
            return bool(self._queue)
        return len(self._queue) >= self._company_min and len(self._batches) < self._batches_under_way_max

    def _take_batch(self) -> list[tuple[ItemT, _Group[AnswerT], int]]:
        batch: list[tuple[ItemT, _Group[AnswerT], int]] = []
        waiting: list[tuple[ItemT, _Group[AnswerT], int]] = []
        while self._queue and len(batch) < self._batch_items_max:
            entry = self._queue.popleft()
            key = entry[0].key
            if key in self._keys_under_way:
                waiting.append(entry)
            else:
                self._keys_under_way.add(key)
                batch.append(entry)
        self._queue.extendleft(reversed(waiting))
        return batch

    async def _send_batch(self, batch: list[tuple[ItemT, _Group[AnswerT], int]]) -> None:
        try:
            answers = await self._send([item for item, _, _ in batch])
            # Paired before the first is given away: with one answer missing, each could be another caller's.
            for (_, group, place), answer in list(zip(batch, answers, strict=True)):
                group.answer(place, answer)
        except BaseException as error:
            for _, group, _ in batch:
                group.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._keys_under_way.difference_update([item.key for item, _, _ in batch])

    def _batch_done(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._flush()
