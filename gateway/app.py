"""The REST API as a Litestar application: which handlers there are, who may call them, and how errors are answered.

Bodies never pass through the framework's own decoding: handlers get the raw bytes, which were signed, and hand them to
the services' strict decoders. There is no cookie; pages of other origins may call only for players, and only where the
configuration names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response, Router
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException

from gateway.auth import exchange, staff
from gateway.auth.guard import operator_signature
from gateway.auth.networks import networks_of_operator
from gateway.auth.origins import Origins
from gateway.auth.player import of_our_pages, player_session
from gateway.http import response
from gateway.problems import BODY_BYTES_MAX, problem, problem_of
from gateway.rest import (
    access,
    bets,
    documents,
    fairness,
    health,
    player,
    rooms,
    sessions,
    statement,
    verifying,
    wallet,
)
from keno.bootstrap import Platform
from keno.errors import KenoError
from keno.infra.transient import is_transient

_log = structlog.get_logger("gateway")

AnyRequest = Request[Any, Any, Any]

_CODES_BY_STATUS: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def create_app(platform: Platform) -> Litestar:
    """The gateway over a platform's services. Raises ConfigError where the public origins cannot be used."""
    config = platform.config
    origins = Origins(config.public_origins)
    signature = operator_signature(platform.identity, origins)
    our_pages = of_our_pages(origins, config.player_origins)
    signed = Router(
        path="/v1",
        guards=[signature, networks_of_operator(config.proxies_count)],
        route_handlers=[
            *bets.routes(platform.bets),
            *rooms.routes(platform.rooms),
            *wallet.routes(platform.wallet),
            *statement.routes(platform.wallet),
            *access.routes(platform.access, config.proxies_count),
            *sessions.routes(platform.sessions, platform.rooms, platform.wallet, platform.bets, config.launch_url),
        ],
    )
    auth = Router(path="/v1", guards=[our_pages], route_handlers=[*exchange.routes(platform.sessions)])
    players = Router(
        path="/v1/player",
        guards=[our_pages, player_session(platform.sessions)],
        route_handlers=[*player.routes(platform.bets, platform.wallet)],
    )
    return Litestar(
        route_handlers=[
            signed,
            auth,
            players,
            staff.router(platform.staff, of_our_pages(origins, ()), config.proxies_count),
            *exchange.key_set(platform.signing_keys),
            *documents.routes(platform.rooms),
            *fairness.routes(platform.evidence),
            *verifying.routes(),
            *health.routes(platform.pool, platform.redis),
        ],
        exception_handlers=_exception_handlers(),
        request_max_body_size=BODY_BYTES_MAX,
        cors_config=_cors(config.player_origins),
        openapi_config=None,
        logging_config=None,
    )


def _cors(player_origins: tuple[str, ...]) -> CORSConfig | None:
    if not player_origins:
        return None
    return CORSConfig(
        allow_origins=list(player_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["Idempotent-Replayed", "Retry-After"],
    )


def _exception_handlers() -> dict[int | type[Exception], Callable[[AnyRequest, Any], Response[Any]]]:
    return {
        KenoError: _on_keno_error,
        HTTPException: _on_http_exception,
        Exception: _on_failure,
    }


def _on_keno_error(request: AnyRequest, error: KenoError) -> Response[bytes]:
    answer = problem_of(error)
    if answer.status >= 500:
        _log_failure(request, error)
    return response(answer)


def _on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    if error.status_code >= 500:
        return _on_failure(request, error)
    answer = problem(_CODES_BY_STATUS.get(error.status_code, "bad_request"))
    answer.headers.update({name.title(): value for name, value in (error.headers or {}).items()})
    return response(answer)


def _on_failure(request: AnyRequest, error: Exception) -> Response[bytes]:
    _log_failure(request, error)
    if is_transient(error):
        return response(problem("unavailable", "a server behind the gateway does not answer"))
    return response(problem("internal"))


def _log_failure(request: AnyRequest, error: Exception) -> None:
    # The route and not the path, which can name a player.
    _log.error("request.failed", method=request.method, route=request.scope.get("path_template"), exc_info=error)
