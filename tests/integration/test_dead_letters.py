"""What `keno.infra.bus` promises of dead events, held against both buses; then what is each one's own."""

import asyncio
from types import SimpleNamespace
from typing import ClassVar

import aio_pika
import asyncpg
import pytest
from msgspec.structs import replace
from support.events import PATIENCE_S, Recorder, event, next_message, until

from keno.infra import rabbit_dead
from keno.infra.bus import ATTEMPTS_MAX, Bus, BusError, DeadEvent, DeadLetters
from keno.infra.local_bus import LocalBus
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.rabbit_dead import RabbitDeadLetters


@pytest.mark.usefixtures("quick_attempts")
async def test_a_poisonous_event_ends_dead_and_lets_those_behind_it_pass(bus: Bus, dead_letters: DeadLetters) -> None:
    poison, harmless = event("round.settled", data=b'{"poison":true}'), event()
    recorder = Recorder(lambda arrived: ValueError("it never works") if arrived.id == poison.id else None)
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()

    await bus.publish([poison, harmless])

    await until(lambda: recorder.handled == [harmless])
    assert recorder.calls == [(poison, harmless), *[(poison,)] * ATTEMPTS_MAX, (harmless,)]
    (dead,) = await _dead(dead_letters, 1)
    assert (dead.id, dead.consumer) == (str(poison.id), "wallet")
    assert (dead.routing_key, dead.aggregate) == (poison.routing_key, poison.aggregate)
    assert dead.dead_ms > 1_700_000_000_000
    assert dead.reason


@pytest.mark.usefixtures("quick_attempts")
async def test_a_poisonous_event_takes_none_of_those_that_came_with_it_along(
    bus: Bus, dead_letters: DeadLetters
) -> None:
    sent = [event(aggregate=f"room:{number % 30}") for number in range(120)]
    poison = {sent[0].id, sent[40].id}
    recorder = Recorder(lambda arrived: ValueError("it never works") if arrived.id in poison else None)
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()

    await bus.publish(sent)

    await until(lambda: len(recorder.handled) >= len(sent) - len(poison))
    assert {each.id for each in recorder.handled} == {each.id for each in sent} - poison
    assert {each.id for each in await _dead(dead_letters, 2)} == {str(each) for each in poison}
    await bus.close()
    assert len(await _dead(dead_letters, 2)) == 2, "and the broker has nothing left to deliver"


@pytest.mark.usefixtures("quick_attempts")
async def test_looking_at_the_dead_moves_none_of_them(bus: Bus, dead_letters: DeadLetters) -> None:
    bus.subscribe("wallet", ["#"], Recorder(lambda _: ValueError("it never works")))
    await bus.start()
    assert await dead_letters.dead() == []
    sent = [event(aggregate=f"room:{number}") for number in range(5)]
    await bus.publish(sent)

    first = await _dead(dead_letters, 5)

    assert {each.id for each in first} == {str(each.id) for each in sent}
    for _ in range(20):
        assert await dead_letters.replay(["no such id"]) == []
        assert await dead_letters.dead() == first


@pytest.mark.usefixtures("quick_attempts")
async def test_a_replayed_event_reaches_the_consumer_it_died_of_unchanged_and_no_other(
    bus: Bus, dead_letters: DeadLetters
) -> None:
    broken = True
    wallet = Recorder(lambda _: ValueError("a bug") if broken else None)
    reporting = Recorder()
    bus.subscribe("wallet", ["#"], wallet)
    bus.subscribe("reporting", ["#"], reporting)
    await bus.start()
    first, second = event(data=b'{"v":1}', aggregate="room:1"), event(aggregate="room:2")
    await bus.publish([first, second])
    await _dead(dead_letters, 2)
    broken = False

    assert await dead_letters.replay(["no such id"]) == []
    assert [each.id for each in await dead_letters.replay([str(first.id)])] == [str(first.id)]

    await until(lambda: wallet.handled == [first])
    assert [each.id for each in await _dead(dead_letters, 1)] == [str(second.id)]
    assert [each.id for each in await dead_letters.replay()] == [str(second.id)]
    await until(lambda: wallet.handled == [first, second])
    assert await dead_letters.dead() == []
    await until(lambda: len(reporting.attempts) >= 2)
    assert {each.id for each in reporting.attempts} == {first.id, second.id}
    assert len(reporting.attempts) == 2


@pytest.mark.usefixtures("quick_attempts")
async def test_an_event_that_dies_again_is_dead_once(bus: Bus, dead_letters: DeadLetters) -> None:
    recorder = Recorder(lambda _: ValueError("it never works"))
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()
    poison = event()
    await bus.publish([poison])
    await _dead(dead_letters, 1)

    await dead_letters.replay([str(poison.id)])

    await until(lambda: len(recorder.attempts) == 2 * ATTEMPTS_MAX)
    (dead,) = await _dead(dead_letters, 1)
    assert (dead.id, dead.consumer, dead.routing_key) == (str(poison.id), "wallet", poison.routing_key)


@pytest.mark.usefixtures("quick_attempts")
async def test_the_dead_of_the_local_bus_outlive_its_process(pool: asyncpg.Pool) -> None:
    bus, poison = LocalBus(pool), event(data=b'{"v":1}')
    bus.subscribe("wallet", ["#"], Recorder(lambda _: ValueError("a bug")))
    await bus.publish([poison])

    mended, recorder = LocalBus(pool), Recorder()
    assert await mended.replay() == [], "without its handler it stays dead"
    mended.subscribe("wallet", ["#"], recorder)
    (dead,) = await mended.dead()
    assert dead.reason == "ValueError('a bug')"
    assert await mended.replay() == [dead]

    assert recorder.handled == [poison]
    assert await mended.dead() == []


@pytest.mark.usefixtures("quick_attempts")
async def test_the_local_bus_does_not_take_an_event_whose_death_it_could_not_store(pool: asyncpg.Pool) -> None:
    bus = LocalBus(pool)
    bus.subscribe("wallet", ["#"], Recorder(lambda _: ValueError("a bug")))
    await pool.close()

    with pytest.raises(asyncpg.InterfaceError):
        await bus.publish([event()])


async def test_a_broker_on_which_no_bus_has_started_has_no_dead(amqp_url: str, rabbit_namespace: str) -> None:
    dead_letters = RabbitDeadLetters(amqp_url, rabbit_namespace)
    assert await dead_letters.dead() == []
    assert await dead_letters.replay() == []


async def test_an_event_whose_queue_is_gone_stays_dead(amqp_url: str, rabbit_namespace: str) -> None:
    bus = RabbitBus(amqp_url, rabbit_namespace)
    bus.subscribe("wallet", ["#"], Recorder())
    await bus.start()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(f"{rabbit_namespace}.events")
        await exchange.publish(aio_pika.Message(b"no event"), "round.settled")
        dead_letters = RabbitDeadLetters(amqp_url, rabbit_namespace)
        (dead,) = await _dead(dead_letters, 1)
        await bus.close()
        await channel.queue_delete(f"{rabbit_namespace}.wallet")

    assert await dead_letters.replay() == []
    assert await _dead(dead_letters, 1) == [dead]


async def test_what_was_read_is_waited_for_beside_what_is_there_already() -> None:
    class FakeSlowQueue:
        """One of a broker that takes its time, with another message in it."""

        counts: ClassVar = [1, 1, 2, 1, 3, 3]

        async def declare(self, timeout: float) -> SimpleNamespace:  # noqa: ASYNC109 - as aio-pika has it
            return SimpleNamespace(message_count=self.counts.pop(0))

    class FakeLast:
        given_back = False

        async def nack(self, *, multiple: bool) -> None:
            self.given_back = multiple

    queue, last = FakeSlowQueue(), FakeLast()
    await rabbit_dead._give_back(queue, last, 2)  # type: ignore[arg-type]
    assert last.given_back
    assert queue.counts == [3]


async def test_one_event_of_a_message_that_the_broker_gave_up_is_replayed_and_the_others_stay_dead(
    amqp_url: str, rabbit_namespace: str
) -> None:
    publisher, dead_letters = RabbitBus(amqp_url, rabbit_namespace), RabbitDeadLetters(amqp_url, rabbit_namespace)
    publisher.declare("wallet", ["#"])
    await publisher.start()
    first, second, third = (event(aggregate=f"room:{number}") for number in range(3))
    await publisher.publish([first, second, third])
    await publisher.close()
    async with await aio_pika.connect(amqp_url) as connection:
        queue = await (await connection.channel()).get_queue(f"{rabbit_namespace}.wallet")
        await (await queue.get()).reject(requeue=False)
    dead = {each.id: each for each in await _dead(dead_letters, 3)}
    assert {(each.consumer, each.reason) for each in dead.values()} == {("wallet", "rejected")}

    assert await dead_letters.replay([str(second.id)]) == [dead[str(second.id)]]

    left = await _dead(dead_letters, 2)
    assert left == [replace(dead[str(each.id)], dead_ms=left[0].dead_ms) for each in (first, third)]
    recorder = Recorder()
    bus = RabbitBus(amqp_url, rabbit_namespace)
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()
    await until(lambda: recorder.handled == [second])
    assert len(await dead_letters.replay()) == 2
    await until(lambda: {each.id for each in recorder.handled} == {first.id, second.id, third.id})
    await bus.close()


async def test_the_dead_of_a_broker_that_cannot_be_reached_are_a_bus_error() -> None:
    dead_letters = RabbitDeadLetters("amqp://guest:guest@127.0.0.1:1/")
    with pytest.raises(BusError):
        await dead_letters.dead()
    with pytest.raises(BusError):
        await dead_letters.replay()


async def test_a_message_that_is_no_event_ends_dead(amqp_url: str, rabbit_namespace: str) -> None:
    recorder = Recorder()
    bus = RabbitBus(amqp_url, rabbit_namespace)
    bus.subscribe("wallet", ["#"], recorder)
    await bus.start()
    async with await aio_pika.connect(amqp_url) as connection:
        exchange = await (await connection.channel()).get_exchange(f"{rabbit_namespace}.events")
        await exchange.publish(aio_pika.Message(b"no event"), "round.settled")

    dead_letters = RabbitDeadLetters(amqp_url, rabbit_namespace)
    (dead,) = await _dead(dead_letters, 1)
    assert (dead.consumer, dead.routing_key) == ("wallet", "round.settled")
    assert await dead_letters.replay([dead.id]) == [dead]
    assert [each.id for each in await _dead(dead_letters, 1)] == [dead.id]
    assert (await next_message(amqp_url, f"{rabbit_namespace}.dead")).body == b"no event"
    assert recorder.attempts == []
    await bus.close()


async def _dead(dead_letters: DeadLetters, count: int) -> list[DeadEvent]:
    """The dead, once there are so many."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await dead_letters.dead()) != count:  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.05)
    return found
