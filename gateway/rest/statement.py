"""Statements: what moved the money of an operator's own players."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.answers import json_answer
from gateway.auth.guard import SignedRequest, signed_response
from gateway.http import is_a, query_integer, query_texts
from gateway.problems import ProblemError
from keno.requests import CurrencyCode, PlayerReference
from keno.wallet.service import WalletService
from keno.wallet.statement import Entry, Place

PAGE_ENTRIES: Final = 50
PAGE_ENTRIES_MAX: Final = 200
_PARAMETERS: Final = ("player", "currency", "before", "limit")


def routes(wallet: WalletService) -> list[HTTPRouteHandler]:
    """The handler, behind the operator's signature."""

    @get("/wallet-transactions")
    async def statement(request: SignedRequest) -> Response[bytes]:
        query = query_texts(request, _PARAMETERS)
        if "player" not in query:
            raise ProblemError("invalid_query", "player is required", "player")
        player, currency, before = query["player"], query.get("currency"), place_of(query.get("before"))
        if currency is not None and not is_a(CurrencyCode, currency):
            raise ProblemError("invalid_query", "currency is a currency code", "currency")
        limit = query_integer("limit", query.get("limit", str(PAGE_ENTRIES)), 1, PAGE_ENTRIES_MAX)
        known = is_a(PlayerReference, player)
        page = await wallet.statement(request.user.id, player, currency, before, limit) if known else None
        if page is None:
            raise ProblemError("player_not_found", "you have no such player")
        next_before = None if page.next_before is None else str(page.next_before)
        entries = [_entry(entry) for entry in page.entries]
        return signed_response(request, json_answer({"player": player, "entries": entries, "next_before": next_before}))

    return [statement]


def place_of(text: str | None) -> Place | None:
    """The place of a page that a `next_before` names. Raises ProblemError `invalid_query`."""
    if text is None:
        return None
    place = Place.parse(text)
    if place is None:
        raise ProblemError("invalid_query", "before is a next_before that you were given", "before")
    return place


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "currency": entry.currency,
        "change_minor": entry.change_minor,
        "created_ms": entry.created_ms,
        "transaction_id": entry.transaction_id,
        "wallet_transaction_id": _decimal(entry.wallet_transaction_id),
        "bet_id": _decimal(entry.bet_id),
    }


def _decimal(number: int | None) -> str | None:
    return None if number is None else str(number)
