"""The REST API as a Litestar application: which handlers there are, who may call them, and how errors are answered.

Bodies never pass through the framework's own decoding: handlers get the raw bytes, which were signed, and hand them to
the services' strict decoders. No session, cookie or cross-origin access exists here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import asyncpg
import structlog
from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException

from gateway.auth.guard import operator_signature
from gateway.auth.origins import Origins
from gateway.http import response
from gateway.problems import BODY_BYTES_MAX, problem, problem_of
from gateway.rest import bets, documents, fairness, health, rooms, wallet
from keno.bootstrap import Platform
from keno.errors import KenoError

_log = structlog.get_logger("gateway")

AnyRequest = Request[Any, Any, Any]

# What asyncpg raises where the server is away, going away, or gave a statement up: the request may be fine.
_DATABASE_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
)

_CODES_BY_STATUS: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def create_app(platform: Platform) -> Litestar:
    """The gateway over a platform's services. Raises ConfigError where the public origins cannot be used."""
    signature = operator_signature(platform.identity, Origins(platform.config.public_origins))
    signed = Router(
        path="/v1",
        guards=[signature],
        route_handlers=[
            *bets.routes(platform.bets),
            *rooms.routes(platform.rooms),
            *wallet.routes(platform.wallet),
        ],
    )
    return Litestar(
        route_handlers=[
            signed,
            *documents.routes(platform.rooms),
            *fairness.routes(platform.evidence),
            *health.routes(platform.pool, platform.redis),
        ],
        exception_handlers=_exception_handlers(),
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


def _exception_handlers() -> dict[int | type[Exception], Callable[[AnyRequest, Any], Response[Any]]]:
    return {
        KenoError: _on_keno_error,
        HTTPException: _on_http_exception,
        Exception: _on_bug,
        **dict.fromkeys(_DATABASE_AWAY, _on_database_away),
    }


def _on_keno_error(request: AnyRequest, error: KenoError) -> Response[bytes]:
    answer = problem_of(error)
    if answer.status >= 500:
        _log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return response(answer)


def _on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    if error.status_code >= 500:
        return _on_bug(request, error)
    answer = problem(_CODES_BY_STATUS.get(error.status_code, "bad_request"))
    answer.headers.update({name.title(): value for name, value in (error.headers or {}).items()})
    return response(answer)


def _on_database_away(request: AnyRequest, error: Exception) -> Response[bytes]:
    _log.error("database_away", method=request.method, path=request.url.path, exc_info=error)
    return response(problem("unavailable", "the database does not answer"))


def _on_bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    _log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return response(problem("internal"))
