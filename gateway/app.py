"""The REST API as a Litestar application: which handlers there are, who may call them, and how errors are answered.

Bodies never pass through the framework's own decoding: handlers get the raw bytes, which were signed, and hand them to
the services' strict decoders. There is no cookie; pages of other origins may call only for players, and only where the
configuration names them. Bets are answered by the desk that the lane has too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from litestar import Litestar, Response, Router
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException

from gateway.answers import Answer
from gateway.auth import exchange, staff
from gateway.auth.entrance import Entrance, Passage
from gateway.auth.guard import operator_signature
from gateway.auth.limits import limited_by_address, limited_by_player, tell_limits
from gateway.auth.origins import Origins
from gateway.auth.player import of_our_pages, player_session
from gateway.desk import Capacity, Desk
from gateway.failing import answer_to
from gateway.http import response
from gateway.lane.app import Lane
from gateway.problems import BODY_BYTES_MAX, problem
from gateway.rest import (
    access,
    bets,
    documents,
    fairness,
    guides,
    health,
    keys,
    log,
    pages,
    player,
    portal,
    reports,
    rooms,
    sessions,
    statement,
    wallet,
)
from gateway.rest.health import Health
from gateway.speech import AnyRequest, language_of
from keno.bootstrap import Platform
from keno.texts.service import Texts

_CODES_BY_STATUS: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def create_app(platform: Platform, capacity: Capacity | None = None) -> Litestar:
    """The gateway over a platform's services. Raises ConfigError where the public origins cannot be used."""
    config = platform.config
    platform.texts.follow()
    desk_capacity = capacity or Capacity()
    origins = Origins(config.public_origins)
    entrance = Entrance(platform.identity, origins, config.proxies_count)
    players_pages, our_pages = of_our_pages(origins, config.player_origins), of_our_pages(origins, ())
    signed = Router(
        path="/v1",
        guards=[operator_signature(entrance)],
        route_handlers=[
            *bets.routes(platform.bets, platform.rooms),
            *rooms.routes(platform.rooms, platform.seen),
            *wallet.routes(platform.wallet),
            *statement.routes(platform.wallet),
            *reports.routes(platform.reporting),
            *access.routes(platform.access, config.proxies_count),
            *sessions.routes(platform.sessions, platform.rooms, platform.wallet, platform.bets, config.launch_url),
        ],
    )
    by_address = limited_by_address(platform.limits, config.proxies_count)
    auth = Router(path="/v1", guards=[by_address, players_pages], route_handlers=[*exchange.routes(platform.sessions)])
    players = Router(
        path="/v1/player",
        guards=[by_address, players_pages, player_session(platform.sessions), limited_by_player(platform.limits)],
        route_handlers=[*player.routes(platform.bets, platform.wallet, platform.rooms, platform.texts, desk_capacity)],
    )
    of_operator = Router(
        path="/v1/staff/operators/{operator:str}",
        guards=[by_address, our_pages, staff.staff_session(platform.staff)],
        route_handlers=[*portal.routes(platform.access)],
    )
    public = Router(
        path="/",
        guards=[by_address],
        route_handlers=[
            *documents.routes(platform.documents),
            *guides.routes(),
            *pages.routes(platform.texts, config),
            *fairness.routes(platform.evidence),
            *log.routes(platform.log, platform.anchors),
        ],
    )
    return Litestar(
        route_handlers=[
            signed,
            auth,
            players,
            staff.router(platform.staff, [by_address, our_pages], config.proxies_count),
            of_operator,
            *bets.placing_routes(Desk(entrance, platform.bets, platform.texts, desk_capacity)),
            public,
            *keys.routes([platform.identity.response_key.jwk, platform.receipt_key.jwk], platform.signing_keys),
            *health.routes(Health(platform.pool, platform.redis)),
        ],
        exception_handlers=_exception_handlers(platform.texts),
        request_max_body_size=BODY_BYTES_MAX,
        before_send=[tell_limits],
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
        expose_headers=["Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After"],
    )


def create_lane(platform: Platform) -> Lane:
    """The bet lane over a platform's services. Raises ConfigError where the public origins cannot be used."""
    config = platform.config
    platform.texts.follow()
    entrance = Entrance(platform.identity, Origins(config.public_origins), config.proxies_count)
    desk = Desk(entrance, platform.bets, platform.texts, Capacity())
    return Lane(desk, Health(platform.pool, platform.redis))


def _exception_handlers(texts: Texts) -> dict[int | type[Exception], Callable[[AnyRequest, Any], Response[Any]]]:
    def on_failure(request: AnyRequest, error: Exception) -> Response[bytes]:
        route = request.scope.get("path_template")
        return _finished(request, answer_to(error, request.method, route, language_of(texts, request)))

    def on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
        if error.status_code >= 500:
            return on_failure(request, error)
        code = _CODES_BY_STATUS.get(error.status_code, "bad_request")
        answer = problem(code, language=language_of(texts, request))
        answer.headers.update({name.title(): value for name, value in (error.headers or {}).items()})
        return _finished(request, answer)

    return {HTTPException: on_http_exception, Exception: on_failure}


def _finished(request: AnyRequest, answer: Answer) -> Response[bytes]:
    passage = request.scope.get("auth")
    return response(passage.finish(answer) if isinstance(passage, Passage) else answer)
