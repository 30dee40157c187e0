"""A request of the bet lane as it is handed on, what answers it, and the answer as bytes. Not here: how it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from time import time
from typing import Final, Protocol

from gateway.answers import Answer
from keno.errors import KenoError

_NO_CONTENT: Final = 204


def _no_values(_: str) -> Sequence[str]:
    return ()


class Request:
    """A request. `target` and what `values` gives are as received, latin-1 where not ASCII; `body` is complete."""

    __slots__ = ("body", "keep_alive", "method", "peer", "refusal", "reserved", "target", "values")

    def __init__(self, peer: str, values: Callable[[str], Sequence[str]] = _no_values) -> None:
        self.peer = peer
        self.values = values
        """The values of a field by its lower-case name, one a line."""
        self.method = ""
        self.target = ""
        self.body = b""
        self.keep_alive = False
        self.reserved: int | None = None
        """Bytes of bodies that are held for it; None before and after."""
        self.refusal: Answer | None = None
        """The answer, where it is known before the request is complete."""


class Application(Protocol):
    """What answers requests."""

    def reserve(self, request: Request, announced: int | None) -> int:
        """How many bytes the body may have; they count as under way until `release`. Raises KenoError."""

    def release(self, request: Request) -> None:
        """The request has ended, answered or not."""

    def refuse(self, request: Request, error: KenoError) -> Answer:
        """The answer to a request that is not heard to its end."""

    def answer(self, request: Request) -> Awaitable[Answer]:
        """The answer to a request, whatever happens."""


def message_of(request: Request, answer: Answer, *, last: bool) -> bytes:
    """The answer as it goes over the wire; with the `last` one the client is told that the connection ends."""
    body = answer.body
    lines = [_status_line(answer.status), _date(int(time())), *map(": ".join, answer.headers.items())]
    if answer.media_type:
        lines.append(f"Content-Type: {answer.media_type}")
    if answer.status != _NO_CONTENT:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close\r\n\r\n" if last else "\r\n")
    head = "\r\n".join(lines).encode("latin-1")
    return head if request.method == "HEAD" else head + body


@cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"


@lru_cache(1)
def _date(now_s: int) -> str:
    return f"Date: {formatdate(now_s, usegmt=True)}"
