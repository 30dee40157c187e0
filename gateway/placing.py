"""A bet over HTTP without any web framework: bytes of an authenticated operator in, an answer out.

Every server that takes bets calls this, so that a bet is decoded, answered and refused in the same way everywhere.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.answers import Answer, json_answer
from gateway.bodies import quoted_fields, refuse_repeated_fields
from gateway.problems import OUTCOME_CODES, problem
from keno.bets.outcome import Outcome
from keno.bets.request import BetRequest, decode
from keno.bets.service import BetService, Receipt
from keno.game.numbers import mask_picks
from keno.identity.operators import Operator

_FIELDS: Final = quoted_fields(BetRequest)


async def place_bet(bets: BetService, operator: Operator, body: bytes) -> Answer:
    """Place the bet in `body`: 201 with the bet and its receipt, or a problem.

    The same bet under the same transaction id again has the same answer, with the header `Idempotent-Replayed: true`.
    Raises RequestError.
    """
    request, mask = decode(body)
    refuse_repeated_fields(body, _FIELDS)
    placed = await bets.place(operator.id, request, mask)
    if placed.receipt is None:
        code, field = OUTCOME_CODES[placed.outcome]
        if placed.outcome is Outcome.ROUND_NOT_FOUND and request.room is not None:
            code = "room_not_found"
        return problem(code, field=field or _place(request))
    replayed = {"Idempotent-Replayed": "true"} if placed.outcome is Outcome.DUPLICATE else None
    return json_answer(_bet(request, mask, placed.receipt), status=201, headers=replayed)


def _place(request: BetRequest) -> str:
    return "round" if request.room is None else "room"


def _bet(request: BetRequest, mask: bytes, receipt: Receipt) -> dict[str, Any]:
    return {
        "bet_id": str(receipt.bet_id),
        "transaction_id": request.transaction_id,
        "round": {"id": str(receipt.round_id), "number": receipt.round_number},
        "room": str(receipt.room_id),
        "player": request.player,
        "picks": mask_picks(mask),
        "stake_minor": request.stake_minor,
        "currency": request.currency,
        "paytable": receipt.paytable.hex(),
        "accepted_ms": receipt.accepted_ms,
        "receipt": {"leaf": receipt.leaf.hex(), "leaf_hash": receipt.leaf_hash.hex()},
    }
