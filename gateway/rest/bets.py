"""Bets: place one or many, and look up."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest
from gateway.bodies import require_json
from gateway.http import decimal_id, response
from gateway.placing import place_batch, place_bet
from gateway.problems import BATCH_BODY_BYTES_MAX, ProblemError
from keno.bets.service import BetService
from keno.bets.store import StoredBet
from keno.fairness import leaves
from keno.game.numbers import mask_picks


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
        return response(json_answer(_bet(*found)))

    return [place, place_many, look_up]


def _bet(bet: StoredBet, leaf: bytes) -> dict[str, Any]:
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
