"""The dead events of a RabbitMQ broker: reads its dead queue without taking anything from it, and gives events back.

What is read stays unacknowledged. A call gives it back before it returns, so that the next one finds it; in whatever
way this process ends, it is the broker's again when the channel closes. Two who read at once each see a part. Replayed
events go straight to the queue they died in, so to no other consumer.

An event that its consumer gave up stands alone in a message, whose headers say whose it was and why. What the broker
itself has put there, because it was no event or was delivered too often, has an `x-death` header, and can be a message
of many events: one of them is replayed by parting it from the others.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import cast

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, HeadersType
from aio_pika.exceptions import ChannelNotFoundEntity, PublishError

from keno.infra import cloudevents
from keno.infra.bus import BusError, DeadEvent, Event
from keno.infra.rabbit_bus import CONSUMER_HEADER, NAMESPACE, REASON_HEADER, UNREACHABLE

_TIMEOUT_S = 10.0
_GIVEN_BACK_S = 3.0
"""How long a quorum queue may take to have back what was read; we wait so long too where another reads meanwhile."""


class RabbitDeadLetters:
    """The `DeadLetters` of a `RabbitBus` with this URL and namespace, which need not run here."""

    def __init__(self, url: str, namespace: str = NAMESPACE) -> None:
        self._url = url
        self._namespace = namespace

    async def dead(self) -> list[DeadEvent]:
        async with self._channel() as channel:
            return [each async for message in self._messages(channel) for each in self._describe(message)]

    async def replay(self, ids: Collection[str] | None = None) -> list[DeadEvent]:
        replayed: list[DeadEvent] = []
        async with self._channel() as channel:
            async for message in self._messages(channel):
                described = self._describe(message)
                asked = [each for each in described if each.consumer and (ids is None or each.id in ids)]
                if asked and await self._part(channel, message, {each.id for each in asked}):
                    replayed += asked
        return replayed

    async def _part(self, channel: AbstractChannel, message: AbstractIncomingMessage, ids: Collection[str]) -> bool:
        """Gives the events with these ids back to their consumer and keeps the rest dead; False: its queue is gone."""
        consumer, reason, dead_ms = self._death(message)
        events = cloudevents.decode(message.body) or []
        queue = f"{self._namespace}.{consumer}"
        given = cloudevents.encode([each for each in events if str(each.id) in ids]) if events else message.body
        try:
            await _publish(channel.default_exchange, queue, given, message, None, dead_ms)
        except PublishError:
            return False  # returned: it stays among the dead
        if rest := [each for each in events if str(each.id) not in ids]:
            grave = await channel.get_exchange(f"{self._namespace}.dead", ensure=False)
            headers: HeadersType = {CONSUMER_HEADER: consumer, REASON_HEADER: reason}
            await _publish(grave, message.routing_key or "", cloudevents.encode(rest), message, headers, dead_ms)
        await message.ack()
        return True

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        try:
            async with await aio_pika.connect(self._url, timeout=_TIMEOUT_S) as connection:
                yield await connection.channel(publisher_confirms=True, on_return_raises=True)
        except UNREACHABLE as failure:
            raise BusError(f"the dead events can't be reached: {failure!r}") from failure

    async def _messages(self, channel: AbstractChannel) -> AsyncIterator[AbstractIncomingMessage]:
        """The dead that there are now, not those that come while we read."""
        try:
            queue = await channel.declare_queue(f"{self._namespace}.dead", passive=True, timeout=_TIMEOUT_S)
        except ChannelNotFoundEntity:
            return  # no bus has started on this broker yet
        kept: AbstractIncomingMessage | None = None
        kept_count = 0
        for _ in range(queue.declaration_result.message_count or 0):
            message = await queue.get(fail=False, timeout=_TIMEOUT_S)
            if message is None:
                break
            yield message
            if not message.processed:
                kept, kept_count = message, kept_count + 1
        if kept is not None:
            await _give_back(queue, kept, kept_count)

    def _describe(self, message: AbstractIncomingMessage) -> Sequence[DeadEvent]:
        consumer, reason, dead_ms = self._death(message)
        events = cloudevents.decode(message.body)
        if events is None:
            id_ = message.message_id or hashlib.sha256(message.body).hexdigest()[:32]
            return [DeadEvent(id_, consumer, message.routing_key or "", "", dead_ms, "it is no event")]
        return [_dead_event(event, consumer, dead_ms, reason) for event in events]

    def _death(self, message: AbstractIncomingMessage) -> tuple[str, str, int]:
        """The consumer it died of, why and when."""
        if CONSUMER_HEADER in message.headers:
            reason, died_at = message.headers.get(REASON_HEADER), message.timestamp
            return str(message.headers[CONSUMER_HEADER]), str(reason), _ms(died_at)
        deaths = cast("list[dict[str, object]]", message.headers.get("x-death") or [])
        last: dict[str, object] = deaths[0] if deaths else {}
        queue, prefix = str(last.get("queue", "")), f"{self._namespace}."
        consumer = queue.removeprefix(prefix) if queue.startswith(prefix) else ""
        return consumer, str(last.get("reason", "")), _ms(last.get("time"))


def _dead_event(event: Event, consumer: str, dead_ms: int, reason: str) -> DeadEvent:
    return DeadEvent(str(event.id), consumer, event.routing_key, event.aggregate, dead_ms, reason)


async def _give_back(queue: AbstractQueue, last: AbstractIncomingMessage, count: int) -> None:
    """Returns when a queue has back so many messages, of which this is the last: it confirms nothing by itself.

    After _GIVEN_BACK_S in any case; a broker that is lost meanwhile has them back when the connection has ended.
    """
    with suppress(*UNREACHABLE):  # TimeoutError is an OSError
        others = await _ready(queue)
        await last.nack(multiple=True)
        async with asyncio.timeout(_GIVEN_BACK_S):
            while await _ready(queue) < others + count:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.01)


async def _ready(queue: AbstractQueue) -> int:
    """How many messages it has to give."""
    return (await queue.declare(timeout=_TIMEOUT_S)).message_count or 0


def _ms(at: object) -> int:
    return int(at.timestamp() * 1000) if isinstance(at, datetime) else 0


async def _publish(
    exchange: aio_pika.abc.AbstractExchange,
    routing_key: str,
    body: bytes,
    old: AbstractIncomingMessage,
    headers: HeadersType | None,
    dead_ms: int,
) -> None:
    """Publishes a body in place of an old message, without what the broker wrote about the old one's way."""
    message = aio_pika.Message(
        body,
        headers=headers,
        content_type=old.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=old.message_id,
        timestamp=datetime.fromtimestamp(dead_ms / 1000, UTC),
    )
    await exchange.publish(message, routing_key, mandatory=True, timeout=_TIMEOUT_S)
