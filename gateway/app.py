"""The REST API as a Litestar application: which handlers there are, who may call them, and how errors are answered.

Bodies never pass through the framework's own decoding: handlers get the raw bytes, which were signed, and hand them to
the services' strict decoders. No session, cookie or cross-origin access exists here. Bets are answered by the desk that
the lane has too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException

from gateway.answers import Answer
from gateway.auth.entrance import Entrance, Passage
from gateway.auth.guard import operator_signature
from gateway.auth.origins import Origins
from gateway.desk import Desk
from gateway.failing import answer_to
from gateway.http import response
from gateway.lane.app import Lane
from gateway.problems import BODY_BYTES_MAX, problem
from gateway.rest import bets, documents, fairness, health, keys, rooms, statement, wallet
from gateway.rest.health import Health
from keno.bootstrap import Platform

AnyRequest = Request[Any, Any, Any]

_CODES_BY_STATUS: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def create_app(platform: Platform) -> Litestar:
    """The gateway over a platform's services. Raises ConfigError where origins or proxies cannot be used."""
    entrance = _entrance(platform)
    signed = Router(
        path="/v1",
        guards=[operator_signature(entrance)],
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
            *bets.placing_routes(Desk(entrance, platform.bets)),
            *documents.routes(platform.rooms),
            *fairness.routes(platform.evidence),
            *keys.routes(platform.identity.response_key),
            *health.routes(Health(platform.pool, platform.redis)),
        ],
        exception_handlers=_exception_handlers(),
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


def create_lane(platform: Platform) -> Lane:
    """The bet lane over a platform's services. Raises ConfigError where origins or proxies cannot be used."""
    return Lane(Desk(_entrance(platform), platform.bets), Health(platform.pool, platform.redis))


def _entrance(platform: Platform) -> Entrance:
    config = platform.config
    return Entrance(platform.identity, Origins(config.public_origins), config.trusted_proxies)


def _exception_handlers() -> dict[int | type[Exception], Callable[[AnyRequest, Any], Response[Any]]]:
    return {HTTPException: _on_http_exception, Exception: _on_failure}


def _on_failure(request: AnyRequest, error: Exception) -> Response[bytes]:
    return _finished(request, answer_to(error, request.method, request.scope.get("path_template")))


def _on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    if error.status_code >= 500:
        return _on_failure(request, error)
    answer = problem(_CODES_BY_STATUS.get(error.status_code, "bad_request"))
    answer.headers.update({name.title(): value for name, value in (error.headers or {}).items()})
    return _finished(request, answer)


def _finished(request: AnyRequest, answer: Answer) -> Response[bytes]:
    passage = request.scope.get("auth")
    return response(passage.finish(answer) if isinstance(passage, Passage) else answer)
