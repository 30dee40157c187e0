"""A broker that is down, connections that break: rounds go on, and every event takes effect once when it is back."""

import asyncio
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from support.brokers import OwnBroker
from support.cables import Cable, laid_cable
from support.events import PATIENCE_S, Recorder, event, until
from support.money import Floor, open_floor

from keno.infra import rabbit_bus
from keno.infra.bus import BusError, Event, Handler
from keno.infra.outbox import Relay
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.rabbit_dead import RabbitDeadLetters
from keno.reporting.service import ReportingService
from keno.wallet.service import WalletService
from workers import runner

BETS_A_ROUND = 40
RETENTION_MS = 3_600_000


@pytest.fixture(autouse=True)
def _quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbit_bus, "_RECONNECT_PAUSE_S", 0.1)
    monkeypatch.setattr(rabbit_bus, "_CONFIRM_TIMEOUT_S", 2.0)
    monkeypatch.setattr(runner, "_PAUSE_MAX_S", 0.5)


@pytest.fixture
async def floor(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    async with open_floor(pool, vault_pool, owner_pool) as opened:
        yield opened


@pytest.fixture
async def own_broker() -> AsyncIterator[OwnBroker]:
    with tempfile.TemporaryDirectory(prefix="keno-broker-") as folder:
        broker = OwnBroker(Path(folder) / "node")
        try:
            await broker.start()
            yield broker
        finally:
            await asyncio.to_thread(broker.remove)


@pytest.fixture
async def namespace(amqp_url: str, amqp_namespace: str) -> AsyncIterator[str]:
    yield amqp_namespace
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        for queue in ("dead", "unrouted", "wallet", "reporting"):
            await channel.queue_delete(f"{amqp_namespace}.{queue}")
        for exchange in ("events", "dead", "unrouted"):
            await channel.exchange_delete(f"{amqp_namespace}.{exchange}")


class Counting:
    """A handler that counts the deliveries of each event."""

    def __init__(self, handler: Handler) -> None:
        self.deliveries: Counter[uuid.UUID] = Counter()
        self._handler = handler

    async def __call__(self, *arrived: Event) -> None:
        self.deliveries.update(each.id for each in arrived)
        await self._handler(*arrived)


@asynccontextmanager
async def working(floor: Floor, url: str, namespace: str, wallet: Handler) -> AsyncIterator[None]:
    """Relay, wallet and reporting at work, as their workers run them."""
    bus = RabbitBus(url, namespace)
    bus.subscribe("wallet", ["payouts.ready"], wallet)
    bus.subscribe("reporting", ["round.settled"], ReportingService(floor.pool).record_round)
    await bus.start()
    relay, stop = Relay(floor.pool, bus, RETENTION_MS), asyncio.Event()

    async def step() -> float:
        return 0 if await relay.step() else 0.02

    relaying = asyncio.create_task(runner.run("relay", step, stop))
    try:
        yield
    finally:
        stop.set()
        await relaying
        await bus.close()


async def play(floor: Floor, numbers: Sequence[int]) -> None:
    """Rounds with bets of which some win, to their settlement."""
    for number in numbers:
        placed = await floor.place(*(floor.bet(picks=(pick,)) for pick in range(1, BETS_A_ROUND + 1)))
        assert all(each.bet_id is not None for each in placed)
        await floor.settle(number)
        await floor.hall.tick()


async def unsent(floor: Floor) -> int:
    return int(await floor.pool.fetchval("SELECT count(*) FROM outbox WHERE sent_ms IS NULL"))


async def drained(floor: Floor) -> None:
    """Returns once every event was sent and every consumer has handled its own."""
    waiting = """
        SELECT count(*) FROM outbox AS o
        LEFT JOIN inbox AS i ON i.event_id = o.event_id
            AND (o.routing_key, i.consumer) IN (('payouts.ready', 'wallet'), ('round.settled', 'reporting'))
        WHERE o.sent_ms IS NULL OR (o.routing_key IN ('payouts.ready', 'round.settled') AND i.event_id IS NULL)
    """
    async with asyncio.timeout(PATIENCE_S):
        while await floor.pool.fetchval(waiting):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)


async def check_effects(floor: Floor, rounds: int) -> None:
    """Every round was paid and counted once."""
    staked = rounds * BETS_A_ROUND * 100
    paid = await floor.pool.fetchval("SELECT sum(payout_minor)::bigint FROM payouts")
    assert paid > 0
    assert await floor.balance("ann") == 100_000 - staked + paid
    figures = await floor.pool.fetchrow(
        "SELECT sum(rounds_count)::bigint, sum(bets_count)::bigint, sum(staked_minor)::bigint, sum(paid_minor)::bigint "
        "FROM revenue_hourly"
    )
    assert tuple(figures) == (rounds, rounds * BETS_A_ROUND, staked, paid)
    told = "SELECT count(*) FROM outbox WHERE routing_key = 'wallet.credited'"
    assert await floor.pool.fetchval(told) == rounds
    handled = await floor.pool.fetch("SELECT consumer, count(*) FROM inbox GROUP BY consumer ORDER BY consumer")
    assert [tuple(row) for row in handled] == [("reporting", rounds), ("wallet", rounds)]
    assert await floor.broken() == {}


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
