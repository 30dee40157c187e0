"""The transfer wallet of an operator's own players: deposits, withdrawals, rollbacks and balances."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest, signed_response
from gateway.bodies import require_json
from gateway.http import is_a
from gateway.problems import ProblemError
from keno.requests import PlayerReference, TransactionId, quoted_fields, refuse_repeated_fields
from keno.wallet.request import MovementKind, MovementRequest, RollbackRequest, decode_movement, decode_rollback
from keno.wallet.service import WalletService
from keno.wallet.store import MoneyOutcome, Movement, Rollback

_MOVEMENT_FIELDS: Final = quoted_fields(MovementRequest)
_ROLLBACK_FIELDS: Final = quoted_fields(RollbackRequest)

REFUSALS: Final[dict[str, tuple[str, str, str | None]]] = {
    "conflict": ("transaction_conflict", "this id was used for something else, or rolled back", "transaction_id"),
    "currency_not_offered": ("currency_not_offered", "you do not have this currency", "currency"),
    "player_not_found": ("player_not_found", "you have no such player", None),
    "insufficient_funds": ("insufficient_funds", "the balance does not cover the amount", "amount_minor"),
    "balance_limit": ("balance_limit", "the balance would pass the limit", "amount_minor"),
    "already_rolled_back": ("already_rolled_back", "this id was rolled back under another transaction_id", None),
    "bet_stands": ("bet_stands", "this id names a bet that was accepted", None),
    "rollback_stands": ("rollback_stands", "this id names a rollback", None),
}
"""The code, sentence and field of each refusal of a movement or rollback."""


def routes(wallet: WalletService) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    async def move_money(kind: MovementKind, request: SignedRequest, player: str) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        if not is_a(PlayerReference, player):
            raise ProblemError("invalid_request", "a player reference is 1 to 64 printable characters", "player")
        body = await request.body()
        asked = decode_movement(body)
        refuse_repeated_fields(body, _MOVEMENT_FIELDS)
        movement = await wallet.move_money(kind, request.user.id, player, asked)
        _refuse(movement.outcome, asked)
        return signed_response(
            request, json_answer(_movement(player, asked, movement), status=201, headers=_replayed(movement.outcome))
        )

    @post("/wallets/{player:str}/deposits")
    async def deposit(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        return await move_money("deposit", request, player)

    @post("/wallets/{player:str}/withdrawals")
    async def withdraw(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        return await move_money("withdrawal", request, player)

    @post("/wallet-transactions/{target_id:str}/rollback")
    async def roll_back(request: SignedRequest, target_id: FromPath[str]) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        if not is_a(TransactionId, target_id):
            raise ProblemError("invalid_request", "a transaction id is 1 to 64 printable characters, no spaces", "id")
        body = await request.body()
        asked = decode_rollback(body)
        refuse_repeated_fields(body, _ROLLBACK_FIELDS)
        done = await wallet.roll_back(request.user.id, target_id, asked)
        _refuse(done.outcome, asked)
        return signed_response(
            request, json_answer(_rollback(target_id, asked, done), status=201, headers=_replayed(done.outcome))
        )

    @get("/wallets/{player:str}")
    async def balances(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        found = await wallet.balances(request.user.id, player) if is_a(PlayerReference, player) else None
        if found is None:
            raise ProblemError("player_not_found", "you have no such player")
        held = [{"currency": balance.currency, "balance_minor": balance.balance_minor} for balance in found]
        return signed_response(request, json_answer({"player": player, "balances": held}))

    return [deposit, withdraw, roll_back, balances]


def _refuse(outcome: MoneyOutcome, asked: msgspec.Struct) -> None:
    refusal = REFUSALS.get(outcome)
    if refusal is not None:
        code, detail, field = refusal
        raise ProblemError(code, detail, field if field in asked.__struct_fields__ else None)


def _replayed(outcome: MoneyOutcome) -> dict[str, str] | None:
    return {"Idempotent-Replayed": "true"} if outcome == "duplicate" else None


def _movement(player: str, asked: MovementRequest, movement: Movement) -> dict[str, Any]:
    return {
        "wallet_transaction_id": str(movement.wallet_transaction_id),
        "transaction_id": asked.transaction_id,
        "player": player,
        "amount_minor": asked.amount_minor,
        "currency": asked.currency,
        "created_ms": movement.created_ms,
        "balance_minor": movement.balance_minor,
    }


def _rollback(target_id: str, asked: RollbackRequest, done: Rollback) -> dict[str, Any]:
    undone = done.undone
    return {
        "transaction_id": asked.transaction_id,
        "rolled_back": target_id,
        "created_ms": done.created_ms,
        "undone": None
        if undone is None
        else {
            "wallet_transaction_id": str(undone.wallet_transaction_id),
            "player": undone.player,
            "currency": undone.currency,
            "change_minor": undone.change_minor,
            "balance_minor": undone.balance_minor,
        },
    }
