"""The AsyncAPI 3 document of the events on the broker, and the form of each event's data for it.

Events are written in the SQL of their transaction; a test holds what is written there against these forms.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from keno.infra import cloudevents
from keno.infra.json_schema import portable
from keno.notify.frames import Uuid
from keno.requests import DecimalId, HashHex

_REFERENCE: Final = "#/components/schemas/{name}"
_Count = Annotated[int, Meta(ge=0)]


class _Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Literal[1]
    room: Uuid


class _OfRound(_Event, frozen=True):
    round: DecimalId


class RoundOpened(_OfRound, frozen=True):
    """Bets can be placed."""

    number: _Count
    commit: HashHex
    opened_ms: int
    lock_due_ms: int
    draw_due_ms: int


class RoundLocked(_OfRound, frozen=True):
    """No bet can join any more."""

    number: _Count
    lock: HashHex
    bets_root: HashHex
    bets_count: _Count
    lock_ms: int


class RoundDrawn(_OfRound, frozen=True):
    """The numbers, in the order of their draw."""

    number: _Count
    numbers: Annotated[list[Annotated[int, Meta(ge=1, le=80)]], Meta(min_length=20, max_length=20)]


class RoundSettled(_OfRound, frozen=True):
    """Payouts are stored, the seed is public."""

    number: _Count
    seed: HashHex
    bets_count: _Count


class PayoutsReady(_OfRound, frozen=True):
    """There are winners to credit."""

    number: _Count
    payouts_count: _Count


class WalletCredited(_OfRound, frozen=True):
    """The winners have their money."""

    credits_count: _Count


class RoundVoided(_OfRound, frozen=True):
    """The round ended without a draw."""

    number: _Count
    seed: HashHex
    reason: int
    bets_count: _Count


class WalletRefunded(_OfRound, frozen=True):
    """The players of a void round have their stakes back."""

    refunds_count: _Count


class RoundSkipped(_Event, frozen=True):
    """A time slot without a round."""

    number: _Count


EVENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "round.opened": RoundOpened,
    "round.locked": RoundLocked,
    "round.drawn": RoundDrawn,
    "round.settled": RoundSettled,
    "payouts.ready": PayoutsReady,
    "wallet.credited": WalletCredited,
    "round.voided": RoundVoided,
    "wallet.refunded": WalletRefunded,
    "round.skipped": RoundSkipped,
}
"""The form of the data of each event, by its routing key."""


def document() -> dict[str, Any]:
    """The document, as JSON values."""
    _, schemas = msgspec.json.schema_components(list(EVENTS.values()), ref_template=_REFERENCE)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Keno events", "version": "1", "description": "See events.md."},
        "defaultContentType": cloudevents.CONTENT_TYPE,
        "channels": {key: _channel(key, kind.__name__) for key, kind in EVENTS.items()},
        "operations": {
            key.replace(".", "_"): {"action": "send", "channel": {"$ref": f"#/channels/{key}"}} for key in EVENTS
        },
        "components": {
            "messages": {kind.__name__: _message(key, schemas[kind.__name__]) for key, kind in EVENTS.items()},
            "schemas": portable(schemas),
        },
    }


def _channel(key: str, name: str) -> dict[str, Any]:
    exchange = {"name": "keno.events", "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": key,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _message(key: str, schema: dict[str, Any]) -> dict[str, Any]:
    event = {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "source": {"const": "/keno"},
            "type": {"const": f"keno.{key}"},
            "subject": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": {"$ref": _REFERENCE.format(name=schema["title"])},
        },
    }
    return {
        "name": key,
        "contentType": cloudevents.CONTENT_TYPE,
        "summary": schema.get("description", ""),
        "payload": {"type": "array", "minItems": 1, "items": event},
    }
