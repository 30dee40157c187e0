"""Our own public keys, with which others check what we sign: answers, receipts, tokens, calls. No login."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.answers import json_answer
from gateway.http import response
from keno.identity.signing_keys import SigningKeys

# A key is published a whole rotation before it signs, so a minute is nothing.
_CACHE_CONTROL: Final = "public, max-age=60"


def routes(lasting: Sequence[Mapping[str, str]], signing_keys: SigningKeys) -> list[HTTPRouteHandler]:
    """The handler, open to everyone. `lasting` are the keys, as JWKs, that don't rotate."""

    @get("/.well-known/jwks.json")
    async def jwks() -> Response[bytes]:
        published = await signing_keys.jwks(time.time_ns() // 1_000_000)
        keys = [*published["keys"], *lasting]
        return response(json_answer({"keys": keys}, headers={"Cache-Control": _CACHE_CONTROL}))

    return [jwks]
