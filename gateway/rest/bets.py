"""Bets: place one or many, look up, and what a player may bet in a round."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Response, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest
from gateway.bodies import quoted_fields, refuse_repeated_fields, require_json
from gateway.http import decimal_id, is_a, response
from gateway.placing import place_batch, place_bet
from gateway.problems import BATCH_BODY_BYTES_MAX, ProblemError
from keno.bets.limits import PlayerLimits, decode_limits
from keno.bets.service import BetService
from keno.bets.store import StoredBet
from keno.fairness import leaves
from keno.game.numbers import mask_picks
from keno.requests import PlayerReference

_LIMITS_FIELDS: Final = quoted_fields(PlayerLimits)


def routes(bets: BetService) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    @post("/bets")
    async def place(request: SignedRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        return response(await place_bet(bets, request.user, await request.body()))

    @post("/bets/batch", status_code=200, request_max_body_size=BATCH_BODY_BYTES_MAX)
    async def place_many(request: SignedRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        return response(await place_batch(bets, request.user, await request.body()))

    @get("/bets/{bet_id:str}")
    async def look_up(request: SignedRequest, bet_id: FromPath[str]) -> Response[bytes]:
        found = await bets.find(request.user.id, decimal_id(bet_id, "bet_not_found"))
        if found is None:
            raise ProblemError("bet_not_found", f"you have no bet {bet_id}")
        return response(json_answer(stored_bet(*found)))

    @put("/players/{player:str}/limits")
    async def limit(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        limits = decode_limits(body)
        refuse_repeated_fields(body, _LIMITS_FIELDS)
        if not is_a(PlayerReference, player) or not await bets.limit_player(request.user.id, player, limits):
            raise ProblemError("player_not_found", f"you have no such player with an account in {limits.currency}")
        return response(json_answer({"player": player, **msgspec.structs.asdict(limits)}))

    return [place, place_many, look_up, limit]


def stored_bet(bet: StoredBet, leaf: bytes) -> dict[str, Any]:
    """A bet as it stands, with its receipt and, once its round is settled, its result."""
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
        "receipt": {"leaf": leaf.hex(), "leaf_hash": leaves.leaf_hashes(leaf)[0].hex()},
        "result": _result(bet),
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
