"""What a body must be beside what the services' strict decoders ask for: JSON by its type, and no field given twice.

The decoders refuse unknown fields and wrong values; of a repeated field they would silently take the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.problems import ProblemError
from keno.requests import RequestError

_JSON_TYPE: Final = re.compile(r'application/json(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?', re.IGNORECASE)


def require_json(content_type: str | None) -> None:
    """Raises ProblemError `unsupported_media_type` for anything but JSON in UTF-8."""
    if content_type is None or _JSON_TYPE.fullmatch(content_type) is None:
        raise ProblemError("unsupported_media_type", f"the Content-Type is {content_type or 'missing'}")


def quoted_fields(request: type[msgspec.Struct]) -> tuple[bytes, ...]:
    """The fields of a request as they are spelled in JSON."""
    return tuple(f'"{name}"'.encode() for name in request.__struct_fields__)


def refuse_repeated_fields(body: bytes, fields: Sequence[bytes]) -> None:
    """Raises RequestError `duplicate_field` if the body gives a field twice.

    The body has been decoded as a request that has `fields` and no others.
    """
    # A name that stands there once cannot be repeated, unless a second spelling hides behind an escape.
    if b"\\" not in body and all(body.count(field) <= 1 for field in fields):
        return
    json.loads(body, object_pairs_hook=_refuse_repeated)


def _refuse_repeated(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise RequestError("duplicate_field", f"the field {name!r} is given twice", name)
        seen.add(name)
