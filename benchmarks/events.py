"""`python -m benchmarks.events`: events from the outbox through RabbitMQ to a handler, beside plain aio-pika.

Needs a PostgreSQL where it may create a database (KENO_BENCH_DATABASE_URL) and a RabbitMQ (KENO_BENCH_AMQP_URL), by
default those on their usual local ports. Removes what it made; never fails because a target was missed.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import asyncpg

from benchmarks import report
from benchmarks.report import Row, Side
from keno.infra.bus import Event
from keno.infra.migrate import migrate
from keno.infra.outbox import BATCH_EVENTS_MAX, Relay
from keno.infra.postgres import create_pool
from keno.infra.rabbit_bus import RabbitBus

METHOD = (
    "Medians of alternating runs of both sides in one process and event loop; wall time, or processor time of the "
    "process, without that of the servers. Events are those of settled rounds: opened, locked, drawn, settled, payouts "
    "ready, with the wallet and the reporting as consumers. Ours reads them from the outbox, publishes, and marks them "
    "as sent; the peer publishes messages of the same body to a quorum queue with plain aio-pika, each confirmed "
    "before the next, and has no outbox to read or mark. Handlers do nothing; the peer's consumer acknowledges."
)
DATABASE_URL = os.environ.get("KENO_BENCH_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
AMQP_URL = os.environ.get("KENO_BENCH_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
RUNS = 5
EVENTS_A_RUN = 10 * BATCH_EVENTS_MAX
PEER_EVENTS_A_RUN = 500
KEYS = ("round.opened", "round.locked", "round.drawn", "round.settled", "payouts.ready")
CONSUMERS = {"wallet": ["payouts.ready"], "reporting": ["round.settled"]}
# 2,000 rounds a second.
DESIGN_EVENTS_A_SECOND = 2_000 * len(KEYS)
FILL = """
    INSERT INTO outbox (routing_key, aggregate, payload)
    SELECT ($2::text[])[1 + n % 5], 'room:' || (n / 5) % $3,
        jsonb_build_object('v', 1, 'round', n::text, 'room', gen_random_uuid(), 'seed', repeat('00', 32), 'bets', 10)
    FROM generate_series(1, $1::integer) AS n
"""
Clock = Callable[[], float]


@dataclass
class Bench:
    """A migrated database, a bus whose consumers are declared, and the peer's queue."""

    runner: asyncio.Runner
    pool: asyncpg.Pool
    bus: RabbitBus
    handled: asyncio.Queue[Event]
    peer_exchange: aio_pika.abc.AbstractExchange
    peer_queue: aio_pika.abc.AbstractQueue

    def relaying(self, rooms: int, clock: Clock) -> tuple[Side, Side]:
        """From the outbox to the broker, against one confirmed publish after another."""

        async def fill() -> None:
            await self.pool.execute(FILL, (RUNS + 1) * EVENTS_A_RUN, list(KEYS), rooms)
            await self.pool.execute("ANALYZE outbox")

        async def ours() -> None:
            relay = Relay(self.pool, self.bus, retention_ms=0)
            sent = 0
            while sent < EVENTS_A_RUN:
                sent += await relay.step()

        self.runner.run(fill())
        return self._side(ours, EVENTS_A_RUN, clock), self._side(self.publish_one_by_one, PEER_EVENTS_A_RUN, clock)

    def handling(self, clock: Clock) -> tuple[Side, Side]:
        """From `publish` to a handler that does nothing."""

        async def ours() -> None:
            events = [event("bench.handled", number) for number in range(EVENTS_A_RUN)]
            for start in range(0, len(events), BATCH_EVENTS_MAX):
                await self.bus.publish(events[start : start + BATCH_EVENTS_MAX])
            for _ in events:
                await self.handled.get()

        async def peer() -> None:
            await self.publish_one_by_one()
            done = asyncio.Event()
            remaining = PEER_EVENTS_A_RUN

            async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                nonlocal remaining
                await message.ack()
                remaining -= 1
                if not remaining:
                    done.set()

            tag = await self.peer_queue.consume(handle)
            await done.wait()
            await self.peer_queue.cancel(tag)

        self.runner.run(self.peer_queue.purge())
        return self._side(ours, EVENTS_A_RUN, clock), self._side(peer, PEER_EVENTS_A_RUN, clock)

    async def publish_one_by_one(self) -> None:
        for number in range(PEER_EVENTS_A_RUN):
            message = aio_pika.Message(event("", number).data, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await self.peer_exchange.publish(message, self.peer_queue.name)

    def _side(self, work: Callable[[], Coroutine[Any, Any, None]], units: int, clock: Clock) -> Side:
        return Side(lambda: self.runner.run(work()), units, clock)


def event(routing_key: str, number: int) -> Event:
    data = (
        f'{{"v": 1, "round": "{number}", "room": "{uuid.UUID(int=number)}", "seed": "{"00" * 32}", "bets_count": 10}}'
    )
    return Event(uuid.uuid4(), routing_key, f"room:{number % 50}", 1_790_000_000_000, data.encode())


def rows(bench: Bench) -> list[Row]:
    peer = "aio-pika, one at a time"
    found = []
    for what, rooms in (("outbox to broker, 50 rooms", 50), ("outbox to broker, one room", 1)):
        row = report.compare_cost(what, "us/event", 1e6, bench.relaying(rooms, time.perf_counter), peer, 3, RUNS)
        rate = report.compare_limit(what, "events/s", 1e6 / row.ours, DESIGN_EVENTS_A_SECOND, "2,000 rounds/s")
        found += [row, rate]
    for what, sides in (
        ("outbox to broker, processor", bench.relaying(50, time.process_time)),
        ("publish to handler, processor", bench.handling(time.process_time)),
    ):
        found.append(report.compare_cost(what, "us/event", 1e6, sides, peer, None, RUNS))
    found.append(
        report.compare_cost("publish to handler", "us/event", 1e6, bench.handling(time.perf_counter), peer, None, RUNS)
    )
    return found


@asynccontextmanager
async def opened(runner: asyncio.Runner) -> AsyncIterator[Bench]:
    name = f"keno_bench_{uuid.uuid4().hex[:12]}"
    url = urlsplit(DATABASE_URL)._replace(path=f"/{name}").geturl()
    admin = await asyncpg.connect(DATABASE_URL)
    await admin.execute(f"CREATE DATABASE {name}")
    bus, handled = RabbitBus(AMQP_URL, name), asyncio.Queue[Event]()
    try:
        await migrate(url)
        for consumer, routing_keys in CONSUMERS.items():
            bus.declare(consumer, routing_keys)
        bus.subscribe("bench", ["bench.handled"], handled.put)
        await bus.start()
        async with await create_pool(url) as pool, await aio_pika.connect(AMQP_URL) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(f"{name}.peer", durable=True, arguments={"x-queue-type": "quorum"})
            await channel.set_qos(prefetch_count=32)
            yield Bench(runner, pool, bus, handled, channel.default_exchange, queue)
            await bus.close()
            for each in ("peer", "bench", "dead", "unrouted", *CONSUMERS):
                await channel.queue_delete(f"{name}.{each}")
            for each in ("events", "dead", "unrouted"):
                await channel.exchange_delete(f"{name}.{each}")
    finally:
        await bus.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


def main() -> None:
    with asyncio.Runner() as runner:
        context = opened(runner)
        bench = runner.run(context.__aenter__())
        try:
            print(report.publish("events", METHOD, rows(bench), packages=("aio-pika", "asyncpg")))
        finally:
            runner.run(context.__aexit__(None, None, None))


if __name__ == "__main__":
    main()
