"""What `keno.infra.bus` promises, held against both buses; then what only the broker can show."""

import asyncio

import aio_pika
import asyncpg
import pytest
from support.events import PATIENCE_S, Recorder, event, next_message, until

from keno.infra import cloudevents, rabbit_bus
from keno.infra.bus import ATTEMPTS_MAX, Bus, BusError, Event
from keno.infra.local_bus import LocalBus, matches
from keno.infra.rabbit_bus import RabbitBus


async def test_an_event_reaches_every_consumer_that_asked_for_it_unchanged(bus: Bus) -> None:
    wallet, reporting = Recorder(), Recorder()
    bus.subscribe("wallet", ["payouts.ready", "round.settled"], wallet)
    bus.subscribe("reporting", ["round.*"], reporting)
    await bus.start()
    settled, ready = event("round.settled", data=b'{"v":1}'), event("payouts.ready")

    await bus.publish([settled, ready])

    await until(lambda: len(wallet.handled) == 2 and len(reporting.handled) == 1)
    assert {e.id: e for e in wallet.handled} == {settled.id: settled, ready.id: ready}
    assert reporting.handled == [settled]


async def test_events_of_one_aggregate_arrive_in_order_and_one_at_a_time(bus: Bus) -> None:
    running, overlaps = set[str](), list[str]()
    arrived: dict[str, list[Event]] = {}

    async def handler(*events: Event) -> None:
        aggregates = {each.aggregate for each in events}
        overlaps.extend(aggregates & running)
        running.update(aggregates)
        await asyncio.sleep(0)
        for each in events:
            arrived.setdefault(each.aggregate, []).append(each)
        running.difference_update(aggregates)

    bus.subscribe("wallet", ["#"], handler)
    await bus.start()
    sent = [event(aggregate=f"room:{number % 3}") for number in range(60)]

    await bus.publish(sent[:30])
    await bus.publish(sent[30:])

    await until(lambda: sum(map(len, arrived.values())) == len(sent))
    assert arrived == {name: [e for e in sent if e.aggregate == name] for name in ("room:0", "room:1", "room:2")}
    assert overlaps == []


async def test_one_aggregate_does_not_wait_for_another(bus: Bus) -> None:
    slow_began, other_came = asyncio.Event(), asyncio.Event()

    async def handler(*events: Event) -> None:
        if events[0].aggregate == "room:slow":
            slow_began.set()
            await other_came.wait()
        else:
            other_came.set()

    bus.subscribe("wallet", ["#"], handler)
    await bus.start()

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as publishing:
        publishing.create_task(bus.publish([event(aggregate="room:slow")]))
        await slow_began.wait()
        publishing.create_task(bus.publish([event(aggregate="room:quick")]))
        await other_came.wait()


async def test_events_that_wait_together_are_handed_over_together(bus: Bus) -> None:
    recorder = Recorder()
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()
    sent = [event(aggregate=f"room:{number}") for number in range(1_000)]

    await bus.publish(sent)

    await until(lambda: len(recorder.handled) == len(sent))
    assert {each.id for each in recorder.handled} == {each.id for each in sent}
    assert len(recorder.calls) < len(sent) / 10


@pytest.mark.usefixtures("quick_attempts")
async def test_a_failing_handler_gets_the_event_again_before_any_later_one_of_its_aggregate(bus: Bus) -> None:
    first, second = event(), event()
    remaining = [ValueError("a bug"), ConnectionResetError("a server is away")]
    recorder = Recorder(lambda arrived: remaining.pop() if arrived.id == first.id and remaining else None)
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()

    await bus.publish([first, second])

    await until(lambda: len(recorder.handled) == 2)
    # A server that is away is away for all of them; a bug may be one event's, so then each goes alone.
    assert recorder.calls == [(first, second), (first, second), (first,), (second,)]


async def test_an_event_that_nobody_asked_for_is_no_error(bus: Bus) -> None:
    recorder = Recorder()
    bus.subscribe("wallet", ["payouts.ready"], recorder)
    await bus.start()
    wanted = event("payouts.ready")

    await bus.publish([event("round.opened"), wanted])

    await until(lambda: recorder.handled == [wanted])


async def test_close_lets_a_running_handler_end(bus: Bus) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def handler(*_: Event) -> None:
        began.set()
        await asyncio.sleep(0.05)
        ended.set()

    bus.subscribe("wallet", ["#"], handler)
    await bus.start()
    publishing = asyncio.create_task(bus.publish([event()]))
    await began.wait()

    await bus.close()
    await publishing

    assert ended.is_set()


@pytest.mark.usefixtures("quick_attempts")
async def test_the_local_bus_refuses_what_could_not_take_effect_and_lets_nothing_overtake_it(
    pool: asyncpg.Pool,
) -> None:
    bus = LocalBus(pool)
    recorder = Recorder(lambda arrived: ConnectionResetError() if arrived.routing_key == "a" else None)
    bus.subscribe("wallet", ["#"], recorder)
    first, second = event("a"), event("b")

    with pytest.raises(BusError):
        await bus.publish([first, second])

    assert recorder.calls == [(first, second)] * ATTEMPTS_MAX
    assert await bus.dead() == []


async def test_the_local_bus_refuses_an_event_of_a_consumer_that_runs_elsewhere(pool: asyncpg.Pool) -> None:
    bus = LocalBus(pool)
    bus.declare("wallet", ["payouts.*"])

    await bus.publish([event("round.settled")])
    with pytest.raises(BusError, match="wallet"):
        await bus.publish([event("payouts.ready")])


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("round.settled", "round.settled", "round.settled.again"),
        ("round.*", "round.settled", "round"),
        ("round.#", "round", "rounds"),
        ("#.settled", "a.round.settled", "round.settled.a"),
        ("*.settled", "round.settled", "a.round.settled"),
        ("#", "anything.at.all", None),
    ],
)
def test_a_topic_pattern_covers_the_keys_that_amqp_says(pattern: str, matching: str, other: str | None) -> None:
    assert matches(pattern, matching)
    assert other is None or not matches(pattern, other)


async def test_what_is_published_while_a_declared_consumer_is_down_waits_for_it(
    amqp_url: str, rabbit_namespace: str
) -> None:
    publisher = RabbitBus(amqp_url, rabbit_namespace)
    publisher.declare("wallet", ["payouts.ready"])
    await publisher.start()
    ready = event("payouts.ready")
    await publisher.publish([ready])
    await publisher.close()

    recorder = Recorder()
    consumer = RabbitBus(amqp_url, rabbit_namespace)
    consumer.subscribe("wallet", ["payouts.ready"], recorder)
    await consumer.start()

    await until(lambda: recorder.handled == [ready])
    await consumer.close()


async def test_an_unrouted_event_is_put_aside_where_people_find_it(amqp_url: str, rabbit_namespace: str) -> None:
    bus = RabbitBus(amqp_url, rabbit_namespace)
    await bus.start()
    lost = event("nobody.asked")

    await bus.publish([lost])

    message = await next_message(amqp_url, f"{rabbit_namespace}.unrouted")
    assert cloudevents.decode(message.body) == [lost]
    await bus.close()


async def test_publish_raises_when_the_broker_has_nowhere_to_put_an_event(amqp_url: str, rabbit_namespace: str) -> None:
    bus = RabbitBus(amqp_url, rabbit_namespace)
    await bus.start()
    async with await aio_pika.connect(amqp_url) as connection:
        await (await connection.channel()).queue_delete(f"{rabbit_namespace}.unrouted")

    with pytest.raises(BusError):
        await bus.publish([event("nobody.asked")])

    await bus.close()


async def test_two_processes_of_one_consumer_share_its_events(amqp_url: str, rabbit_namespace: str) -> None:
    recorders = [Recorder(), Recorder()]
    buses = [RabbitBus(amqp_url, rabbit_namespace) for _ in recorders]
    for bus, recorder in zip(buses, recorders, strict=True):
        bus.subscribe("wallet", ["#"], recorder)
        await bus.start()
    sent = [event(aggregate=f"room:{number}") for number in range(20)]

    await buses[0].publish(sent)

    await until(lambda: sum(len(recorder.handled) for recorder in recorders) == len(sent))
    assert {e.id for recorder in recorders for e in recorder.handled} == {e.id for e in sent}
    for bus in buses:
        await bus.close()


async def test_an_event_whose_handler_lost_its_connection_is_delivered_again(cable, rabbit_namespace: str) -> None:
    line, url = cable
    attempts: list[Event] = []
    release = asyncio.Event()

    async def handler(*arrived: Event) -> None:
        attempts.extend(arrived)
        await release.wait()

    bus = RabbitBus(url, rabbit_namespace)
    bus.subscribe("wallet", ["#"], handler)
    await bus.start()
    sent = event()
    await bus.publish([sent])
    await until(lambda: attempts == [sent])

    line.pull()
    line.plug()
    release.set()

    await until(lambda: attempts == [sent, sent])
    after = event()
    await _publish_until_confirmed(bus, after)
    await until(lambda: after in attempts)
    await bus.close()


async def test_publish_without_a_connection_raises_instead_of_waiting_for_ever(
    cable, rabbit_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit_bus, "_CONFIRM_TIMEOUT_S", 0.5)
    line, url = cable
    recorder = Recorder()
    bus = RabbitBus(url, rabbit_namespace)
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()
    sent = event()

    line.pull()
    with pytest.raises(BusError):
        await bus.publish([sent])

    line.plug()
    await _publish_until_confirmed(bus, sent)
    await until(lambda: sent in recorder.handled)
    await bus.close()


async def test_a_broker_that_cannot_be_reached_is_a_bus_error() -> None:
    bus = RabbitBus("amqp://guest:guest@127.0.0.1:1/")
    with pytest.raises(BusError):
        await bus.start()
    with pytest.raises(BusError):
        await bus.publish([event()])
    await bus.close()


async def test_a_bus_whose_broker_was_away_can_be_started_once_it_is_back(cable, rabbit_namespace: str) -> None:
    line, url = cable
    recorder = Recorder()
    bus = RabbitBus(url, rabbit_namespace)
    bus.subscribe("wallet", ["#"], recorder)
    line.pull()
    with pytest.raises(BusError):
        await bus.start()

    line.plug()
    await bus.start()
    sent = event()
    await bus.publish([sent])

    await until(lambda: recorder.handled == [sent])
    await bus.close()


async def _publish_until_confirmed(bus: Bus, sent: Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await bus.publish([sent])
            except BusError:
                await asyncio.sleep(0.1)
            else:
                return
