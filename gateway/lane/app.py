"""The bet lane as an RSGI application: two calls, answered by the same desk as on the gateway's routes, and its health.

A proxy shows the lane and the gateway as one origin (`deploy/nginx.conf`). RSGI hands over paths decoded and leaves
fields out whose value is not ASCII; neither can be signed, so both end as requests that are not signed well.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from granian._granian import RSGIHTTPProtocol, RSGIProtocolClosed
from granian.rsgi import Scope

from gateway.answers import Answer
from gateway.auth import guard
from gateway.desk import Desk
from gateway.failing import answer_to
from gateway.lane.patience import Patience
from gateway.placing import BATCH, BET, BetCall
from gateway.problems import ProblemError, problem
from gateway.rest.health import Health
from keno.phrases import said
from keno.texts.languages import Language

_CALLS: Final = {call.path: call for call in (BET, BATCH)}

# As Litestar spells them on the same routes.
_ALLOW: Final = "POST, OPTIONS"
_ALLOW_OPTIONS: Final = "OPTIONS, POST"


class Lane:
    """Serves bets, `/healthz` and `/readyz`."""

    def __init__(self, desk: Desk, health: Health) -> None:
        self._desk = desk
        self._health = health
        self._patience = Patience(guard.BODY_READ_S)

    async def __rsgi__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        call = _CALLS.get(scope.path)
        if call is None:
            answer = await self._other(scope)
        elif scope.method == "OPTIONS":
            answer = Answer(204, b"", "", {"Allow": _ALLOW_OPTIONS})
        elif scope.method != "POST":
            answer = problem("method_not_allowed", language=self._language(scope))
            answer.headers["Allow"] = _ALLOW
        else:
            answer = await self._bets(call, scope, protocol)
        headers = [*answer.headers.items()]
        if answer.media_type:
            headers.append(("Content-Type", answer.media_type))
        protocol.response_bytes(answer.status, headers, answer.body)

    async def _bets(self, call: BetCall, scope: Scope, protocol: RSGIHTTPProtocol) -> Answer:
        headers = scope.headers
        try:
            announced = _announced(headers.get("content-length"), call.body_bytes_max)
            with self._desk.capacity.held(call.body_bytes_max if announced is None else announced):
                body = await self._body(protocol, announced, call.body_bytes_max)
                target = f"{call.path}?{scope.query_string}" if scope.query_string else call.path
                peer = scope.client.rpartition(":")[0].strip("[]")
                return await self._desk.answer(call, target, headers.get_all, body, peer)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - the edge: every failure has an answer
            return answer_to(error, "POST", call.path, self._language(scope))

    async def _body(self, protocol: RSGIHTTPProtocol, announced: int | None, bytes_max: int) -> bytes:
        reading: Awaitable[bytes] = protocol() if announced is not None else _bounded(protocol, bytes_max)
        try:
            return await self._patience.wait(reading)
        except RSGIProtocolClosed:
            raise ProblemError("bad_request", "the connection ended before the body") from None
        except TimeoutError:
            raise ProblemError(
                "body_too_slow", said("the body was not complete after {seconds:g} s", seconds=guard.BODY_READ_S)
            ) from None

    async def _other(self, scope: Scope) -> Answer:
        if scope.path == "/healthz":
            return self._health.lives()
        if scope.path == "/readyz":
            return await self._health.ready(self._language(scope))
        return problem("not_found", language=self._language(scope))

    def _language(self, scope: Scope) -> Language:
        return self._desk.texts.for_header(scope.headers.get_all("accept-language"))  # type: ignore[attr-defined]


def _too_large() -> ProblemError:
    # Its title says it all, as on the same routes of Litestar.
    return ProblemError("body_too_large", "")


def _announced(length: str | None, bytes_max: int) -> int | None:
    if length is None:
        return None
    if not length.isdecimal():
        raise ProblemError("bad_request", "Content-Length is no number")
    if int(length) > bytes_max:
        raise _too_large()
    return int(length)


async def _bounded(protocol: RSGIHTTPProtocol, bytes_max: int) -> bytes:
    body = bytearray()
    async for piece in protocol:
        body += piece
        if len(body) > bytes_max:
            raise _too_large()
    return bytes(body)
