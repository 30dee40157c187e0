"""What a player's client does in its session: balance, bets, history. The token says who asks, never the body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.answers import json_answer
from gateway.auth.exchange import session_answer
from gateway.auth.player import PlayerRequest
from gateway.bodies import require_json
from gateway.desk import Capacity
from gateway.http import decimal_id, query_integer, query_texts, response
from gateway.placing import place_player_bet
from gateway.problems import BODY_BYTES_MAX, ProblemError
from gateway.rest.bets import stored_bet
from gateway.rest.rooms import room_members
from gateway.rest.statement import PAGE_ENTRIES, PAGE_ENTRIES_MAX, place_of
from gateway.speech import language_of
from keno.bets.player_request import own_transaction_id
from keno.bets.service import BetService
from keno.phrases import said
from keno.rounds.service import RoomService
from keno.texts.service import Texts
from keno.wallet.service import WalletService
from keno.wallet.statement import Entry

_HISTORY_PARAMETERS: Final = ("before", "limit")


def routes(
    bets: BetService, wallet: WalletService, rooms: RoomService, texts: Texts, capacity: Capacity
) -> list[HTTPRouteHandler]:
    """The handlers, behind the player's session. Bets count towards `capacity` as an operator's do."""

    @get("/me")
    async def me(request: PlayerRequest) -> Response[bytes]:
        session = request.user
        held = await wallet.balances(session.operator_id, session.player) or []
        balance_minor = next(each.balance_minor for each in held if each.currency == session.currency)
        return response(json_answer(session_answer(session) | {"balance_minor": balance_minor}))

    @post("/bets", middleware=[_within(capacity)])
    async def place(request: PlayerRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await request.body()
        return response(await place_player_bet(bets, request.user, body, language_of(texts, request)))

    @get("/bets/{bet_id:str}")
    async def look_up(request: PlayerRequest, bet_id: FromPath[str]) -> Response[bytes]:
        session = request.user
        found = await bets.find(session.operator_id, decimal_id(bet_id, "bet_not_found"))
        if found is None or found.stored.player != session.player:
            raise ProblemError("bet_not_found", said("you have no bet {bet_id}", bet_id=bet_id))
        own_id = own_transaction_id(session.player_id, found.stored.transaction_id)
        return response(json_answer(stored_bet(found) | {"transaction_id": own_id}))

    @get("/history")
    async def history(request: PlayerRequest) -> Response[bytes]:
        session, query = request.user, query_texts(request, _HISTORY_PARAMETERS)
        limit = query_integer("limit", query.get("limit", str(PAGE_ENTRIES)), 1, PAGE_ENTRIES_MAX)
        before = place_of(query.get("before"))
        page = await wallet.statement(session.operator_id, session.player, session.currency, before, limit)
        assert page is not None, "the launch made the player"  # noqa: S101
        next_before = None if page.next_before is None else str(page.next_before)
        entries = [_entry(entry, session.player_id) for entry in page.entries]
        return response(json_answer({"entries": entries, "next_before": next_before}))

    @get("/rooms")
    async def open_rooms(request: PlayerRequest) -> Response[bytes]:
        found = await rooms.rooms(request.user.operator_id)
        return response(json_answer({"rooms": [room_members(each) for each in found if each.status == "open"]}))

    return [me, place, look_up, history, open_rooms]


def _within(capacity: Capacity) -> Callable[[ASGIApp], ASGIApp]:
    """Counts requests towards `capacity` before the guards, which read the body."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            with capacity.held(BODY_BYTES_MAX):
                await app(scope, receive, send)

        return counted

    return wrap


def _entry(entry: Entry, player_id: int) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "change_minor": entry.change_minor,
        "created_ms": entry.created_ms,
        "transaction_id": own_transaction_id(player_id, entry.transaction_id),
        "bet_id": None if entry.bet_id is None else str(entry.bet_id),
    }
