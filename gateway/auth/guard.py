"""Lets a request pass if an operator signed it. Which operator's data it may see is for the handlers and services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler

from gateway.auth.origins import Origins
from gateway.problems import ProblemError
from keno.identity.operators import Operator
from keno.identity.service import IdentityService

BODY_READ_S: Final = 10.0
"""How long a body may take to arrive: who sends a byte a minute must not hold a connection for ever."""

SignedRequest = Request[Operator, None, State]
"""A request behind the guard: `user` is the operator that signed it, `body()` the bytes that were signed."""

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


def operator_signature(identity: IdentityService, origins: Origins) -> Guard:
    """A guard that reads the body within its limit, authenticates the operator, and puts it into the request's `user`.

    It raises the coded errors of `IdentityService.authenticate` and of `Origins.target_uri`.
    """

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        if not isinstance(connection, Request):
            raise TypeError("only HTTP requests are signed")
        body = await read_body(connection)
        headers = connection.scope["headers"]
        target_uri = origins.target_uri(headers, connection.scope["raw_path"], connection.scope["query_string"])
        connection.scope["user"] = await identity.authenticate(
            connection.method, target_uri, headers, body, time.time_ns() // 1_000_000
        )

    return guard


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """The whole body, within its limits. Raises ProblemError `bad_request` and `body_too_slow`."""
    try:
        async with asyncio.timeout(BODY_READ_S):
            return await request.body()
    except InternalServerException:
        raise ProblemError("bad_request", "the connection ended before the body") from None
    except TimeoutError:
        raise ProblemError("body_too_slow", f"the body was not complete after {BODY_READ_S:g} s") from None
