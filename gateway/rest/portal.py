"""What staff do for an operator: its keys. To somebody of another operator it is not there."""

from __future__ import annotations

from uuid import UUID

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.auth.staff import StaffRequest, only
from gateway.http import options_of, response, uuid_id
from gateway.problems import ProblemError
from gateway.rest.access import add_key, list_keys, revoke_key
from keno.identity.access import AccessService
from keno.phrases import said


def routes(access: AccessService) -> list[HTTPRouteHandler]:
    """The handlers, behind a session of staff and below an operator's path."""

    async def visible(request: StaffRequest, operator: str) -> UUID:
        operator_id = uuid_id(operator, "operator_not_found")
        if not request.user.sees(operator_id) or not await access.has_operator(operator_id):
            raise ProblemError("operator_not_found", said("there is no operator {operator}", operator=operator))
        return operator_id

    @get("/keys", guards=[only("owner", "operator_admin", "auditor")])
    async def all_keys(request: StaffRequest, operator: FromPath[str]) -> Response[bytes]:
        return response(await list_keys(access, await visible(request, operator)))

    @post("/keys", guards=[only("owner", "operator_admin")])
    async def add(request: StaffRequest, operator: FromPath[str]) -> Response[bytes]:
        operator_id = await visible(request, operator)
        return response(await add_key(access, operator_id, request, actor=request.user.actor))

    @delete("/keys/{key_id:str}", status_code=200, guards=[only("owner", "operator_admin")])
    async def revoke(request: StaffRequest, operator: FromPath[str], key_id: FromPath[str]) -> Response[bytes]:
        operator_id = await visible(request, operator)
        return response(await revoke_key(access, operator_id, key_id, actor=request.user.actor))

    return [options_of("/keys", "GET", "POST"), all_keys, add, revoke]
