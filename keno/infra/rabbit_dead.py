"""The dead events of a RabbitMQ broker: reads its dead queue without taking anything from it, and gives events back.

What is read stays unacknowledged and is the broker's again when the channel closes, in whatever way this process ends.
Two who read at once each see a part. Replayed events go straight to the queue they died in, so to no other consumer.
"""

import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import cast

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity, PublishError

from keno.infra import cloudevents
from keno.infra.bus import BusError, DeadEvent
from keno.infra.rabbit_bus import NAMESPACE, UNREACHABLE

_TIMEOUT_S = 10.0
# Set by the broker about a message's way so far; one that starts again has none.
_BROKERS_HEADERS = "x-"


class RabbitDeadLetters:
    """The `DeadLetters` of a `RabbitBus` with this URL and namespace, which need not run here."""

    def __init__(self, url: str, namespace: str = NAMESPACE) -> None:
        self._url = url
        self._namespace = namespace

    async def dead(self) -> list[DeadEvent]:
        async with self._channel() as channel:
            return [self._describe(message) async for message in self._messages(channel)]

    async def replay(self, ids: Collection[str] | None = None) -> list[DeadEvent]:
        replayed = []
        async with self._channel() as channel:
            async for message in self._messages(channel):
                described = self._describe(message)
                if not described.consumer or (ids is not None and described.id not in ids):
                    continue
                queue = f"{self._namespace}.{described.consumer}"
                try:
                    await channel.default_exchange.publish(_reborn(message), queue, mandatory=True, timeout=_TIMEOUT_S)
                except PublishError:
                    continue  # returned, because its queue is gone: it stays among the dead
                await message.ack()
                replayed.append(described)
        return replayed

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
        for _ in range(queue.declaration_result.message_count or 0):
            message = await queue.get(fail=False, timeout=_TIMEOUT_S)
            if message is None:
                return
            yield message

    def _describe(self, message: AbstractIncomingMessage) -> DeadEvent:
        event = cloudevents.decode(message)
        deaths = cast("list[dict[str, object]]", message.headers.get("x-death") or [])
        last: dict[str, object] = deaths[0] if deaths else {}
        died_at, queue = last.get("time"), str(last.get("queue", ""))
        return DeadEvent(
            id=str(event.id) if event else message.message_id or hashlib.sha256(message.body).hexdigest()[:32],
            consumer=queue.removeprefix(f"{self._namespace}.") if queue.startswith(f"{self._namespace}.") else "",
            routing_key=event.routing_key if event else message.routing_key or "",
            aggregate=event.aggregate if event else "",
            dead_ms=int(died_at.timestamp() * 1000) if isinstance(died_at, datetime) else 0,
            reason=str(last.get("reason", "")) if event else "it is no event",
        )


def _reborn(message: AbstractIncomingMessage) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        headers={name: value for name, value in message.headers.items() if not name.startswith(_BROKERS_HEADERS)},
    )
