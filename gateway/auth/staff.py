"""Staff of the portal: login, logout, and guards that let in who has a session, and who has a role.

The token of a session is a bearer token. Where the pages of the portal will keep it is theirs to say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from gateway.answers import json_answer
from gateway.auth.guard import Connection, Guard
from gateway.auth.networks import address_of
from gateway.auth.player import bearer
from gateway.bodies import require_json
from gateway.http import response
from gateway.problems import ProblemError
from keno.identity.staff import LoginRequest, Role, Staff, decode_login
from keno.identity.staff_service import SESSION_IDLE_MS, StaffService
from keno.phrases import said
from keno.requests import quoted_fields, refuse_repeated_fields

StaffRequest = Request[Staff, None, State]
"""A request behind the guard: `user` is who sends it."""

_LOGIN_FIELDS: Final = quoted_fields(LoginRequest)


def staff_session(staff: StaffService) -> Guard:
    """A guard that puts who has the session into the request's `user`.

    Raises ProblemError `token_missing` and the errors of `StaffService.authenticate`.
    """

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        token = bearer(connection.scope["headers"])
        connection.scope["user"] = await staff.authenticate(token, time.time_ns() // 1_000_000)

    return guard


def only(*roles: Role) -> Guard:
    """A guard that comes after that of the session. Raises ProblemError `role_not_allowed`."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        if connection.scope["user"].role not in roles:
            raise ProblemError("role_not_allowed", said("this is for {roles}", roles=", ".join(roles)))

    return guard


def router(staff: StaffService, guards: Sequence[Guard], proxies_count: int) -> Router:
    """The handlers."""

    @post("/login", status_code=200)
    async def log_in(request: Request[Any, Any, State]) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        asked = decode_login(body)
        refuse_repeated_fields(body, _LOGIN_FIELDS)
        address = address_of(request, proxies_count)
        logged_in, token = await staff.log_in(asked, str(address or "unknown"), time.time_ns() // 1_000_000)
        answer = {"token": token, "token_type": "Bearer", "idle_s": SESSION_IDLE_MS // 1000}
        return response(json_answer(answer | {"staff": _staff(logged_in)}))

    @post("/logout", status_code=200, guards=[staff_session(staff)])
    async def log_out(request: StaffRequest) -> Response[bytes]:
        await staff.log_out(bearer(request.scope["headers"]))
        return response(json_answer({"ended": True}))

    @get("/me", guards=[staff_session(staff)])
    async def me(request: StaffRequest) -> Response[bytes]:
        return response(json_answer(_staff(request.user)))

    return Router(path="/v1/staff", guards=[*guards], route_handlers=[log_in, log_out, me])


def _staff(staff: Staff) -> dict[str, Any]:
    operator = None if staff.operator_id is None else str(staff.operator_id)
    return {"name": staff.name, "role": staff.role, "operator": operator}
