"""What a player's client calls around the game: tickets and refresh tokens for tokens, and logout."""

from __future__ import annotations

import time
from typing import Any, Final

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from gateway.answers import json_answer
from gateway.bodies import require_json
from gateway.http import response
from keno.identity.launch import ExchangeRequest, RefreshRequest, decode_exchange, decode_refresh
from keno.identity.sessions import Session, SessionService, Tokens
from keno.identity.tokens import ACCESS_TOKEN_S
from keno.requests import quoted_fields, refuse_repeated_fields

_EXCHANGE_FIELDS: Final = quoted_fields(ExchangeRequest)
_REFRESH_FIELDS: Final = quoted_fields(RefreshRequest)

OpenRequest = Request[None, None, State]


def routes(sessions: SessionService) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone: what they are asked with is their proof."""

    @post("/auth/exchange", status_code=200)
    async def exchange(request: OpenRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        asked = decode_exchange(body)
        refuse_repeated_fields(body, _EXCHANGE_FIELDS)
        return response(_tokens(await sessions.exchange(asked.ticket, _now_ms())))

    @post("/auth/refresh", status_code=200)
    async def refresh(request: OpenRequest) -> Response[bytes]:
        return response(_tokens(await sessions.refresh(await _refresh_token(request), _now_ms())))

    @post("/auth/logout", status_code=200)
    async def log_out(request: OpenRequest) -> Response[bytes]:
        await sessions.log_out(await _refresh_token(request))
        return response(json_answer({"ended": True}))

    return [exchange, refresh, log_out]


def session_answer(session: Session) -> dict[str, Any]:
    """What a client is told about its session."""
    return {
        "session_id": session.id,
        "player": session.player,
        "currency": session.currency,
        "room": None if session.room is None else str(session.room),
        "locale": session.locale,
    }


async def _refresh_token(request: OpenRequest) -> str:
    require_json(request.headers.get("content-type"))
    body = await request.body()
    asked = decode_refresh(body)
    refuse_repeated_fields(body, _REFRESH_FIELDS)
    return asked.refresh_token


def _tokens(issued: Tokens) -> Any:
    return json_answer(
        {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in_s": ACCESS_TOKEN_S,
            "refresh_token": issued.refresh_token,
            "session": session_answer(issued.session),
        }
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
