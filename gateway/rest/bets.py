"""Bets: place one or many, look up, list, and what a player may bet in a round."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest, peer, read_body, received, signed_response
from gateway.bodies import require_json
from gateway.desk import Desk
from gateway.http import decimal_id, is_a, options_of, query_integer, query_texts, response
from gateway.placing import BATCH, BET, BetCall, receipt_of
from gateway.problems import ProblemError
from gateway.rest.rooms import visible_round
from gateway.rest.statement import PAGE_ENTRIES, PAGE_ENTRIES_MAX, place_of
from keno.bets.limits import PlayerLimits, decode_limits
from keno.bets.read_store import StoredBet
from keno.bets.service import BetService, FoundBet
from keno.game.numbers import mask_picks
from keno.phrases import said
from keno.requests import ID_MAX, PlayerReference, quoted_fields, refuse_repeated_fields
from keno.rounds.service import RoomService

_PARAMETERS: Final = ("player", "round", "before", "limit")
_LIMITS_FIELDS: Final = quoted_fields(PlayerLimits)


def routes(bets: BetService, rooms: RoomService) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    @get("/bets")
    async def listed(request: SignedRequest) -> Response[bytes]:
        query = query_texts(request, _PARAMETERS)
        player, round_id, before = query.get("player"), query.get("round"), place_of(query.get("before"))
        limit = query_integer("limit", query.get("limit", str(PAGE_ENTRIES)), 1, PAGE_ENTRIES_MAX)
        if player is None and round_id is None:
            raise ProblemError("invalid_query", "player or round is required", "player")
        played = None
        if round_id is not None:
            played = await visible_round(rooms, request, query_integer("round", round_id, 1, ID_MAX))
        known = player is None or is_a(PlayerReference, player)
        page = await bets.find_all(request.user.id, player, played, before, limit) if known else None
        if page is None:
            raise ProblemError("player_not_found", "you have no such player")
        next_before = None if page.next_before is None else str(page.next_before)
        found = [stored_bet(each) for each in page.bets]
        return signed_response(request, json_answer({"bets": found, "next_before": next_before}))

    @get("/bets/{bet_id:str}")
    async def look_up(request: SignedRequest, bet_id: FromPath[str]) -> Response[bytes]:
        found = await bets.find(request.user.id, decimal_id(bet_id, "bet_not_found"))
        if found is None:
            raise ProblemError("bet_not_found", said("you have no bet {bet_id}", bet_id=bet_id))
        return signed_response(request, json_answer(stored_bet(found)))

    @put("/players/{player:str}/limits")
    async def limit(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        limits = decode_limits(body)
        refuse_repeated_fields(body, _LIMITS_FIELDS)
        if not is_a(PlayerReference, player) or not await bets.limit_player(request.user.id, player, limits):
            raise ProblemError(
                "player_not_found",
                said("you have no such player with an account in {currency}", currency=limits.currency),
            )
        return signed_response(request, json_answer({"player": player, **msgspec.structs.asdict(limits)}))

    return [options_of("/bets", "GET", "POST"), listed, look_up, limit]


def placing_routes(desk: Desk) -> list[HTTPRouteHandler]:
    """The handlers of the calls that the lane answers too; the desk lets operators in by itself."""
    return [_placing(desk, BET), _placing(desk, BATCH)]


def _placing(desk: Desk, call: BetCall) -> HTTPRouteHandler:
    @post(call.path, request_max_body_size=call.body_bytes_max)
    async def place(request: Request[Any, Any, Any]) -> Response[bytes]:
        with desk.capacity.held(call.body_bytes_max):
            body = await read_body(request)
            return response(await desk.answer(call, *received(request), body, peer(request)))

    return place


def stored_bet(found: FoundBet) -> dict[str, Any]:
    """A bet as it stands, with its receipt and, once its round is that far, its place in the lock and its result."""
    bet = found.stored
    return {
        "bet_id": str(bet.bet_id),
        "transaction_id": bet.transaction_id,
        "round": {"id": str(bet.round_id), "number": bet.round_number, "phase": bet.phase},
        "room": str(bet.room_id),
        "player": bet.player,
        "picks": mask_picks(bet.picks),
        "stake_minor": bet.stake_minor,
        "currency": bet.currency,
        "paytable": bet.paytable.hex(),
        "accepted_ms": bet.accepted_ms,
        "receipt": receipt_of(found.leaf, found.leaf_hash, found.proof),
        "result": _result(bet),
        "inclusion": _inclusion(found),
    }


def _inclusion(found: FoundBet) -> dict[str, Any] | None:
    """Where the round's lock has the bet, once there is one."""
    proof, stored = found.inclusion, found.stored
    if proof is None or stored.lock is None:
        return None
    return {
        "lock": stored.lock.hex(),
        "bets_root": proof.root.hex(),
        "bets_count": proof.size,
        "index": proof.leaf_index,
        "path": [each.hex() for each in proof.path],
    }


def _result(bet: StoredBet) -> dict[str, Any] | None:
    """What the bet won, once its round is settled; `credited_ms` is when the player's balance got it."""
    if bet.phase != "settled":
        return None
    return {
        "payout_minor": bet.payout_minor or 0,
        "cut_minor": bet.cut_minor or 0,
        "credited_ms": bet.credited_ms,
    }
