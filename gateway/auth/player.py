"""Lets a request pass if it has the access token of a living session.

Bearer tokens only, and no cookie: a page of another site has no token to send, so none can act for a player. Browsers
say of which page a request is; pages of origins that are not ours or allowed are refused all the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from typing import Any, Final

from litestar import Request
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from gateway.auth.guard import Connection, Guard, read_body, values_of
from gateway.auth.origins import Origins
from gateway.problems import ProblemError
from keno.identity.sessions import Session, SessionService

PlayerRequest = Request[Session, None, State]
"""A request behind the guard: `user` is the session of the player."""

_BEARER: Final = re.compile(rb"[Bb]earer +([!-~]{1,2048})")


def of_our_pages(origins: Origins, player_origins: Iterable[str]) -> Guard:
    """A guard of what a player's client calls: one of our hosts, a page that may call, and a body within its limit.

    Raises ProblemError `unknown_origin`, `origin_not_allowed` and those of `read_body`.
    """
    allowed = frozenset(player_origins)

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        if not isinstance(connection, Request):
            raise TypeError("only HTTP requests come here")
        await read_body(connection)
        require_our_page(connection, origins, allowed)

    return guard


def require_our_page(connection: Connection, origins: Origins, allowed: Collection[str]) -> None:
    """Raises ProblemError `unknown_origin` for another host, `origin_not_allowed` for a page that may not call."""
    values = values_of(connection.scope["headers"])
    here, pages = origins.target_uri(values("host"), ""), values("origin")
    if pages and (len(pages) > 1 or (pages[0] != here and pages[0] not in allowed)):
        raise ProblemError("origin_not_allowed", "the Origin header names a page that may not call")


def player_session(sessions: SessionService) -> Guard:
    """A guard that puts the session of the access token into the request's `user`.

    Raises ProblemError `token_missing` and the coded errors of `SessionService.authenticate`.
    """

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        token = bearer(connection.scope["headers"])
        connection.scope["user"] = await sessions.authenticate(token, time.time_ns() // 1_000_000)

    return guard


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The bearer token of a request. Raises ProblemError `token_missing` where there is not exactly one."""
    found = [value for name, value in headers if name == b"authorization"]
    match: Any = _BEARER.fullmatch(found[0]) if len(found) == 1 else None
    if match is None:
        raise ProblemError("token_missing", "there is no Authorization header with one bearer token")
    return str(match[1], "ascii")
