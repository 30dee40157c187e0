"""The bet lane: two calls, answered by the same desk as on the gateway's routes, and its health.

A proxy shows the lane and the gateway as one origin (`deploy/nginx.conf`).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final
from urllib.parse import unquote

from gateway.answers import Answer
from gateway.desk import Desk
from gateway.failing import answer_to
from gateway.lane.messages import Request
from gateway.placing import BATCH, BET, BetCall
from gateway.problems import BODY_BYTES_MAX, problem
from gateway.rest.health import Health
from keno.errors import KenoError
from keno.texts.languages import Language

_CALLS: Final = {call.path: call for call in (BET, BATCH)}

# As Litestar spells them on the same routes.
_ALLOW: Final = "POST, OPTIONS"
_ALLOW_OPTIONS: Final = "OPTIONS, POST"


class Lane:
    """Answers bets, `/healthz` and `/readyz`."""

    def __init__(self, desk: Desk, health: Health) -> None:
        self._desk = desk
        self._health = health

    def reserve(self, request: Request, announced: int | None) -> int:
        """How many bytes the body may have; those of a bet, if `announced` does not say them, are all under way.

        Raises ProblemError `overloaded`.
        """
        call = _call(request)
        if call is None:
            return BODY_BYTES_MAX
        bytes_max = call.body_bytes_max
        if announced is None or announced <= bytes_max:
            reserved = bytes_max if announced is None else announced
            self._desk.capacity.take(reserved)
            request.reserved = reserved
        return bytes_max

    def release(self, request: Request) -> None:
        """Nothing of the request is under way any more."""
        if request.reserved is not None:
            self._desk.capacity.give_back(request.reserved)
            request.reserved = None

    def refuse(self, request: Request, error: KenoError) -> Answer:
        """The answer to a request that is not heard to its end."""
        return answer_to(error, request.method, None, self._language(request))

    def answer(self, request: Request) -> Awaitable[Answer]:
        """The answer to a request, whatever happens."""
        call = _call(request)
        if call is None or request.method != "POST":
            return self._other(request, call)
        return self._desk.answer(call, request.target, request.values, request.body, request.peer)

    async def _other(self, request: Request, call: BetCall | None) -> Answer:
        try:
            if call is None:
                return await self._about_itself(request)
            if request.method == "OPTIONS":
                return Answer(204, b"", "", {"Allow": _ALLOW_OPTIONS})
            answer = problem("method_not_allowed", language=self._language(request))
            answer.headers["Allow"] = _ALLOW
            return answer
        except Exception as error:  # noqa: BLE001 - the edge: every failure has an answer
            return answer_to(error, request.method, call and call.path, self._language(request))

    async def _about_itself(self, request: Request) -> Answer:
        match _path(request):
            case "/healthz":
                return self._health.lives()
            case "/readyz":
                return await self._health.ready(self._language(request))
        return problem("not_found", language=self._language(request))

    def _language(self, request: Request) -> Language:
        return self._desk.texts.for_header(request.values("accept-language"))


def _call(request: Request) -> BetCall | None:
    # What is signed is the target as it was sent; whose call it is, its path says in any spelling, as on the gateway.
    return _CALLS.get(request.target) or _CALLS.get(_path(request))


def _path(request: Request) -> str:
    path = request.target.partition("?")[0]
    return unquote(path) if "%" in path else path
