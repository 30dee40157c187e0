"""A request of the bet lane as it is handed on, what answers it, and the answer as bytes. Not here: how it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from time import time
from typing import Final, Protocol

from gateway.answers import Answer
from keno.errors import KenoError

_NO_CONTENT: Final = 204


class Request:
    """A request. `target` and the values of `headers` are as received, latin-1 where not ASCII; `body` is complete."""

    __slots__ = ("body", "headers", "keep_alive", "method", "peer", "refusal", "reserved", "target")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.method = ""
        self.target = ""
        self.headers: dict[str, list[str]] = {}
        self.body = b""
        self.keep_alive = False
        self.reserved: int | None = None
        """Bytes of bodies that are held for it; None before and after."""
        self.refusal: Answer | None = None
        """The answer, where it is known before the request is complete."""

    def values(self, name: str) -> Sequence[str]:
        """The values of a field by its lower-case name, one a line."""
        return self.headers.get(name, ())


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
    fields = [f"{name}: {value}\r\n" for name, value in answer.headers.items()]
    if answer.media_type:
        fields.append(f"Content-Type: {answer.media_type}\r\n")
    if answer.status != _NO_CONTENT:
        fields.append(f"Content-Length: {len(answer.body)}\r\n")
    ending = "Connection: close\r\n\r\n" if last else "\r\n"
    head = f"{_status_line(answer.status)}{_date(int(time()))}{''.join(fields)}{ending}".encode("latin-1")
    return head if request.method == "HEAD" else head + answer.body


@cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


@lru_cache(1)
def _date(now_s: int) -> str:
    return f"Date: {formatdate(now_s, usegmt=True)}\r\n"
