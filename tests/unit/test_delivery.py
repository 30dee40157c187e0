"""How a consumer hands events over, whatever its handler does: in order, together, and none lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from support.events import Recorder, event

from keno.infra import delivery
from keno.infra.bus import ATTEMPTS_MAX, Event
from keno.infra.delivery import CALL_EVENTS_MAX, CALLS_MAX, Consumer, Delivery, Ending


@pytest.fixture(autouse=True)
def _quick_attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(delivery, "_PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(delivery, "_PAUSE_MAX_S", 0.002)
    with capture_logs():  # a failure of hundreds of events takes long to print
        yield


@pytest.mark.parametrize("seed", range(10))
async def test_order_holds_and_only_bad_events_die_whatever_fails_in_between(seed: int) -> None:
    taste = random.Random(seed)
    sent = [event(aggregate=f"room:{taste.randrange(7)}") for _ in range(300)]
    poison = {each.id for each in taste.sample(sent, 3)}
    handled: list[Event] = []
    running = Counter[str]()

    async def handler(*events: Event) -> None:
        aggregates = {each.aggregate for each in events}
        running.update(aggregates)
        assert max(running.values()) == 1
        await asyncio.sleep(0)
        running.subtract(aggregates)
        if taste.random() < 0.2:
            raise ConnectionResetError("a server is away")
        if any(each.id in poison for each in events):
            raise ValueError("it never works")
        handled.extend(events)

    consumer = Consumer("wallet", handler)
    deliveries: list[asyncio.Task[list[Delivery]]] = []
    rest = list(sent)
    while rest:
        size = taste.randint(1, 40)
        deliveries.append(asyncio.create_task(consumer.deliver(rest[:size])))
        del rest[:size]
        await asyncio.sleep(0)
    ended = [each for delivered in await asyncio.gather(*deliveries) for each in delivered]

    assert [each.event for each in ended] == sent
    assert {each.event.id for each in ended if each.ending is Ending.DEAD} == poison
    assert all(each.ending is not Ending.UNFINISHED for each in ended)
    for room in range(7):
        of_room = [each for each in sent if each.aggregate == f"room:{room}" and each.id not in poison]
        assert [each for each in handled if each.aggregate == f"room:{room}"] == of_room


async def test_a_call_holds_so_many_events_and_no_more_calls_run_than_allowed() -> None:
    running = peak = 0
    sizes: list[int] = []

    async def handler(*events: Event) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        sizes.append(len(events))
        await asyncio.sleep(0.001)
        running -= 1

    sent = [event(aggregate=f"room:{number}") for number in range(7 * CALL_EVENTS_MAX)]
    await Consumer("wallet", handler).deliver(sent)

    assert sizes == [CALL_EVENTS_MAX] * 7
    assert peak == CALLS_MAX


async def test_what_is_behind_an_unfinished_event_is_unfinished_too_and_was_not_tried() -> None:
    first, second, other = event(), event(), event(aggregate="room:2")
    recorder = Recorder(lambda arrived: ConnectionResetError() if arrived.id == first.id else None)
    consumer = Consumer("wallet", recorder, transient_failures_max=ATTEMPTS_MAX)

    before = asyncio.create_task(consumer.deliver([first]))
    await asyncio.sleep(0.002)
    ended = [*await consumer.deliver([second, other]), *await before]

    assert {each.event.id: each.ending for each in ended} == {
        first.id: Ending.UNFINISHED,
        second.id: Ending.UNFINISHED,
        other.id: Ending.HANDLED,
    }
    assert recorder.handled == [other]


async def test_close_ends_what_waits_and_lets_a_call_end() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def handler(*_: Event) -> None:
        began.set()
        await go_on.wait()

    consumer = Consumer("wallet", handler)
    running = asyncio.create_task(consumer.deliver([event()]))
    await began.wait()
    behind = asyncio.create_task(consumer.deliver([event(), event()]))
    await asyncio.sleep(0)

    consumer.close()
    go_on.set()

    assert [each.ending for each in await running] == [Ending.HANDLED]
    assert [each.ending for each in await behind] == [Ending.UNFINISHED] * 2
    assert [each.ending for each in await consumer.deliver([event()])] == [Ending.UNFINISHED]


async def test_an_event_that_comes_twice_at_once_is_handed_over_twice_in_turn() -> None:
    recorder, twice = Recorder(), event()
    consumer = Consumer("wallet", recorder)

    await asyncio.gather(consumer.deliver([twice]), consumer.deliver([twice, event()]))

    assert Counter(each.id for each in recorder.handled)[twice.id] == 2
