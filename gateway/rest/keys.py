"""Our own public keys, with which operators check answers. No login."""

from __future__ import annotations

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.answers import Answer, json_answer
from gateway.http import response
from keno.identity.responses import ResponseKey

_MAX_AGE_S = 300


def routes(key: ResponseKey) -> list[HTTPRouteHandler]:
    """The handler, open to everyone."""

    @get("/.well-known/jwks.json")
    async def jwks() -> Response[bytes]:
        return response(_published(key))

    return [jwks]


def _published(key: ResponseKey) -> Answer:
    return json_answer(key.jwks(), headers={"Cache-Control": f"public, max-age={_MAX_AGE_S}"})
