"""Lets a request pass if an operator signed it. Which operator's data it may see is for the handlers and services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler

from gateway.answers import Answer
from gateway.auth.entrance import Entrance, Passage, ValuesOf
from gateway.http import response
from gateway.problems import ProblemError
from keno.identity.operators import Operator
from keno.phrases import said

BODY_READ_S: Final = 10.0
"""How long a body may take to arrive: who sends a byte a minute must not hold a connection for ever."""

SignedRequest = Request[Operator, Passage, State]
"""A request behind the guard: `user` is the operator that signed it, `body()` the bytes that were signed."""

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


def operator_signature(entrance: Entrance) -> Guard:
    """A guard that reads the body within its limit, lets the operator in, and puts it into the request's `user`.

    It raises the coded errors of `Entrance.verify` and `Entrance.admit`. Reading goes on without Redis.
    """

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        if not isinstance(connection, Request):
            raise TypeError("only HTTP requests are signed")
        body = await read_body(connection)
        connection.scope["auth"] = passage = entrance.passage()
        verified = await entrance.verify(passage, connection.method, *received(connection), body, peer(connection))
        await entrance.admit(passage, 1, closed=connection.method != "GET")
        connection.scope["user"] = verified.key.operator

    return guard


def signed_response(request: SignedRequest, answer: Answer) -> Response[bytes]:
    """The answer to a request behind the guard."""
    return response(request.auth.finish(answer))


def received(request: Request[Any, Any, Any]) -> tuple[str, ValuesOf]:
    """The target of a request as it was received, and the values of its headers. An empty query is none."""
    scope = request.scope
    path, query = scope["raw_path"], scope["query_string"]
    target = path + b"?" + query if query else path
    return target.decode("latin-1"), values_of(scope["headers"])


def values_of(headers: Iterable[tuple[bytes, bytes]]) -> ValuesOf:
    """The values of headers by their names."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def of(name: str) -> Sequence[str]:
        return values.get(name, ())

    return of


def peer(request: Connection) -> str:
    """The address that a request came from."""
    client = request.scope["client"]
    return client[0] if client else "127.0.0.1"


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """The whole body, within the limits of its route. Raises ProblemError `bad_request` and `body_too_slow`."""
    try:
        async with asyncio.timeout(BODY_READ_S):
            return await request.body()
    except InternalServerException:
        raise ProblemError("bad_request", "the connection ended before the body") from None
    except TimeoutError:
        raise ProblemError(
            "body_too_slow", said("the body was not complete after {seconds:g} s", seconds=BODY_READ_S)
        ) from None
