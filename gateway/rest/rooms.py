"""Rooms and rounds as an operator sees them, and that it has seen a lock. Another operator's rooms are not there."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest, signed_response
from gateway.bodies import require_json
from gateway.http import decimal_id, query_of, uuid_id
from gateway.problems import ProblemError
from keno.fairness.seen import SeenLocks, SeenRequest, decode_seen
from keno.phrases import said
from keno.requests import ID_MAX, quoted_fields, refuse_repeated_fields
from keno.rounds.room_store import Room, Round
from keno.rounds.service import RoomService

PAGE_ROUNDS: Final = 50
PAGE_ROUNDS_MAX: Final = 200
_SEEN_FIELDS: Final = quoted_fields(SeenRequest)


def routes(rooms: RoomService, seen: SeenLocks) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    async def visible(request: SignedRequest, room: str) -> Room:
        found = await rooms.room(uuid_id(room, "room_not_found"), request.user.id)
        if found is None:
            raise ProblemError("room_not_found", said("you have no room {room}", room=room))
        return found

    @get("/rooms")
    async def all_rooms(request: SignedRequest) -> Response[bytes]:
        found = await rooms.rooms(request.user.id)
        return signed_response(request, json_answer({"rooms": [room_members(room) for room in found]}))

    @get("/rooms/{room:str}")
    async def one_room(request: SignedRequest, room: FromPath[str]) -> Response[bytes]:
        return signed_response(request, json_answer(room_members(await visible(request, room))))

    @get("/rooms/{room:str}/rounds")
    async def rounds_of_room(request: SignedRequest, room: FromPath[str]) -> Response[bytes]:
        query = query_of(request, {"before": (1, ID_MAX), "limit": (1, PAGE_ROUNDS_MAX)})
        limit = query.get("limit", PAGE_ROUNDS)
        found = await rooms.rounds((await visible(request, room)).id, query.get("before"), limit)
        more = len(found) == limit and found[-1].number > 1
        page = {"rounds": [round_members(each) for each in found], "next_before": found[-1].number if more else None}
        return signed_response(request, json_answer(page))

    @get("/rounds/{round_id:str}")
    async def one_round(request: SignedRequest, round_id: FromPath[str]) -> Response[bytes]:
        found = await visible_round(rooms, request, decimal_id(round_id, "round_not_found"))
        return signed_response(request, json_answer(round_members(found)))

    @post("/rounds/{round_id:str}/seen")
    async def countersign(request: SignedRequest, round_id: FromPath[str]) -> Response[bytes]:
        found = await visible_round(rooms, request, decimal_id(round_id, "round_not_found"))
        require_json(request.headers.get("content-type"))
        body = await request.body()
        asked = decode_seen(body)
        refuse_repeated_fields(body, _SEEN_FIELDS)
        stands = await seen.add(request.user.id, found.id, asked)
        replayed = {"Idempotent-Replayed": "true"} if stands.replayed else None
        answer = {"round": {"id": str(found.id), "number": found.number}, **msgspec.structs.asdict(asked)}
        return signed_response(request, json_answer(answer, status=201, headers=replayed))

    return [all_rooms, one_room, rounds_of_room, one_round, countersign]


async def visible_round(rooms: RoomService, request: SignedRequest, round_id: int) -> Round:
    """A round in a room that the operator may use. Raises ProblemError `round_not_found`."""
    found = await rooms.round(round_id, request.user.id)
    if found is None:
        raise ProblemError("round_not_found", said("you have no round {round_id}", round_id=round_id))
    return found


def room_members(room: Room) -> dict[str, Any]:
    """A room as those may see it who may bet there."""
    return {
        "room": str(room.id),
        "name": room.name,
        "status": room.status,
        "private": room.operator_id is not None,
        "profile": room.profile,
        "period_ms": room.period_ms,
        "lock_lead_ms": room.lock_lead_ms,
        "slot_epoch_ms": room.slot_epoch_ms,
        "rules": room.rules_hash.hex(),
    }


def round_members(found: Round) -> dict[str, Any]:
    """A round as anyone may see it."""
    return {
        "round": {"id": str(found.id), "number": found.number, "phase": found.phase},
        "room": str(found.room_id),
        "rules": found.rules_hash.hex(),
        "commit": _hex(found.commit_hash),
        "opened_ms": found.opened_ms,
        "lock_due_ms": found.lock_due_ms,
        "draw_due_ms": found.draw_due_ms,
        "locked_ms": found.locked_ms,
        "bets_count": found.bets_count,
        "bets_root": _hex(found.bets_root),
        "lock": _hex(found.lock_hash),
        "drawn_ms": found.drawn_ms,
        "numbers": None if found.numbers is None else list(found.numbers),
        "result": _hex(found.result),
        "seed": _hex(found.seed),
        "ended_ms": found.ended_ms,
        "void_reason": found.void_reason,
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
