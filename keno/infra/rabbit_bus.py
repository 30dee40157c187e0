"""The event bus between processes: a topic exchange, a quorum queue for each consumer, and a queue for the dead.

    <namespace>.events ---- routing key ----> <namespace>.<consumer>   (one a consumer)
         | nobody's events                         | an event after its last attempt,
         v                                         v a message that is none, or after DELIVERIES_MAX lost connections
    <namespace>.unrouted  (bounded)           <namespace>.dead

A message holds events of its routing key (`keno.infra.packing`) as a batch of CloudEvents (`keno.infra.cloudevents`).
aio-pika reconnects; what it leaves to us: a publish can hang over a reconnect (so each has a limit), and an unroutable
one counts as delivered (so a return raises).

All messages of a `publish` are in flight at once, written in their order on one channel. The broker takes them in that
order, so when the connection is cut it has a first part of them, and all of them published again lose no order. That
holds only as long as none is written on the channel that follows a cut one, which is why the channel is held here.

A message is acknowledged when each of its events was handled or is among the dead, where it goes alone.

Not here: the dead (`keno.infra.rabbit_dead`).
"""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, cast

import aio_pika
import structlog
from aio_pika.abc import (
    AbstractChannel,
    AbstractIncomingMessage,
    AbstractQueue,
    AbstractRobustConnection,
)
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ProbableAuthenticationError
from aiormq.channel import Channel as UnderlayChannel
from pamqp.commands import Basic
from pamqp.common import FieldValue

from keno.errors import ConfigError
from keno.infra import cloudevents
from keno.infra.bus import BusError, Event, Handler
from keno.infra.delivery import Consumer, Delivery, Ending
from keno.infra.packing import pack

NAMESPACE = "keno"
DELIVERIES_MAX = 20
_PREFETCH = 32
_UNROUTED_BYTES_MAX = 64_000_000
_LOOKS_MAX = 1_000_000_000
_CONNECT_TIMEOUT_S = 10.0
_RECONNECT_PAUSE_S = 1.0
_CONFIRM_TIMEOUT_S = 10.0
_DRAIN_TIMEOUT_S = 10.0
CONSUMER_HEADER = "keno-consumer"
REASON_HEADER = "keno-reason"
_REASON_CHARACTERS_MAX = 1_000
UNREACHABLE = (AMQPError, ChannelInvalidStateError, OSError)

_log = structlog.get_logger(__name__)


class _Message(NamedTuple):
    routing_key: str
    body: bytes
    headers: dict[str, FieldValue] | None = None

    def properties(self) -> Basic.Properties:
        return Basic.Properties(
            content_type=cloudevents.CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers=self.headers,
            timestamp=datetime.now(UTC),
        )


class RabbitBus:
    """A `Bus` on a RabbitMQ broker (3.10 or newer, for the delivery limits of quorum queues)."""

    def __init__(self, url: str, namespace: str = NAMESPACE) -> None:
        """`url` as amqp://user:password@host:port/vhost; `namespace` begins all names on the broker."""
        self._url = url
        self._namespace = namespace
        self._declared: dict[str, set[str]] = {}
        self._consumers: list[Consumer] = []
        self._connection: AbstractRobustConnection | None = None
        self._channel: AbstractChannel | None = None
        self._consuming: list[tuple[AbstractQueue, str]] = []
        self._deliveries: set[asyncio.Task[None]] = set()

    def declare(self, consumer: str, routing_keys: Sequence[str]) -> None:
        self._declared.setdefault(consumer, set()).update(routing_keys)

    def subscribe(self, consumer: str, routing_keys: Sequence[str], handler: Handler) -> None:
        self.declare(consumer, routing_keys)
        self._consumers.append(Consumer(consumer, handler))

    async def start(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                # Ours before it is there: it has a task of its own, which only its close() ends, whatever happens here.
                self._connection = aio_pika.RobustConnection(make_url(self._url, reconnect_interval=_RECONNECT_PAUSE_S))
                await self._connection.connect(timeout=_CONNECT_TIMEOUT_S)
                channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                await self._declare_topology(channel)
                self._channel = channel
                for consumer in self._consumers:
                    await self._consume(self._connection, consumer)
        except ProbableAuthenticationError as failure:
            await self._disconnect()
            raise ConfigError(f"KENO_AMQP_URL cannot be used: {failure}") from failure
        except (*UNREACHABLE, StopAsyncIteration) as failure:  # what aiormq makes of an end in the middle of a greeting
            await self._disconnect()
            raise BusError(f"the broker can't be used: {failure!r}") from failure

    async def publish(self, events: Sequence[Event]) -> None:
        messages = [_Message(each[0].routing_key, cloudevents.encode(each)) for each in pack(events)]
        await self._publish("events", messages)

    async def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()
        if self._connection is None:
            return
        for queue, tag in self._consuming:
            await _if_reachable(queue.cancel(tag, timeout=_CONFIRM_TIMEOUT_S))
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=_DRAIN_TIMEOUT_S)
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await _if_reachable(self._connection.close())
        self._connection = self._channel = None
        self._consuming.clear()

    async def _publish(self, exchange: str, messages: Sequence[_Message]) -> None:
        """Returns when the broker has confirmed all of them. Raises BusError."""
        if self._channel is None:
            raise BusError("the bus is not started")
        try:
            async with asyncio.timeout(_CONFIRM_TIMEOUT_S):
                channel = cast(UnderlayChannel, await self._channel.get_underlay_channel())
                results = await asyncio.gather(
                    *(_write(channel, self._name(exchange), message) for message in messages), return_exceptions=True
                )
        except UNREACHABLE as failure:
            raise BusError(f"{len(messages)} messages were not confirmed: {failure!r}") from failure
        failures = [result for result in results if isinstance(result, BaseException)]
        for each in failures:
            # aiormq cancels what waits on a connection that it gives up; had we been cancelled, we would not be here.
            if not isinstance(each, (*UNREACHABLE, asyncio.CancelledError)):
                raise each
        if failures:
            raise BusError(f"not all of {len(messages)} messages were confirmed: {failures[0]!r}") from failures[0]

    async def _declare_topology(self, channel: AbstractChannel) -> None:
        # Every look at the dead is a delivery, and RabbitMQ 4 drops what was delivered 20 times, unless told otherwise.
        await self._declare_side_queue(channel, "dead", {"x-delivery-limit": _LOOKS_MAX})
        await self._declare_side_queue(
            channel, "unrouted", {"x-max-length-bytes": _UNROUTED_BYTES_MAX, "x-overflow": "drop-head"}
        )
        events = await channel.declare_exchange(
            self._name("events"),
            aio_pika.ExchangeType.TOPIC,
            durable=True,
            arguments={"alternate-exchange": self._name("unrouted")},
        )
        for consumer, routing_keys in self._declared.items():
            queue = await self._declare_queue(channel, consumer)
            for routing_key in sorted(routing_keys):
                await queue.bind(events, routing_key)

    async def _declare_side_queue(self, channel: AbstractChannel, what: str, limits: dict[str, FieldValue]) -> None:
        exchange = await channel.declare_exchange(self._name(what), aio_pika.ExchangeType.FANOUT, durable=True)
        arguments = {"x-queue-type": "quorum", **limits}
        queue = await channel.declare_queue(self._name(what), durable=True, arguments=arguments)
        await queue.bind(exchange)

    async def _declare_queue(self, channel: AbstractChannel, consumer: str) -> AbstractQueue:
        return await channel.declare_queue(
            self._name(consumer),
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERIES_MAX,
                "x-dead-letter-exchange": self._name("dead"),
                # A dead letter is kept until the dead queue has confirmed it; that needs the overflow below.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )

    async def _consume(self, connection: AbstractRobustConnection, consumer: Consumer) -> None:
        # A channel each: what one consumer has not acknowledged must not use up the prefetch of another.
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await self._declare_queue(channel, consumer.name)

        async def receive(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - aio-pika calls it in a task of its own
            self._deliveries.add(task)
            try:
                await self._settle(consumer, message)
            finally:
                self._deliveries.discard(task)

        self._consuming.append((queue, await queue.consume(receive)))

    async def _settle(self, consumer: Consumer, message: AbstractIncomingMessage) -> None:
        events = cloudevents.decode(message.body)
        if events is None:
            _log.error("event.malformed", consumer=consumer.name, routing_key=message.routing_key)
            await _if_reachable(message.reject(requeue=False))
            return
        deliveries = await consumer.deliver(events)
        if any(each.ending is Ending.UNFINISHED for each in deliveries):
            return  # unacknowledged: the broker delivers it again once this connection is gone
        dead = [_dead_message(consumer, each) for each in deliveries if each.ending is Ending.DEAD]
        try:
            if dead:
                await self._publish("dead", dead)
        except BusError as failure:
            _log.warning("event.not_buried", consumer=consumer.name, failure=repr(failure))
            await _if_reachable(message.nack(requeue=True))
        else:
            await _if_reachable(message.ack())

    def _name(self, what: str) -> str:
        return f"{self._namespace}.{what}"


async def _write(channel: UnderlayChannel, exchange: str, message: _Message) -> None:
    if channel.is_closed:
        raise ChannelInvalidStateError("the connection was lost")
    await channel.basic_publish(
        message.body,
        exchange=exchange,
        routing_key=message.routing_key,
        properties=message.properties(),
        mandatory=True,
        wait=False,
    )


def _dead_message(consumer: Consumer, dead: Delivery) -> _Message:
    reason = dead.failure[:_REASON_CHARACTERS_MAX]
    return _Message(
        dead.event.routing_key,
        cloudevents.encode([dead.event]),
        {CONSUMER_HEADER: consumer.name, REASON_HEADER: reason},
    )


async def _if_reachable(work: Awaitable[object]) -> None:
    """For acknowledgements and farewells: when the connection is gone, the broker acts as if it had never had them."""
    try:
        await work
    except UNREACHABLE as failure:
        _log.info("broker.unreachable", failure=repr(failure))
