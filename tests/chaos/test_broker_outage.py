"""A broker that is down, connections that break: rounds go on, and every event takes effect once when it is back."""

import asyncio
import random
import signal
from collections.abc import Sequence

import pytest
from support.brokers import OwnBroker
from support.cables import Cable, laid_cable
from support.events import PATIENCE_S, Recorder, event, until
from support.flow import Counting, check_effects, drained, play, unsent, working
from support.installation import Told, bet, compare_books, deposit, installed
from support.money import Floor

from keno.demo.players import OperatorClient
from keno.infra.bus import BusError, Event
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.rabbit_dead import RabbitDeadLetters
from keno.wallet.service import WalletService

pytestmark = pytest.mark.usefixtures("quick_reconnects")


async def test_rounds_go_on_while_the_broker_is_down_and_take_effect_once_when_it_is_back(
    floor: Floor, own_broker: OwnBroker
) -> None:
    wallet = WalletService(floor.pool)
    async with working(floor, own_broker.url, "keno", wallet.credit_payouts):
        await play(floor, [1])
        await drained(floor)

        await asyncio.to_thread(own_broker.stop)
        await play(floor, [2, 3, 4])
        assert await floor.pool.fetchval("SELECT count(*) FROM rounds WHERE phase = 'settled'") == 4
        assert await floor.pool.fetchval("SELECT count(*) FROM round_credits") == 1
        assert await unsent(floor) > 0

        await own_broker.start()
        await play(floor, [5])
        await drained(floor)

    await check_effects(floor, rounds=5)
    assert await RabbitDeadLetters(own_broker.url).dead() == []


async def test_a_platform_that_starts_without_its_broker_plays_and_pays_once_it_is_there(own_broker: OwnBroker) -> None:
    await asyncio.to_thread(own_broker.stop)
    with installed(KENO_AMQP_URL=own_broker.url) as installation:
        private_key, room = installation.add_operator(), installation.add_room()
        installation.start("up")
        await installation.ready()
        client = OperatorClient(installation.origin, "first", private_key)
        await deposit(client)
        told, enough = Told(), asyncio.Event()
        betting = asyncio.create_task(bet(client, room, told, random.Random(1), enough))
        async with asyncio.timeout(PATIENCE_S):
            while len({each["round"]["id"] for each in told.accepted.values()}) < 3:  # noqa: ASYNC110 - players tell nobody
                await asyncio.sleep(0.1)

        await own_broker.start()
        enough.set()
        await betting
        await compare_books(client, told)
        await client.close()
        assert installation.end("up", signal.SIGTERM) == 0, installation.log_tail()
        audit = installation.keno("audit")
        assert audit.returncode == 0, audit.stdout


async def test_a_broker_that_is_killed_again_and_again_costs_no_effect_and_repeats_none(
    floor: Floor, own_broker: OwnBroker
) -> None:
    async with working(floor, own_broker.url, "keno", WalletService(floor.pool).credit_payouts):
        await own_broker.remembering()
        for kill in range(2):
            playing = asyncio.create_task(play(floor, range(2 * kill + 1, 2 * kill + 3)))
            await asyncio.sleep(0.2 * kill)
            await asyncio.to_thread(own_broker.kill)
            await playing
            await own_broker.start()
        await drained(floor)

    await check_effects(floor, rounds=4)
    assert await RabbitDeadLetters(own_broker.url).dead() == []


async def test_connections_that_break_while_handlers_work_cost_no_effect_and_repeat_none(
    floor: Floor, amqp_url: str, namespace: str
) -> None:
    async with laid_cable(amqp_url) as (line, url):
        credit = WalletService(floor.pool).credit_payouts
        # Cut before the effect, after it and before its acknowledgement, and not at all.
        cuts = iter(["before", "after", "before", "after"])

        async def wallet(*arrived: Event) -> None:
            cut = next(cuts, None)
            if cut == "before":
                cut_once(line)
            await credit(*arrived)
            if cut == "after":
                cut_once(line)

        counting = Counting(wallet)
        async with working(floor, url, namespace, counting):
            await play(floor, [1, 2, 3, 4])
            await drained(floor)
            await until(lambda: next(cuts, None) is None)

    assert max(counting.deliveries.values()) > 1, "an event whose acknowledgement was lost came again"
    await check_effects(floor, rounds=4)
    assert await RabbitDeadLetters(amqp_url, namespace).dead() == []


async def test_a_publish_cut_in_its_middle_and_repeated_loses_no_event_and_no_order(
    amqp_url: str, namespace: str
) -> None:
    recorder = Recorder()
    consumer = RabbitBus(amqp_url, namespace)
    consumer.subscribe("wallet", ["#"], recorder)
    await consumer.start()
    sent: list[Event] = []
    async with laid_cable(amqp_url) as (line, url):
        publisher = RabbitBus(url, namespace)
        publisher.declare("wallet", ["#"])
        await publisher.start()
        for cut_at_bytes in (1, 3_000, 20_000, 40_001):
            # Two rooms whose keys alternate, so that they need many messages.
            batch = [event(f"round.{number % 5}", f"room:{number % 2}") for number in range(200)]
            line.tear_after(cut_at_bytes)
            with pytest.raises(BusError):
                await publisher.publish(batch)
            await publish_until_confirmed(publisher, batch)
            sent += batch
        await publisher.close()

    await until(lambda: len({each.id for each in recorder.handled}) == len(sent))
    await consumer.close()
    assert len(recorder.handled) > len(sent), "what the broker had taken before a cut came twice"
    for room in ("room:0", "room:1"):
        first_of_each = list(dict.fromkeys(each.id for each in recorder.handled if each.aggregate == room))
        assert first_of_each == [each.id for each in sent if each.aggregate == room]


def cut_once(line: Cable) -> None:
    line.pull()
    line.plug()


async def publish_until_confirmed(bus: RabbitBus, events: Sequence[Event]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await bus.publish(events)
            except BusError:
                await asyncio.sleep(0.05)
            else:
                return
