"""Events as AMQP messages: CloudEvents 1.0 in the JSON batch format, one or more events of one type to a message.

Source: the JSON event format for CloudEvents, version 1.0.2, section 4. The AMQP binding knows messages of one event
only; a message is marked by the media type of the batch format. An event costs the broker and both ends a fraction of
what a message does.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from keno.infra.bus import Event

CONTENT_TYPE = "application/cloudevents-batch+json"
_SOURCE = "/keno"
_TYPE_PREFIX = "keno."
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class _CloudEvent(msgspec.Struct, frozen=True):
    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"]
    data: msgspec.Raw


_decoder = msgspec.json.Decoder(list[_CloudEvent])
_encoder = msgspec.json.Encoder()


def encode(events: Sequence[Event]) -> bytes:
    """The body of a message."""
    return _encoder.encode(
        [
            _CloudEvent(
                "1.0",
                event.id,
                _SOURCE,
                _TYPE_PREFIX + event.routing_key,
                event.aggregate,
                _UNIX_EPOCH + event.time_ms * _MILLISECOND,
                "application/json",
                msgspec.Raw(event.data),
            )
            for event in events
        ]
    )


def decode(body: bytes) -> list[Event] | None:
    """The events of a message; None when `encode` could not have made it."""
    try:
        return [
            Event(
                each.id,
                each.type.removeprefix(_TYPE_PREFIX),
                each.subject,
                (each.time - _UNIX_EPOCH) // _MILLISECOND,
                bytes(each.data),
            )
            for each in _decoder.decode(body)
        ] or None
    except (msgspec.ValidationError, msgspec.DecodeError, TypeError):
        return None  # TypeError: a time without its zone
