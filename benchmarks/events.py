"""`python -m benchmarks.events`: events from the outbox through RabbitMQ into the inbox, beside plain aio-pika.

Needs a RabbitMQ. Removes what it made; never fails because a target was missed.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aio_pika
import asyncpg

from benchmarks import report, servers
from benchmarks.report import Row, Side
from benchmarks.servers import Servers
from keno.infra.bus import Event
from keno.infra.migrate import migrate
from keno.infra.outbox import BATCH_EVENTS_MAX, Relay
from keno.infra.postgres import create_pool
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.store import new_events

METHOD = (
    "Medians of alternating runs of both sides in one process and event loop; wall time, or processor time of the "
    "process, without that of the servers. Events are those of settled rounds: opened, locked, drawn, settled, payouts "
    "ready; payouts ready has a consumer, and so has settled, the others have none. Ours reads them from the outbox, "
    "publishes, and marks them as sent; the peer publishes a message an event with plain aio-pika, 256 of them waiting "
    "for their confirmation, and has no outbox to read or mark. Both exchanges have an alternate one, all queues are "
    "quorum queues. Each consumer enters its events in the inbox and acknowledges: ours what has arrived in one "
    "transaction, the peer's each event in its own, 32 at a time. Every event is counted in the inbox after each run."
)
RUNS = 5
EVENTS_A_RUN = 10 * BATCH_EVENTS_MAX
PEER_EVENTS_A_RUN = 2_000
PEER_IN_FLIGHT = 256
PEER_PREFETCH = 32
PEER_NAME = "aio-pika, a message an event"
KEYS = ("round.opened", "round.locked", "round.drawn", "round.settled", "payouts.ready")
CONSUMERS = {"wallet": "payouts.ready", "reporting": "round.settled"}
# 2,000 rounds a second.
DESIGN_EVENTS_A_SECOND = 2_000 * len(KEYS)
# As a tick writes them: a batch has the events of one kind, of all rooms.
FILL = """
    INSERT INTO outbox_batches (routing_key, events, events_count)
    SELECT ($2::text[])[1 + place % 5], jsonb_agg(jsonb_build_array('room:' || n, jsonb_build_object('v', 1,
        'round', n::text, 'room', gen_random_uuid(), 'seed', repeat('00', 32), 'bets', 10)))::text, count(*)
    FROM generate_series(0, $1::integer / $3::integer - 1) AS place CROSS JOIN generate_series(1, $3::integer) AS n
    GROUP BY place ORDER BY place
"""
DELETE_SENT = "DELETE FROM outbox_batches WHERE sent_ms IS NOT NULL"
Clock = Callable[[], float]
T = TypeVar("T")


@dataclass
class Inbox:
    """Enters events, and knows when those that were expected are in."""

    pool: asyncpg.Pool
    waiting: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, events: int) -> None:
        self.waiting = events
        self.done.clear()

    async def enter(self, consumer: str, events: list[uuid.UUID]) -> None:
        async with self.pool.acquire() as conn, conn.transaction():
            new = await new_events(conn, consumer, events)
        self.waiting -= len(new)
        if not self.waiting:
            self.done.set()


@dataclass
class Bench:
    """A migrated database, a bus with its consumers, and the peer's exchange, queues and consumers."""

    runner: asyncio.Runner
    pool: asyncpg.Pool
    bus: RabbitBus
    inbox: Inbox
    peer_exchange: aio_pika.abc.AbstractExchange
    consumed: bool

    def sides(self, rooms: int, clock: Clock) -> tuple[Side, Side]:
        """From the outbox to the broker and, where there are consumers, on into the inbox."""

        async def ours() -> None:
            relay = Relay(self.pool, self.bus, retention_ms=0)
            sent = 0
            while sent < EVENTS_A_RUN:
                sent += await relay.step()

        async def fill() -> None:
            await self.pool.execute(DELETE_SENT)
            await self.pool.execute(FILL, (RUNS + 1) * EVENTS_A_RUN, list(KEYS), rooms)
            await self.pool.execute("VACUUM ANALYZE outbox_batches")

        self.runner.run(fill())
        return self._side(ours, EVENTS_A_RUN, clock), self._side(self.publish, PEER_EVENTS_A_RUN, clock)

    async def publish(self) -> None:
        """The peer's: a message an event."""
        free = asyncio.Semaphore(PEER_IN_FLIGHT)

        async def send(number: int) -> None:
            key = KEYS[number % len(KEYS)]
            message = aio_pika.Message(
                event_data(number),
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                message_id=str(uuid.uuid4()),
            )
            async with free:
                await self.peer_exchange.publish(message, key)

        await asyncio.gather(*(send(number) for number in range(PEER_EVENTS_A_RUN)))

    def _side(self, work: Callable[[], Coroutine[Any, Any, None]], units: int, clock: Clock) -> Side:
        async def run() -> None:
            self.inbox.expect(units * len(CONSUMERS) // len(KEYS))
            await work()
            if self.consumed:
                await self.inbox.done.wait()

        return Side(lambda: self.runner.run(run()), units, clock)


def event_data(number: int) -> bytes:
    room = uuid.UUID(int=number)
    return f'{{"v": 1, "round": "{number}", "room": "{room}", "seed": "{"00" * 32}", "bets": 10}}'.encode()


def rows(bench: Bench, what: str, rooms: int) -> list[Row]:
    what = f"{what}, {rooms:,} room{'s'[: rooms > 1]}"
    wall = report.compare_cost(what, "us/event", 1e6, bench.sides(rooms, time.perf_counter), PEER_NAME, None, RUNS)
    processor = bench.sides(rooms, time.process_time)
    found = [wall, report.compare_cost(f"{what}, processor", "us/event", 1e6, processor, PEER_NAME, None, RUNS)]
    if rooms > 1:  # one room alone makes a few events a second, and no message can hold two of them
        rate = 1e6 / wall.ours
        found.append(report.compare_limit(what, "events/s", rate, DESIGN_EVENTS_A_SECOND, "2,000 rounds/s"))
    return found


@asynccontextmanager
async def opened(runner: asyncio.Runner, found: Servers, amqp_url: str, *, consumed: bool) -> AsyncIterator[Bench]:
    name = f"keno_bench_{uuid.uuid4().hex[:12]}"
    bus = RabbitBus(amqp_url, name)
    async with servers.database(found) as database:
        await migrate(database.owner_url)
        try:
            async with await create_pool(database.owner_url) as pool, await aio_pika.connect(amqp_url) as connection:
                inbox = Inbox(pool)
                for consumer, routing_key in CONSUMERS.items():
                    if consumed:
                        bus.subscribe(consumer, [routing_key], _handler(inbox, consumer))
                    else:
                        bus.declare(consumer, [routing_key])
                await bus.start()
                channel = await connection.channel()
                exchange = await _open_peer(connection, channel, name, inbox if consumed else None)
                yield Bench(runner, pool, bus, inbox, exchange, consumed)
                await bus.close()
                await _remove_topology(channel, name)
        finally:
            await bus.close()


async def _remove_topology(channel: aio_pika.abc.AbstractChannel, name: str) -> None:
    for each in ("dead", "unrouted", *CONSUMERS, *(f"peer.{each}" for each in ("unrouted", *CONSUMERS))):
        await channel.queue_delete(f"{name}.{each}")
    for each in ("events", "dead", "unrouted", "peer", "peer.unrouted"):
        await channel.exchange_delete(f"{name}.{each}")


@contextmanager
def entered(runner: asyncio.Runner, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """An asynchronous context for code that is not."""
    value = runner.run(context.__aenter__())
    try:
        yield value
    finally:
        runner.run(context.__aexit__(None, None, None))


def _handler(inbox: Inbox, consumer: str) -> Callable[..., Coroutine[Any, Any, None]]:
    async def handle(*events: Event) -> None:
        await inbox.enter(consumer, [event.id for event in events])

    return handle


async def _open_peer(
    connection: aio_pika.abc.AbstractConnection, channel: aio_pika.abc.AbstractChannel, name: str, inbox: Inbox | None
) -> aio_pika.abc.AbstractExchange:
    """The same topology for the peer and, with an inbox, consumers that take an event at a time."""
    quorum = {"x-queue-type": "quorum"}
    unrouted = await channel.declare_exchange(f"{name}.peer.unrouted", aio_pika.ExchangeType.FANOUT, durable=True)
    bounded = {**quorum, "x-max-length": 10_000, "x-overflow": "drop-head"}
    await (await channel.declare_queue(unrouted.name, durable=True, arguments=bounded)).bind(unrouted)
    exchange = await channel.declare_exchange(
        f"{name}.peer", aio_pika.ExchangeType.TOPIC, durable=True, arguments={"alternate-exchange": unrouted.name}
    )
    for consumer, routing_key in CONSUMERS.items():
        own = await connection.channel()
        await own.set_qos(prefetch_count=PEER_PREFETCH)
        queue = await own.declare_queue(f"{name}.peer.{consumer}", durable=True, arguments=quorum)
        await queue.bind(exchange, routing_key)
        if inbox is not None:
            await queue.consume(_peer_handler(inbox, consumer))
    return exchange


def _peer_handler(
    inbox: Inbox, consumer: str
) -> Callable[[aio_pika.abc.AbstractIncomingMessage], Coroutine[Any, Any, None]]:
    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await inbox.enter(consumer, [uuid.UUID(message.message_id)])
        await message.ack()

    return handle


def main() -> None:
    table: list[Row] = []
    with asyncio.Runner() as runner, entered(runner, servers.found_or_started()) as found:
        for what, consumed, rooms in (
            ("outbox to broker", False, (1_000, 50, 1)),
            ("outbox to inbox", True, (1_000,)),
        ):
            with entered(runner, opened(runner, found, servers.AMQP_URL, consumed=consumed)) as bench:
                table += [row for count in rooms for row in rows(bench, what, count)]
    print(report.publish("events", METHOD, table, packages=("aio-pika", "asyncpg")))


if __name__ == "__main__":
    main()
