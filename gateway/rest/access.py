"""An operator's own keys, and the networks that it calls from. Its keys are the same for staff who manage them."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import Answer, json_answer
from gateway.auth.guard import SignedRequest, signed_response
from gateway.auth.networks import address_of
from gateway.bodies import require_json
from gateway.http import options_of
from gateway.problems import ProblemError
from keno.identity.access import AccessService, KeyRequest, NetworksRequest, decode_key, decode_networks
from keno.identity.networks import NetworkError, checked_networks, is_allowed
from keno.identity.operators import Key
from keno.phrases import phrase_of, said
from keno.requests import quoted_fields, refuse_repeated_fields

_KEY_FIELDS: Final = quoted_fields(KeyRequest)
_NETWORKS_FIELDS: Final = quoted_fields(NetworksRequest)


def routes(access: AccessService, proxies_count: int) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    @get("/keys")
    async def all_keys(request: SignedRequest) -> Response[bytes]:
        return signed_response(request, await list_keys(access, request.user.id))

    @post("/keys")
    async def add(request: SignedRequest) -> Response[bytes]:
        return signed_response(request, await add_key(access, request.user.id, request, actor=_actor(request)))

    @delete("/keys/{key_id:str}", status_code=200)
    async def revoke(request: SignedRequest, key_id: FromPath[str]) -> Response[bytes]:
        return signed_response(request, await revoke_key(access, request.user.id, key_id, actor=_actor(request)))

    @get("/networks")
    async def networks(request: SignedRequest) -> Response[bytes]:
        found = await access.networks(request.user.id)
        return signed_response(request, json_answer({"networks": [str(network) for network in found]}))

    @put("/networks")
    async def set_networks(request: SignedRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        asked = decode_networks(body)
        refuse_repeated_fields(body, _NETWORKS_FIELDS)
        try:
            checked = checked_networks(asked.networks)
        except NetworkError as error:
            raise ProblemError("invalid_request", phrase_of(error), "networks") from None
        address = address_of(request, proxies_count)
        if not is_allowed(checked, address):
            unknown = "you call from an unknown address"
            detail = unknown if address is None else said("you call from {address}", address=address)
            raise ProblemError("own_address_left_out", detail, "networks")
        await access.set_networks(request.user.id, checked, actor=_actor(request))
        return signed_response(request, json_answer({"networks": [str(network) for network in checked]}))

    return [
        options_of("/keys", "GET", "POST"),
        options_of("/networks", "GET", "PUT"),
        all_keys,
        add,
        revoke,
        networks,
        set_networks,
    ]


async def list_keys(access: AccessService, operator_id: UUID) -> Answer:
    """All keys of an operator."""
    return json_answer({"keys": [_key(key) for key in await access.keys(operator_id)]})


async def add_key(access: AccessService, operator_id: UUID, request: Request[Any, Any, Any], *, actor: str) -> Answer:
    """The key of the request's body, added.

    Raises ProblemError `unsupported_media_type`, RequestError, and the errors of `AccessService.add_key`.
    """
    require_json(request.headers.get("content-type"))
    body = await request.body()
    asked = decode_key(body)
    refuse_repeated_fields(body, _KEY_FIELDS)
    added = await access.add_key(operator_id, asked, actor=actor)
    answer = _key(added.key) if added.secret is None else _key(added.key) | {"secret": added.secret.hex()}
    replayed = {"Idempotent-Replayed": "true"} if added.replayed else None
    return json_answer(answer, status=201, headers=replayed)


async def revoke_key(access: AccessService, operator_id: UUID, key_id: str, *, actor: str) -> Answer:
    """A key of an operator, revoked. Raises the errors of `AccessService.revoke_key`."""
    return json_answer(_key(await access.revoke_key(operator_id, key_id, actor=actor)))


def _actor(request: SignedRequest) -> str:
    verified = request.auth.verified
    assert verified is not None  # noqa: S101 - it is behind the guard
    return f"operator {verified.key.operator.name}, key {verified.key.id}"


def _key(key: Key) -> dict[str, Any]:
    return {
        "key_id": key.id,
        "algorithm": key.algorithm,
        "created_ms": key.created_ms,
        "revoked_ms": key.revoked_ms,
    }
