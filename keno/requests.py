"""What requests are made of, and the strict reading of them from the bytes that were signed. Pure.

Unknown fields, strings for numbers and values out of range are refused with a code, the field and a sentence. Only the
form is judged here: whether a request can be granted is decided where it takes effect.
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from keno._core import fingerprints as fingerprints_of_lines
from keno.errors import KenoError
from keno.money import MINOR_MAX
from keno.phrases import said, worded

ID_MAX = 2**63 - 1

# Patterns end in \Z, because $ also matches before a newline at the end.
TransactionId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z")]
PlayerReference = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z0-9]{3,8}\Z")]
DecimalId = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,18}\Z")]
HashHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
AmountMinor = Annotated[int, Meta(ge=1, le=MINOR_MAX)]
# A day, which stands for its beginning, or the beginning of an hour: RFC 3339, in UTC.
ReportTime = Annotated[
    str,
    Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]):00:00Z)?\Z"),
]
Grouping = Literal["day", "hour", "room", "currency"]

_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()

_CODES_BY_FIELD = {"picks": "invalid_picks", "stake_minor": "invalid_stake", "amount_minor": "invalid_amount"}
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_BYTE = re.compile(r"\(byte (?P<position>[0-9]+)\)$")
_VALUES = (
    (re.compile(r"Expected (?P<expected>`.*`), got (?P<got>`.*`)$"), "expected {expected}, got {got}"),
    (re.compile(r"Expected (?P<type>`[^`]*`) of length (?P<length>.*)$"), "expected {type} of length {length}"),
    (re.compile(r"Expected (?P<type>`[^`]*`) matching regex (?P<regex>.*)$"), "expected {type} matching {regex}"),
    (re.compile(r"Expected (?P<expected>`[^`]*` [<>]=? .*)$"), "expected {expected}"),
    (re.compile(r"Invalid (?:enum )?value (?P<value>.*)$"), "{value} is no value of this field"),
    (re.compile(r"Invalid UUID$"), "this is not a UUID"),
)
_MISSING_FIELD = re.compile(r"^Object missing required field `(?P<name>.*)`")


class RequestError(KenoError):
    """A body that is not the request it should be.

    `code` is the stable problem code, `field` the JSON path of what is wrong where there is one, `detail` a sentence
    for people.
    """

    def __init__(self, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


def decode_as(decoder: "msgspec.json.Decoder[_T]", body: bytes) -> _T:
    """What a strict decoder reads from `body`; raises RequestError."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError("malformed_json", _broken(str(error))) from None
    except RecursionError:
        raise _too_deep() from None


def fingerprint(*content: object) -> bytes:
    """BLAKE3 (16 bytes) of what a request asks for: the same for the same request however its JSON is laid out."""
    return fingerprints([content])[0]


def fingerprints(contents: Sequence[Sequence[object]]) -> list[bytes]:
    """The fingerprint of each of many requests, at half the cost."""
    # No line of JSON has a newline within it.
    return fingerprints_of_lines(_encoder.encode_lines(contents))


def quoted_fields(request: type[msgspec.Struct]) -> tuple[bytes, ...]:
    """The fields of a request as they are spelled in JSON."""
    return tuple(f'"{name}"'.encode() for name in request.__struct_fields__)


def refuse_repeated_fields(body: bytes, fields: Sequence[bytes]) -> None:
    """Raises RequestError `duplicate_field` if the object in `body` gives a field twice.

    The body has been decoded as a request that has `fields` and no others; of a repeated one the decoder took the last.
    What stands in objects within it is not judged.
    """
    # A name that stands there once cannot be repeated, unless a second spelling hides behind an escape.
    if b"\\" not in body and all(body.count(field) <= 1 for field in fields):
        return
    try:
        # Numbers stay text: what has too many digits is another's to refuse.
        members = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    except RecursionError:
        raise _too_deep() from None
    seen = set()
    for name, _ in members:
        if name in seen:
            raise RequestError("duplicate_field", said("the field {name!r} is given twice", name=name), name)
        seen.add(name)


def _too_deep() -> RequestError:
    return RequestError("malformed_json", "the body is nested too deeply")


def _explained(message: str) -> RequestError:
    path = _PATH.search(message)
    sentence = _PATH.sub("", message)
    if unknown := _UNKNOWN_FIELD.match(sentence):
        return RequestError("unknown_field", said("there is no field {name!r}", name=unknown["name"]), unknown["name"])
    if missing := _MISSING_FIELD.match(sentence):
        return RequestError(
            "missing_field", said("the field {name!r} is missing", name=missing["name"]), missing["name"]
        )
    field = path["path"] if path else None
    name = re.split(r"[.\[]", field, maxsplit=1)[0] if field else ""
    return RequestError(_CODES_BY_FIELD.get(name, "invalid_request"), _reworded(sentence), field)


def _broken(error: str) -> str:
    english, place = f"the body is not JSON: {error}", _BYTE.search(error)
    if place is not None:
        return worded(english, "the body is not JSON, as byte {position} shows", position=place["position"])
    return worded(english, "the body is not JSON")


def _reworded(sentence: str) -> str:
    """A sentence of msgspec, which is English in every language, with what has to be said in others."""
    for pattern, template in _VALUES:
        if found := pattern.match(sentence):
            return worded(sentence, template, **found.groupdict())
    return worded(sentence, "the value is not what this call takes")
