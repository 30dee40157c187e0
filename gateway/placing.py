"""A bet over HTTP without any web framework: bytes of an authenticated operator in, an answer out.

Every server that takes bets calls this, so that a bet is decoded, answered and refused in the same way everywhere.
Reading the bytes and placing what they ask for are two steps: between them stands what it costs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from gateway.answers import Answer, json_answer
from gateway.problems import BATCH_BODY_BYTES_MAX, BODY_BYTES_MAX, OUTCOME_CODES, problem, problem_of
from keno.bets.outcome import Outcome
from keno.bets.player_request import decode_player_bet, own_transaction_id
from keno.bets.request import AskedBet, BetRequest, decode, decode_batch
from keno.bets.service import BetService, Placed
from keno.fairness.receipts import Batch, Proof
from keno.identity.sessions import Session
from keno.requests import RequestError
from keno.texts.languages import Language

_CREATED: Final = 201
_REPLAYED: Final = {"Idempotent-Replayed": "true"}

Asked = Sequence[AskedBet | RequestError]
"""The bets of a request, each as it was read; what they cost is their number."""


class BetCall(NamedTuple):
    """A call that places bets. `read` raises RequestError where the body as a whole is wrong."""

    path: str
    body_bytes_max: int
    read: Callable[[bytes], Asked]
    place: Callable[[BetService, UUID, Asked, Language], Awaitable[Answer]]


async def _place_bet(bets: BetService, operator_id: UUID, asked: Asked, language: Language) -> Answer:
    """201 with the bet and its receipt, or a problem.

    The same bet under the same transaction id again has the same answer, with the header `Idempotent-Replayed: true`.
    """
    (bet,) = asked
    assert isinstance(bet, tuple)  # noqa: S101 - who reads a bet alone goes on with none that is refused
    (placed,) = await bets.place_all(operator_id, (bet,))
    return _answer(bet, placed, language)


async def place_player_bet(bets: BetService, session: Session, body: bytes, language: Language) -> Answer:
    """Place the bet in `body` for the session's player; answers as for an operator's bet. Raises RequestError."""
    request, mask = decode_player_bet(body, session.player_id, session.player, session.currency)
    (placed,) = await bets.place_all(session.operator_id, [(request, mask)])
    own_id = own_transaction_id(session.player_id, request.transaction_id)
    return _answer((msgspec.structs.replace(request, transaction_id=own_id), mask), placed, language)


def _answer(bet: AskedBet, placed: Placed, language: Language) -> Answer:
    if placed.receipt is None:
        return _refusal(bet[0], placed.outcome, language)
    replayed = _REPLAYED if placed.outcome is Outcome.DUPLICATE else None
    return json_answer(_bet(bet, placed), status=_CREATED, headers=replayed)


async def _place_batch(bets: BetService, operator_id: UUID, asked: Asked, language: Language) -> Answer:
    """200 with a result for each bet, in their order.

    A result has the `status` that the bet would have had alone, and its `bet` or its `problem`. A bet that is refused,
    for its form or otherwise, changes nothing for its neighbours.
    """
    readable = _readable(asked)
    placed = iter(zip(readable, await bets.place_all(operator_id, readable), strict=True))
    results = [
        _result(*next(placed), language) if isinstance(each, tuple) else _Refused.of(problem_of(each, language))
        for each in asked
    ]
    return json_answer({"results": results})


BET: Final = BetCall("/v1/bets", BODY_BYTES_MAX, lambda body: (decode(body),), _place_bet)
BATCH: Final = BetCall("/v1/bets/batch", BATCH_BODY_BYTES_MAX, decode_batch, _place_batch)


class _Round(msgspec.Struct, gc=False):
    id: str
    number: int


class _Receipt(msgspec.Struct, gc=False):
    leaf: str
    leaf_hash: str
    key_id: str
    signature: msgspec.Raw
    batch: Batch | None


def receipt_of(leaf: bytes, leaf_hash: bytes, proof: Proof) -> _Receipt:
    """A receipt as it is shown: the leaf, and the platform's signature on it."""
    return _Receipt(leaf.hex(), leaf_hash.hex(), proof.key_id, proof.signature, proof.batch)


class _Bet(msgspec.Struct, gc=False):
    bet_id: str
    transaction_id: str
    round: _Round
    room: UUID
    player: str
    picks: list[int]
    stake_minor: int
    currency: str
    paytable: str
    accepted_ms: int
    receipt: _Receipt


class _Accepted(msgspec.Struct, gc=False):
    status: int
    bet: _Bet


class _Refused(msgspec.Struct, gc=False):
    status: int
    problem: msgspec.Raw

    @classmethod
    def of(cls, answer: Answer) -> _Refused:
        return cls(answer.status, msgspec.Raw(answer.body))


def _readable(asked: Asked) -> list[AskedBet]:
    return [each for each in asked if isinstance(each, tuple)]


def _result(bet: AskedBet, placed: Placed, language: Language) -> _Accepted | _Refused:
    if placed.receipt is None:
        return _Refused.of(_refusal(bet[0], placed.outcome, language))
    return _Accepted(_CREATED, _bet(bet, placed))


def _refusal(request: BetRequest, outcome: Outcome, language: Language) -> Answer:
    code, field = OUTCOME_CODES[outcome]
    if outcome is Outcome.ROUND_NOT_FOUND and request.room is not None:
        code = "room_not_found"
    return problem(code, field=field or ("round" if request.room is None else "room"), language=language)


def _bet(bet: AskedBet, placed: Placed) -> _Bet:
    request, receipt, proof = bet[0], placed.receipt, placed.proof
    assert receipt is not None and proof is not None  # noqa: S101, PT018 - a bet that stands
    return _Bet(
        str(receipt.bet_id),
        request.transaction_id,
        _Round(str(receipt.round_id), receipt.round_number),
        receipt.room_id,
        request.player,
        sorted(request.picks),
        request.stake_minor,
        request.currency,
        receipt.paytable.hex(),
        receipt.accepted_ms,
        receipt_of(receipt.leaf, receipt.leaf_hash, proof),
    )
