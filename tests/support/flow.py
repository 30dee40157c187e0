"""Rounds with bets, their events on the way to the wallet and the reporting, and what must have come of them."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from keno.infra.bus import Event, Handler
from keno.infra.outbox import Relay
from keno.infra.rabbit_bus import RabbitBus
from keno.reporting.service import ReportingService
from support.events import PATIENCE_S
from support.money import Floor
from workers import runner

BETS_A_ROUND = 40
RETENTION_MS = 3_600_000


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
