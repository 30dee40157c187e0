"""The page on which anyone's browser verifies rounds. No login; nothing in it depends on who asks."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import Answer
from gateway.http import response
from gateway.problems import ProblemError
from gateway.web.verifying import OFFLINE_NAME, Asset, assets
from keno.phrases import said

_NAMED_BY_HASH: Final = "public, max-age=31536000, immutable"
_PAGE: Final = "public, max-age=300"


def routes() -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""
    answers = {name: _answer(name, asset) for name, asset in assets().items()}

    @get("/verify")
    async def page() -> Response[bytes]:
        return response(answers[""])

    @get("/verify/{name:str}")
    async def asset(name: FromPath[str]) -> Response[bytes]:
        if name not in answers:
            raise ProblemError("not_found", said("there is no {name!r} here", name=name))
        return response(answers[name])

    return [page, asset]


def _answer(name: str, asset: Asset) -> Answer:
    headers = {
        "Cache-Control": _NAMED_BY_HASH if asset.policy is None else _PAGE,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    if asset.policy is not None:
        headers["Content-Security-Policy"] = asset.policy
    if name == OFFLINE_NAME:
        headers["Content-Disposition"] = f'attachment; filename="{OFFLINE_NAME}"'
    return Answer(200, asset.body, asset.media_type, headers)
