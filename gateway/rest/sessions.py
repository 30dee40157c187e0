"""Sessions of players as their operator sees them: launched and ended."""

from __future__ import annotations

import re
import time
from typing import Final
from uuid import UUID

from litestar import Response, delete, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.exchange import session_answer
from gateway.auth.guard import SignedRequest, signed_response
from gateway.bodies import require_json
from gateway.http import is_a
from gateway.problems import ProblemError
from keno.bets.limits import PlayerLimits
from keno.bets.service import BetService
from keno.identity.launch import LaunchLimits, LaunchRequest, decode_launch
from keno.identity.sessions import SessionService
from keno.phrases import said
from keno.requests import PlayerReference, quoted_fields, refuse_repeated_fields
from keno.rounds.service import RoomService
from keno.wallet.service import WalletService

_FIELDS: Final = quoted_fields(LaunchRequest) + quoted_fields(LaunchLimits)
_SESSION_ID: Final = re.compile(r"[0-9a-f]{32}")


def routes(
    sessions: SessionService, rooms: RoomService, wallet: WalletService, bets: BetService, launch_url: str
) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    @post("/sessions")
    async def launch(request: SignedRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        asked = decode_launch(body)
        refuse_repeated_fields(body, _FIELDS)
        operator_id = request.user.id
        await _require_open_room(rooms, operator_id, asked.room)
        opened = await wallet.open_account(operator_id, asked.player, asked.currency)
        if opened.player_id is None:
            if opened.outcome == "player_blocked":
                raise ProblemError(opened.outcome, said("player {player} is blocked", player=asked.player), "player")
            raise ProblemError(opened.outcome, said("you do not offer {currency}", currency=asked.currency), "currency")
        if asked.limits is not None:
            limits = PlayerLimits(asked.currency, asked.limits.round_bets_max, asked.limits.round_stake_max_minor)
            await bets.limit_player(operator_id, asked.player, limits)
        launched = await sessions.launch(
            operator_id, opened.player_id, asked.player, asked.currency, asked.room, asked.locale, _now_ms()
        )
        answer = session_answer(launched.session) | {
            "ticket": launched.ticket,
            "ticket_expires_ms": launched.ticket_expires_ms,
            # In the fragment, which browsers send to no server and show to no other page.
            "launch_url": f"{launch_url}#ticket={launched.ticket}",
        }
        return signed_response(request, json_answer(answer, status=201))

    @delete("/sessions/{session_id:str}", status_code=200)
    async def end(request: SignedRequest, session_id: FromPath[str]) -> Response[bytes]:
        known = _SESSION_ID.fullmatch(session_id) is not None
        if not known or not await sessions.end(request.user.id, session_id):
            raise ProblemError("session_not_found", "you have no such session, or it is over")
        return signed_response(request, json_answer({"session_id": session_id, "ended": True}))

    @delete("/players/{player:str}/sessions", status_code=200)
    async def end_all(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        if not is_a(PlayerReference, player) or not await sessions.end_all(request.user.id, player):
            raise ProblemError("player_not_found", "you have no such player")
        return signed_response(request, json_answer({"player": player, "ended": True}))

    return [launch, end, end_all]


async def _require_open_room(rooms: RoomService, operator_id: UUID, room_id: UUID | None) -> None:
    if room_id is None:
        return
    room = await rooms.room(room_id, operator_id)
    if room is None:
        raise ProblemError("room_not_found", said("you have no room {room_id}", room_id=room_id), "room")
    if room.status != "open":
        raise ProblemError(
            "room_closed", said("room {room_id} is {status}", room_id=room_id, status=room.status), "room"
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
