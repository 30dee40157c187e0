"""Events as AMQP messages: CloudEvents 1.0 in binary mode, the payload in the body and the attributes in headers.

Source: the AMQP protocol binding for CloudEvents, version 1.0.2, whose attribute prefix is `cloudEvents:`.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from aio_pika.abc import AbstractIncomingMessage, DeliveryMode
from pamqp.commands import Basic

from keno.infra.bus import Event

_SOURCE = "/keno"
_TYPE_PREFIX = "keno."
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def encode(event: Event) -> Basic.Properties:
    """The properties of a persistent message; its body is `event.data`, and its routing key goes beside it."""
    event_id = str(event.id)
    time = (_UNIX_EPOCH + event.time_ms * _MILLISECOND).isoformat(timespec="milliseconds")
    return Basic.Properties(
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=event_id,
        headers={
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": event_id,
            "cloudEvents:source": _SOURCE,
            "cloudEvents:type": _TYPE_PREFIX + event.routing_key,
            "cloudEvents:subject": event.aggregate,
            "cloudEvents:time": time.replace("+00:00", "Z"),
        },
    )


def decode(message: AbstractIncomingMessage) -> Event | None:
    """The event of a message; None when it is not one that `encode` could have made."""
    headers = {name: str(value) for name, value in message.headers.items()}
    try:
        return Event(
            id=UUID(headers["cloudEvents:id"]),
            routing_key=headers["cloudEvents:type"].removeprefix(_TYPE_PREFIX),
            aggregate=headers["cloudEvents:subject"],
            time_ms=(datetime.fromisoformat(headers["cloudEvents:time"]) - _UNIX_EPOCH) // _MILLISECOND,
            data=message.body,
        )
    except (KeyError, ValueError, TypeError):
        return None
