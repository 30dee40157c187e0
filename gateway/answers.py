"""What a request is answered with, before any web framework: a status, headers and bytes.

Ids are decimal strings, because JSON readers that parse numbers as doubles lose 64-bit integers; hashes are lower-case
hex; money is JSON integers of minor units.
"""

from __future__ import annotations

from typing import Any

import msgspec

JSON = "application/json"
JSON_LINES = "application/jsonl"

_encoder = msgspec.json.Encoder()


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response. `headers` has no Content-Type; that is `media_type`."""

    status: int
    body: bytes
    media_type: str
    headers: dict[str, str]


def json_answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """`value` as JSON. Nothing that is not given a cache policy is cached."""
    return Answer(status, _encoder.encode(value), JSON, {"Cache-Control": "no-store"} | (headers or {}))


def bytes_answer(body: bytes, media_type: str, *, cache_control: str) -> Answer:
    """Published bytes, exactly as they are."""
    return Answer(200, body, media_type, {"Cache-Control": cache_control})
