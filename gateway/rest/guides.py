"""The documents of the API, of the live stream and of the broker's events, for programs and for people. No login."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.answers import JSON, Answer, bytes_answer
from gateway.http import response
from gateway.openapi import document, pages
from gateway.openapi.calls import HTML
from keno.notify import asyncapi, asyncapi_events

_CACHE_CONTROL: Final = "public, max-age=300"


def routes() -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""
    return [
        _at("/openapi.json", _openapi),
        _at("/asyncapi-live.json", lambda: _json(asyncapi.document())),
        _at("/asyncapi-events.json", lambda: _json(asyncapi_events.document())),
        _at("/docs", lambda: _page(pages.openapi_page(document.document()))),
        _at("/docs/live", lambda: _page(pages.asyncapi_page(asyncapi.document()))),
        _at("/docs/events", lambda: _page(pages.asyncapi_page(asyncapi_events.document()))),
    ]


def _at(path: str, make: Callable[[], Answer]) -> HTTPRouteHandler:
    # Made when first asked for: most processes never are.
    made = lru_cache(1)(make)

    @get(path)
    async def guide() -> Response[bytes]:
        return response(made())

    return guide


def _openapi() -> Answer:
    return bytes_answer(document.encoded(), JSON, cache_control=_CACHE_CONTROL)


def _json(value: object) -> Answer:
    return bytes_answer(msgspec.json.encode(value), JSON, cache_control=_CACHE_CONTROL)


def _page(page: bytes) -> Answer:
    answer = bytes_answer(page, HTML, cache_control=_CACHE_CONTROL)
    answer.headers.update({"Content-Security-Policy": pages.POLICY, "X-Content-Type-Options": "nosniff"})
    return answer
