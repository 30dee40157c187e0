"""Messages that come twice, late, and in any order and company: every effect once, and the books equal."""

import asyncio
import random

import aio_pika
import asyncpg
import pytest
from support.events import PATIENCE_S
from support.flow import Counting, check_effects, drained, play, working
from support.money import Floor

from keno.infra import cloudevents
from keno.infra.bus import Event
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.rabbit_dead import RabbitDeadLetters
from keno.reporting.service import ReportingService
from keno.wallet.service import WalletService

pytestmark = pytest.mark.usefixtures("quick_reconnects")

ROUNDS = 8
COPIES = 5


@pytest.mark.parametrize("seed", [1, 2])
async def test_events_duplicated_and_shuffled_take_effect_once(
    floor: Floor, amqp_url: str, namespace: str, seed: int
) -> None:
    taste = random.Random(seed)
    await play(floor, range(1, ROUNDS + 1))
    wallet, reporting = WalletService(floor.pool), ReportingService(floor.pool)
    # Two processes of each consumer, which share its queue and get copies of one event at the same time.
    counting = [Counting(wallet.credit_payouts) for _ in range(2)]
    buses = [RabbitBus(amqp_url, namespace) for _ in counting]
    for bus, counted in zip(buses, counting, strict=True):
        bus.subscribe("wallet", ["payouts.ready"], counted)
        bus.subscribe("reporting", ["round.settled"], reporting.record_round)
        await bus.start()

    await _publish_shuffled(amqp_url, namespace, await _events(floor.pool), taste)
    await _credited(floor)
    # The relay knows nothing of it, and sends all of them once more.
    async with working(floor, amqp_url, namespace, wallet.credit_payouts):
        await drained(floor)
    for bus in buses:
        await bus.close()

    assert sum((counting[0].deliveries + counting[1].deliveries).values()) >= ROUNDS * COPIES
    await check_effects(floor, rounds=ROUNDS)
    assert await RabbitDeadLetters(amqp_url, namespace).dead() == []


async def _events(pool: asyncpg.Pool) -> list[Event]:
    rows = await pool.fetch("SELECT event_id, routing_key, aggregate, created_ms, payload FROM outbox")
    return [Event(*tuple(row)[:4], row[4].encode()) for row in rows]


async def _publish_shuffled(url: str, namespace: str, events: list[Event], taste: random.Random) -> None:
    """Every event COPIES times, in messages of any size, in any order."""
    messages: list[list[Event]] = []
    for routing_key in {event.routing_key for event in events}:
        copies = COPIES * [event for event in events if event.routing_key == routing_key]
        taste.shuffle(copies)
        while copies:
            size = taste.randint(1, 7)
            messages.append(copies[:size])
            del copies[:size]
    taste.shuffle(messages)
    async with await aio_pika.connect(url) as connection:
        exchange = await (await connection.channel()).get_exchange(f"{namespace}.events")
        for message in messages:
            body = cloudevents.encode(message)
            await exchange.publish(
                aio_pika.Message(body, content_type=cloudevents.CONTENT_TYPE), message[0].routing_key
            )


async def _credited(floor: Floor) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await floor.pool.fetchval("SELECT count(*) FROM round_credits") < ROUNDS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
