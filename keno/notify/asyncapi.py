"""The AsyncAPI 3 document of the live stream, made of the frames' own types so that it can't say anything else."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from keno.infra.json_schema import portable
from keno.notify import frames, received

_REFERENCE: Final = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """The document, as JSON values."""
    asked, told = _members(frames.Asked), _members(received.Told)
    _, schemas = msgspec.json.schema_components([*asked, *told], ref_template=_REFERENCE)
    names = [kind.__name__ for kind in (*asked, *told)]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Keno live stream", "version": "1", "description": "See player-api.md, The live stream."},
        "channels": {
            "live": {
                "address": "/v1/live",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {"ask": _operation("receive", asked), "tell": _operation("send", told)},
        "components": {
            "messages": {name: _message(name, schemas[name]) for name in names},
            "schemas": portable(schemas),
        },
    }


def _members(union: Any) -> list[Any]:
    return list(get_args(union))


def _operation(action: str, kinds: list[Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/live"},
        "messages": [{"$ref": f"#/channels/live/messages/{kind.__name__}"} for kind in kinds],
    }


def _message(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": schema["properties"]["type"]["enum"][0],
        "contentType": "application/json",
        "summary": schema.get("description", ""),
        "payload": {"$ref": _REFERENCE.format(name=name)},
    }
