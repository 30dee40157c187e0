"""The REST API as a Litestar application: which handlers there are, who may call them, and how errors are answered.

Bodies never pass through the framework's own decoding: handlers get the raw bytes, which were signed, and hand them to
the services' strict decoders. No session, cookie or cross-origin access exists here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException

from gateway.auth.guard import operator_signature
from gateway.auth.origins import Origins
from gateway.http import response
from gateway.problems import BODY_BYTES_MAX, problem, problem_of
from gateway.rest import bets, documents, fairness, health, rooms, statement, wallet
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
    signature = operator_signature(platform.identity, Origins(platform.config.public_origins))
    signed = Router(
        path="/v1",
        guards=[signature],
        route_handlers=[
            *bets.routes(platform.bets),
            *rooms.routes(platform.rooms),
            *wallet.routes(platform.wallet),
            *statement.routes(platform.wallet),
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
