"""The transfer wallet: deposits and balances of an operator's own players."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest
from gateway.bodies import quoted_fields, refuse_repeated_fields, require_json
from gateway.http import response
from gateway.problems import ProblemError
from keno.requests import PlayerReference
from keno.wallet.request import DepositRequest, decode_deposit
from keno.wallet.service import WalletService
from keno.wallet.store import Movement

_DEPOSIT_FIELDS: Final = quoted_fields(DepositRequest)


def routes(wallet: WalletService) -> list[HTTPRouteHandler]:
    """The handlers, behind the operator's signature."""

    @post("/wallets/{player:str}/deposits")
    async def deposit(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        if not _is_reference(player):
            raise ProblemError("invalid_request", "a player reference is 1 to 64 printable characters", "player")
        body = await request.body()
        asked = decode_deposit(body)
        refuse_repeated_fields(body, _DEPOSIT_FIELDS)
        movement = await wallet.deposit(request.user.id, player, asked)
        if movement.outcome == "conflict":
            raise ProblemError("transaction_conflict", "this id was used for something else", "transaction_id")
        if movement.outcome == "currency_not_offered":
            raise ProblemError("currency_not_offered", f"you have no accounts in {asked.currency}", "currency")
        replayed = {"Idempotent-Replayed": "true"} if movement.outcome == "duplicate" else None
        return response(json_answer(_movement(player, asked, movement), status=201, headers=replayed))

    @get("/wallets/{player:str}")
    async def balances(request: SignedRequest, player: FromPath[str]) -> Response[bytes]:
        found = await wallet.balances(request.user.id, player) if _is_reference(player) else None
        if found is None:
            raise ProblemError("player_not_found", "you have no such player")
        held = [{"currency": balance.currency, "balance_minor": balance.balance_minor} for balance in found]
        return response(json_answer({"player": player, "balances": held}))

    return [deposit, balances]


def _is_reference(player: str) -> bool:
    try:
        msgspec.convert(player, PlayerReference)
    except msgspec.ValidationError:
        return False
    return True


def _movement(player: str, asked: DepositRequest, movement: Movement) -> dict[str, Any]:
    return {
        "wallet_transaction_id": str(movement.wallet_transaction_id),
        "transaction_id": asked.transaction_id,
        "player": player,
        "amount_minor": asked.amount_minor,
        "currency": asked.currency,
        "created_ms": movement.created_ms,
        "balance_minor": movement.balance_minor,
    }
