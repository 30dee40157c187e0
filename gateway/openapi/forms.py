"""JSON Schemas of what is taken and given, from the types that the decoders read with. What those types leave to code
after the decoding is added here: what the document says must be what is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from gateway.problems import KINDS
from keno.bets.player_request import PlayerBetRequest
from keno.bets.request import StrictBet
from keno.game.numbers import NUMBERS, PICKS_MAX
from keno.identity.networks import NETWORKS_MAX
from keno.infra.json_schema import portable
from keno.requests import HashHex
from keno.shapes import RefusedBet, Shape

if TYPE_CHECKING:
    from gateway.openapi.calls import Call

SCHEMAS_REFERENCE: Final = "#/components/schemas/"
_NAMES: Final = {"StrictBet": "BetRequest", "ProblemDetails": "Problem"}


class PathForm(NamedTuple):
    """A parameter of paths."""

    does: str
    schema: dict[str, Any]


def component_schemas(calls: Iterable[Call]) -> dict[str, Any]:
    """The schemas of all bodies and answers, by name."""
    forms = [form for call in calls for form in (call.body, call.answer) if form is not None]
    closed = _names_of_shapes(Shape)
    _, found = msgspec.json.schema_components([*forms, RefusedBet], ref_template=SCHEMAS_REFERENCE + "{name}")
    schemas = {_NAMES.get(name, name): _renamed(portable(schema)) for name, schema in sorted(found.items())}
    for name, schema in schemas.items():
        schema["title"] = name
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
        if name in closed:
            schema["additionalProperties"] = False
    _complete(schemas)
    return schemas


def _names_of_shapes(shape: type[Shape]) -> set[str]:
    """The names of the schemas of all that are derived from a shape."""
    names = {_NAMES.get(each.__name__, each.__name__) for each in shape.__subclasses__()}
    return names.union(*(_names_of_shapes(each) for each in shape.__subclasses__()))


def plain_schema(form: Any) -> dict[str, Any]:
    """The schema of a type; structs are named and not shown."""
    (schema,), _ = msgspec.json.schema_components([form], ref_template=SCHEMAS_REFERENCE + "{name}")
    made: dict[str, Any] = _renamed(portable(schema))
    return made


def _renamed(schema: Any) -> Any:
    """References by the names of the document."""
    if isinstance(schema, list):
        return [_renamed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _renamed(value) for name, value in schema.items()}
    if isinstance(reference := made.get("$ref"), str):
        name = reference.removeprefix(SCHEMAS_REFERENCE)
        made["$ref"] = SCHEMAS_REFERENCE + _NAMES.get(name, name)
    return made


def _complete(schemas: dict[str, Any]) -> None:
    """What is checked after the decoding."""
    for bet in (schemas[_NAMES[StrictBet.__name__]], schemas[PlayerBetRequest.__name__]):
        bet["properties"]["picks"] = {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": NUMBERS},
            "minItems": 1,
            "maxItems": PICKS_MAX,
            "uniqueItems": True,
        }
        bet["properties"]["round"]["anyOf"][0]["format"] = "int64"
        bet["description"] = (
            "A bet on the round on sale in a room, or on a round. The room's first paytable, by default."
        )
        # Just one of them, and null is none.
        bet["oneOf"] = [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("room", "round")]
    key = schemas["KeyRequest"]
    key["oneOf"] = [
        {
            "required": ["public_key"],
            "properties": {"algorithm": {"const": "ed25519"}, "public_key": {"type": "string"}},
        },
        {"properties": {"algorithm": {"const": "hmac-sha256"}, "public_key": {"type": "null"}}},
    ]
    schemas["NetworksRequest"]["properties"]["networks"] |= {
        "items": {"type": "string", "format": "ip-network"},
        "maxItems": NETWORKS_MAX,
    }
    results = schemas["BetResults"]["properties"]["results"]
    results["items"] = {"anyOf": [results["items"], {"$ref": SCHEMAS_REFERENCE + RefusedBet.__name__}]}
    schemas["BetResults"]["description"] = "A result for each bet of the batch, in their order."
    schemas["Problem"]["properties"]["code"] = {"enum": sorted(KINDS)}


_DECIMAL_ID: Final = {"type": "string", "pattern": "^[1-9][0-9]{0,18}$", "format": "int64"}

PATH_FORMS: Final = {
    "bet_id": PathForm("Of the bet.", _DECIMAL_ID),
    "round_id": PathForm("Of the round.", _DECIMAL_ID),
    "room": PathForm("Of the room.", {"type": "string", "format": "uuid"}),
    "player": PathForm(
        "Your reference of the player, without a slash.",
        {"type": "string", "pattern": r"^[^\x00-\x1f\x7f/]{1,64}$"},
    ),
    "transaction_id": PathForm(
        "Your id of the movement to undo, without a slash.", {"type": "string", "pattern": r"^[!-.0-~]{1,64}$"}
    ),
    "session_id": PathForm("Of the session.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}),
    "key_id": PathForm("Of the key.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
    "operator": PathForm("Of the operator.", {"type": "string", "format": "uuid"}),
    "index": PathForm("Of the entry, from 0 on.", {"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$"}),
    "size": PathForm("How many entries of the log.", {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}),
    "rest": PathForm(
        "LEVEL/INDEX, LEVEL/INDEX.p/WIDTH, or with entries for the level, as c2sp.org/tlog-tiles says.",
        {
            "type": "string",
            "pattern": r"^(entries|[0-9]|[1-5][0-9]|6[0-3])/(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[1-9][0-9]{0,2})?$",
        },
    ),
    "name": PathForm("Of the file, with its digest.", {"type": "string", "pattern": "^[a-z0-9.-]{1,64}$"}),
    "digest": PathForm("SHA-256 of the document, in hex.", plain_schema(HashHex)),
}
"""The parameters of paths, by name."""
