"""A bet over HTTP without any web framework: bytes of an authenticated operator in, an answer out.

Every server that takes bets calls this, so that a bet is decoded, answered and refused in the same way everywhere.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.answers import Answer, json_answer
from gateway.bodies import quoted_fields, refuse_repeated_fields
from gateway.problems import OUTCOME_CODES, problem, problem_of
from keno.bets.outcome import Outcome
from keno.bets.player_request import PlayerBetRequest, decode_player_bet, own_transaction_id
from keno.bets.request import BetRequest, decode, split_batch
from keno.bets.service import BetService, Placed, Receipt
from keno.game.numbers import mask_picks
from keno.identity.operators import Operator
from keno.identity.sessions import Session
from keno.requests import RequestError

_FIELDS: Final = quoted_fields(BetRequest)
_PLAYER_FIELDS: Final = quoted_fields(PlayerBetRequest)
_BATCH_FIELDS: Final = (b'"bets"',)
_CREATED: Final = 201


async def place_bet(bets: BetService, operator: Operator, body: bytes) -> Answer:
    """Place the bet in `body`: 201 with the bet and its receipt, or a problem.

    The same bet under the same transaction id again has the same answer, with the header `Idempotent-Replayed: true`.
    Raises RequestError.
    """
    request, mask = _decoded(body)
    return answer_to(request, mask, await bets.place(operator.id, request, mask))


async def place_player_bet(bets: BetService, session: Session, body: bytes) -> Answer:
    """Place the bet in `body` for the session's player; answers as `place_bet`. Raises RequestError."""
    asked, mask = decode_player_bet(body, session.player_id, session.player, session.currency)
    refuse_repeated_fields(body, _PLAYER_FIELDS)
    placed = await bets.place(session.operator_id, asked, mask)
    own_id = own_transaction_id(session.player_id, asked.transaction_id)
    return answer_to(msgspec.structs.replace(asked, transaction_id=own_id), mask, placed)


async def place_batch(bets: BetService, operator: Operator, body: bytes) -> Answer:
    """Place up to BATCH_BETS_MAX bets: 200 with a result each, in their order.

    A result has the `status` that the bet would have had alone, and its `bet` or its `problem`. A bet that is refused,
    for its form or otherwise, changes nothing for its neighbours. Raises RequestError for the batch as a whole.
    """
    bodies = split_batch(body)
    refuse_repeated_fields(body, _BATCH_FIELDS)
    refusals: list[Answer | None] = []
    asked: list[tuple[BetRequest, bytes]] = []
    for each in bodies:
        try:
            asked.append(_decoded(each))
            refusals.append(None)
        except RequestError as error:
            refusals.append(problem_of(error))
    placed = await bets.place_all(operator.id, asked)
    answers = (answer_to(*request, answer) for request, answer in zip(asked, placed, strict=True))
    return json_answer({"results": [_result(refused or next(answers)) for refused in refusals]})


def _result(answer: Answer) -> dict[str, Any]:
    name = "bet" if answer.status == _CREATED else "problem"
    return {"status": answer.status, name: msgspec.Raw(answer.body)}


def _decoded(body: bytes) -> tuple[BetRequest, bytes]:
    request, mask = decode(body)
    refuse_repeated_fields(body, _FIELDS)
    return request, mask


def answer_to(request: BetRequest, mask: bytes, placed: Placed) -> Answer:
    """The answer to a bet: 201 with the bet and its receipt, or a problem."""
    if placed.receipt is None:
        code, field = OUTCOME_CODES[placed.outcome]
        if placed.outcome is Outcome.ROUND_NOT_FOUND and request.room is not None:
            code = "room_not_found"
        return problem(code, field=field or _place(request))
    replayed = {"Idempotent-Replayed": "true"} if placed.outcome is Outcome.DUPLICATE else None
    return json_answer(_bet(request, mask, placed.receipt), status=_CREATED, headers=replayed)


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
