"""What every Litestar handler here needs: answers as responses, strict ids of the path, and a strict query."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from gateway.answers import Answer
from gateway.problems import ProblemError
from keno.phrases import said
from keno.requests import ID_MAX

_DECIMAL_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def response(answer: Answer) -> Response[bytes]:
    """The answer as Litestar sends it, byte for byte."""
    return Response(answer.body, status_code=answer.status, media_type=answer.media_type, headers=dict(answer.headers))


def options_of(path: str, *methods: str) -> HTTPRouteHandler:
    """A handler that says which methods a path has; it stands before those that are its methods.

    Litestar's own knows only the first of several handlers of a path.
    """
    allow = ", ".join(sorted({*methods, "OPTIONS"}))

    @route(path, http_method=["OPTIONS"], status_code=204)
    async def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": allow})

    return options


def decimal_id(text: str, not_found: str) -> int:
    """A 64-bit id of the path; ProblemError `not_found` for what cannot be one."""
    if _DECIMAL_ID.fullmatch(text) is None or int(text) > ID_MAX:
        raise ProblemError(not_found, said("{text!r} is not a decimal id", text=text))
    return int(text)


def uuid_id(text: str, not_found: str) -> UUID:
    """A UUID of the path in its canonical spelling; ProblemError `not_found` for anything else."""
    if _UUID.fullmatch(text) is None:
        raise ProblemError(not_found, said("{text!r} is not a UUID", text=text))
    return UUID(text)


def hash_id(text: str, not_found: str) -> bytes:
    """A 32-byte hash of the path in lower-case hex; ProblemError `not_found` for anything else."""
    if _HASH.fullmatch(text) is None:
        raise ProblemError(not_found, "a hash is 64 digits of lower-case hex")
    return bytes.fromhex(text)


def is_a(form: Any, text: str) -> bool:
    """Whether text of a path or query has the form of one of keno.requests."""
    try:
        msgspec.convert(text, form)
    except msgspec.ValidationError:
        return False
    return True


def query_of(request: Request[Any, Any, Any], known: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """The query's integers, each given at most once and within its `(least, greatest)`.

    Raises ProblemError `invalid_query` for a parameter that is unknown, repeated, no decimal integer, or out of range.
    """
    return {name: query_integer(name, text, *known[name]) for name, text in query_texts(request, known).items()}


def query_texts(request: Request[Any, Any, Any], known: Container[str]) -> dict[str, str]:
    """The query's parameters; ProblemError `invalid_query` for one that is unknown or repeated."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise ProblemError("invalid_query", said("there is no query parameter {name!r}", name=name), name)
        if name in found:
            raise ProblemError("invalid_query", said("{name} is given twice", name=name), name)
        found[name] = value
    return found


def query_integer(name: str, text: str, least: int, greatest: int) -> int:
    """A parameter as an integer; ProblemError `invalid_query` for anything but a decimal one in the range."""
    if _DECIMAL_ID.fullmatch(text) is None or not least <= int(text) <= greatest:
        raise ProblemError(
            "invalid_query",
            said("{name} is an integer from {least} to {greatest}", name=name, least=least, greatest=greatest),
            name,
        )
    return int(text)
