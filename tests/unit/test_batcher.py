"""The batcher: what goes together, in which order, and who hears of what when sending fails."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keno.bets.batcher import Batcher

KEY = attrgetter("key")


@dataclass(frozen=True)
class Item:
    key: str
    place: int = 0


class Sender:
    """Answers a batch when it is told to: what it has been sent waits in `batches`."""

    def __init__(self) -> None:
        self.batches: list[list[Item]] = []
        self._ends: list[asyncio.Future[None]] = []
        self.keys_under_way: Counter[str] = Counter()

    async def __call__(self, items: Sequence[Item]) -> list[str]:
        self.batches.append(list(items))
        self.keys_under_way.update(item.key for item in items)
        assert self.keys_under_way.total() == len(self.keys_under_way), "a key is under way twice"
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        try:
            await end
        finally:
            for item in items:
                del self.keys_under_way[item.key]
        return [f"{item.key}:{item.place}" for item in items]

    def answer(self, batch: int) -> None:
        self._ends[batch].set_result(None)

    def fail(self, batch: int, error: BaseException) -> None:
        self._ends[batch].set_exception(error)


def batcher(
    sender: Sender, *, batch_items_max: int = 1_000, queue_items_max: int = 20_000, batches_under_way_max: int = 2
) -> Batcher[Item, str]:
    return Batcher(
        sender,
        KEY,
        "overloaded",
        batch_items_max=batch_items_max,
        queue_items_max=queue_items_max,
        batches_under_way_max=batches_under_way_max,
    )


def submit(to: Batcher[Item, str], *items: Item) -> list[asyncio.Task[str]]:
    return [asyncio.ensure_future(to.submit(item)) for item in items]


def numbered(count: int, start: int = 0) -> list[Item]:
    return [Item(f"k{number}", number) for number in range(start, start + count)]


async def turns(count: int = 5) -> None:
    """Lets everything that is ready happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_arrives_in_one_turn_goes_in_one_batch_in_the_order_of_arrival() -> None:
    sender = Sender()
    tasks = submit(batcher(sender), *numbered(50))
    await turns()
    assert sender.batches == [numbered(50)]
    sender.answer(0)
    assert await asyncio.gather(*tasks) == [f"k{number}:{number}" for number in range(50)]


async def test_a_lone_item_does_not_wait_for_company() -> None:
    sender = Sender()
    (task,) = submit(batcher(sender), Item("a"))
    await turns()
    sender.answer(0)
    assert await task == "a:0"


async def test_what_gathers_while_batches_are_under_way_goes_together_in_order_when_one_ends() -> None:
    sender = Sender()
    to = batcher(sender)
    first = submit(to, Item("a"))
    await turns()
    second = submit(to, Item("b"))
    await turns()
    third = []
    for item in numbered(10):
        third += submit(to, item)
        await turns()
    assert sender.batches == [[Item("a")], [Item("b")]]
    sender.answer(1)
    await turns()
    assert sender.batches[2:] == [numbered(10)]
    for batch in (0, 2):
        sender.answer(batch)
    await asyncio.gather(*first, *second, *third)


async def test_a_batch_is_no_larger_than_allowed_and_the_rest_follows_in_order() -> None:
    sender = Sender()
    tasks = submit(batcher(sender, batch_items_max=4, batches_under_way_max=1), *numbered(10))
    for batch in range(3):
        await turns()
        assert len(sender.batches) == batch + 1
        sender.answer(batch)
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in sender.batches] == [4, 4, 2]
    assert [item for batch in sender.batches for item in batch] == numbered(10)


async def test_no_more_batches_are_under_way_than_allowed() -> None:
    sender = Sender()
    to = batcher(sender, batch_items_max=1, batches_under_way_max=3)
    tasks = submit(to, *numbered(7))
    await turns()
    assert len(sender.batches) == 3
    for batch in (2, 0, 1, 3, 4, 5, 6):
        sender.answer(batch)
        await turns()
    await asyncio.gather(*tasks)


async def test_few_items_wait_for_the_batch_under_way_and_many_leave_beside_it() -> None:
    sender = Sender()
    to: Batcher[Item, str] = Batcher(sender, KEY, "overloaded", company_min=3)
    first = submit(to, Item("a"))
    await turns()
    few = submit(to, *numbered(2))
    await turns()
    assert sender.batches == [[Item("a")]]
    many = submit(to, *numbered(1, 2))
    await turns()
    assert sender.batches[1:] == [numbered(3)]
    assert not to.waiting
    last = submit(to, Item("z"))
    await turns()
    assert to.waiting
    for batch in range(3):
        sender.answer(batch)
        await turns()
    await asyncio.gather(*first, *few, *many, *last)


async def test_items_of_one_key_are_never_under_way_together_and_keep_their_order() -> None:
    sender = Sender()
    tasks = submit(batcher(sender), Item("a", 1), Item("b", 1), Item("a", 2), Item("c", 1), Item("a", 3))
    await turns()
    assert sender.batches == [[Item("a", 1), Item("b", 1), Item("c", 1)]]
    for batch in range(3):
        sender.answer(batch)
        await turns()
    assert sender.batches[1:] == [[Item("a", 2)], [Item("a", 3)]]
    assert await asyncio.gather(*tasks) == ["a:1", "b:1", "a:2", "c:1", "a:3"]


async def test_items_of_other_keys_overtake_one_that_waits_for_its_key() -> None:
    sender = Sender()
    to = batcher(sender)
    first = submit(to, Item("a", 1))
    await turns()
    blocked = submit(to, Item("a", 2))
    await turns()
    free = submit(to, Item("b", 1))
    await turns()
    assert sender.batches == [[Item("a", 1)], [Item("b", 1)]]
    sender.answer(1)
    assert await free[0] == "b:1"
    assert not blocked[0].done()
    sender.answer(0)
    await turns()
    sender.answer(2)
    assert [await first[0], await blocked[0]] == ["a:1", "a:2"]


async def test_a_key_is_free_again_after_its_batch_failed() -> None:
    sender = Sender()
    to = batcher(sender)
    first, second = submit(to, Item("a", 1), Item("a", 2))
    await turns()
    sender.fail(0, OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await first
    await turns()
    sender.answer(1)
    assert await second == "a:2"


async def test_a_full_queue_refuses_at_once_and_takes_items_again_when_there_is_room() -> None:
    sender = Sender()
    to = batcher(sender, queue_items_max=3, batches_under_way_max=1)
    under_way = submit(to, Item("a"))
    await turns()
    queued = submit(to, *numbered(3))
    await turns()
    refused = submit(to, *numbered(2, 3))
    await turns(1)
    assert [task.result() for task in refused] == ["overloaded"] * 2
    assert not any(task.done() for task in queued)
    sender.answer(0)
    await turns()
    late = submit(to, *numbered(1, 5))
    sender.answer(1)
    await turns()
    sender.answer(2)
    assert await asyncio.gather(*under_way, *queued, *late) == ["a:0", "k0:0", "k1:1", "k2:2", "k5:5"]
    assert sender.batches == [[Item("a")], numbered(3), numbered(1, 5)]


async def test_an_error_reaches_every_caller_of_its_batch_and_no_other() -> None:
    sender = Sender()
    to = batcher(sender, batch_items_max=3, batches_under_way_max=3)
    tasks = submit(to, *numbered(9))
    await turns()
    sender.answer(0)
    sender.fail(1, ConnectionError("lost"))
    sender.answer(2)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:3] + answers[6:] == [f"k{number}:{number}" for number in (0, 1, 2, 6, 7, 8)]
    assert [str(error) for error in answers[3:6]] == ["lost"] * 3
    assert all(isinstance(error, ConnectionError) for error in answers[3:6])


async def test_an_answer_missing_is_an_error_and_not_another_callers_answer() -> None:
    async def forgetful(items: Sequence[Item]) -> list[str]:
        return [item.key for item in items][1:]

    tasks = submit(Batcher(forgetful, KEY, "overloaded"), *numbered(3))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError] * 3


async def test_a_caller_that_is_cancelled_disturbs_nobody_and_its_item_is_sent_all_the_same() -> None:
    sender = Sender()
    to = batcher(sender)
    under_way = submit(to, *numbered(3))
    await turns()
    under_way[1].cancel()
    queued = submit(to, *numbered(3, 3))
    await turns()
    queued[0].cancel()
    await turns()
    for batch in (0, 1):
        sender.answer(batch)
    answers = await asyncio.gather(*under_way, *queued, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, asyncio.CancelledError, str, asyncio.CancelledError, str, str]
    assert sender.batches == [numbered(3), numbered(3, 3)]


async def test_an_error_after_a_caller_was_cancelled_still_reaches_the_others() -> None:
    sender = Sender()
    tasks = submit(batcher(sender), *numbered(3))
    await turns()
    tasks[0].cancel()
    await turns()
    sender.fail(0, OSError("gone"))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, OSError, OSError]


async def test_close_waits_until_everything_has_its_answer() -> None:
    sender = Sender()
    to = batcher(sender, batch_items_max=2, batches_under_way_max=1)
    tasks = submit(to, *numbered(3), Item("k0", 9))
    await turns(1)
    closing = asyncio.ensure_future(to.close())
    for batch in range(2):
        await turns()
        assert not closing.done()
        sender.answer(batch)
    await closing
    assert all(task.done() for task in tasks)
    assert [item for batch in sender.batches for item in batch] == [*numbered(3), Item("k0", 9)]


async def test_close_of_an_idle_batcher_returns() -> None:
    await batcher(Sender()).close()


@given(
    keys=st.lists(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5), max_size=4), max_size=8),
    batch_items_max=st.integers(1, 5),
    batches_under_way_max=st.integers(1, 3),
)
def test_whatever_arrives_each_item_is_sent_once_and_those_of_a_key_one_by_one_in_order(
    keys: list[list[list[str]]], batch_items_max: int, batches_under_way_max: int
) -> None:
    sent: list[Item] = []
    under_way: Counter[str] = Counter()

    async def send(items: Sequence[Item]) -> list[Item]:
        sent.extend(items)
        under_way.update(item.key for item in items)
        assert len(items) <= batch_items_max
        assert under_way.total() == len(under_way)
        for _ in range(len(items)):
            await asyncio.sleep(0)
        for item in items:
            del under_way[item.key]
        return list(items)

    async def arrive() -> None:
        to: Batcher[Item, Item] = Batcher(
            send,
            KEY,
            Item("overloaded"),
            batch_items_max=batch_items_max,
            batches_under_way_max=batches_under_way_max,
        )
        places = itertools.count()
        together: list[tuple[list[Item], asyncio.Future[list[Item]]]] = []
        for turn in keys:
            for group in turn:
                items = [Item(key, next(places)) for key in group]
                together.append((items, to.submit_all(items)))
            await asyncio.sleep(0)
        await to.close()
        assert [await answers for _, answers in together] == [items for items, _ in together]

    asyncio.run(arrive())
    arrived = [key for turn in keys for group in turn for key in group]
    assert Counter(sent) == Counter(Item(key, place) for place, key in enumerate(arrived))
    for key in "abcdef":
        places = [item.place for item in sent if item.key == key]
        assert places == sorted(places)


async def test_items_that_come_together_are_answered_together_and_in_their_order() -> None:
    sender = Sender()
    batches = batcher(sender, queue_items_max=3)
    answers = asyncio.ensure_future(batches.submit_all([Item("a"), Item("b"), Item("a", 1), Item("c")]))
    for batch in (0, 1):
        for _ in range(10):
            await asyncio.sleep(0)
        sender.answer(batch)
    assert await answers == ["a:0", "b:0", "a:1", "overloaded"]
    assert sender.batches == [[Item("a"), Item("b")], [Item("a", 1)]]


async def test_nothing_submitted_is_answered_at_once_and_is_in_nobodys_way() -> None:
    sender = Sender()
    batches = batcher(sender, queue_items_max=3)
    assert await batches.submit_all([]) == []
    full = asyncio.ensure_future(batches.submit_all(numbered(3)))
    assert await batches.submit_all([]) == []
    await turns()
    sender.answer(0)
    assert await full == ["k0:0", "k1:1", "k2:2"]
    assert sender.batches == [numbered(3)]
    await batches.close()


async def test_a_batch_that_is_cancelled_before_it_began_stops_nothing() -> None:
    sender = Sender()
    batches = batcher(sender)
    waiting = asyncio.ensure_future(batches.submit(Item("a")))
    await asyncio.sleep(0)
    (batch,) = [task for task in asyncio.all_tasks() if task.get_name() == "batch"]
    batch.cancel()
    await turns()
    sender.answer(0)
    assert await waiting == "a:0"
    await batches.close()
