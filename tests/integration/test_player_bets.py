"""A player's bets, balance and history in its session, and that they reach nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from support.gateway import JSON, ORIGIN, Casino, Gateway
from support.players import Player, play, problem

from gateway.app import create_app
from gateway.desk import Capacity
from keno.rounds.room_store import Room

BETS = "/v1/player/bets"


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


@pytest.fixture
async def room(gateway: Gateway) -> Room:
    return await gateway.room()


async def rich(casino: Casino, player: str = "p-1", amount_minor: int = 1_000) -> Player:
    """A player in a session with money."""
    deposit = {"transaction_id": f"d-{player}", "amount_minor": amount_minor, "currency": "EUR"}
    assert (await casino.post(f"/v1/wallets/{player}/deposits", deposit)).status_code == 201
    return await play(casino, player)


def bet(place: Room, **changes: Any) -> dict[str, Any]:
    return {"transaction_id": "t-1", "room": str(place.id), "picks": [1, 2, 3], "stake_minor": 100} | changes


async def test_a_player_bets_with_its_own_money_and_gets_a_receipt(casino: Casino, room: Room) -> None:
    player = await rich(casino)
    answer = await player.post(BETS, bet(room))
    assert answer.status_code == 201, answer.text
    placed = answer.json()
    assert (placed["transaction_id"], placed["player"], placed["currency"]) == ("t-1", "p-1", "EUR")
    assert len(placed["receipt"]["leaf_hash"]) == 64
    assert (await player.get("/v1/player/me")).json()["balance_minor"] == 900
    again = await player.post(BETS, bet(room))
    assert (again.status_code, again.json()) == (201, placed)
    assert again.headers["idempotent-replayed"] == "true"
    assert problem(await player.post(BETS, bet(room, stake_minor=200))) == (409, "transaction_conflict")
    assert (await player.get("/v1/player/me")).json()["balance_minor"] == 900


async def test_the_body_says_neither_who_bets_nor_in_which_currency(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    player, other = await rich(casino), await rich(casino, "p-2")
    stored = await gateway.stored()
    for name, value in [("player", "p-2"), ("currency", "USD"), ("operator", "x"), ("player_id", 2)]:
        assert problem(await player.post(BETS, bet(room, **{name: value}))) == (422, "unknown_field"), name
    assert await gateway.stored() == stored
    assert (await other.get("/v1/player/me")).json()["balance_minor"] == 1_000


async def test_what_is_wrong_with_a_bet_is_said_as_to_an_operator(gateway: Gateway, casino: Casino, room: Room) -> None:
    player = await rich(casino, amount_minor=150)
    stored = await gateway.stored()
    for status, code, changes in [
        (422, "invalid_picks", {"picks": [1, 1]}),
        (422, "invalid_picks", {"picks": [81]}),
        (422, "invalid_picks", {"picks": ["1"]}),
        (422, "invalid_stake", {"stake_minor": 0}),
        (422, "invalid_stake", {"stake_minor": 1.5}),
        (422, "invalid_request", {"transaction_id": "x" * 41}),
        (422, "invalid_request", {"transaction_id": ""}),
        (422, "invalid_request", {"round": "1"}),
        (404, "room_not_found", {"room": "00000000-0000-4000-8000-000000000000"}),
        (409, "insufficient_funds", {"stake_minor": 200}),
    ]:
        assert problem(await player.post(BETS, bet(room, **changes))) == (status, code), changes
    raw = b'{"transaction_id":"a","stake_minor":1,"stake_minor":100,"picks":[1],"room":"%s"}' % str(room.id).encode()
    twice = await player.client.post(
        BETS, content=raw, headers=JSON | {"Authorization": f"Bearer {player.access_token}"}
    )
    assert problem(twice) == (400, "duplicate_field")
    assert await gateway.stored() == stored


async def test_players_and_their_operator_do_not_meet_in_their_transaction_ids(casino: Casino, room: Room) -> None:
    first, second = await rich(casino), await rich(casino, "p-2")
    operators = bet(room) | {"player": "p-1", "currency": "EUR"}
    answers = [
        await first.post(BETS, bet(room)),
        await second.post(BETS, bet(room)),
        await casino.post("/v1/bets", operators),
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["bet_id"] for answer in answers}) == 3
    assert all("idempotent-replayed" not in answer.headers for answer in answers)


async def test_the_longest_id_of_the_longest_player_fits(casino: Casino, room: Room) -> None:
    player = await rich(casino)
    longest = "x" * 40
    assert (await player.post(BETS, bet(room, transaction_id=longest))).json()["transaction_id"] == longest
    assert len(f"~{2**63 - 1}~{longest}") <= 64


async def test_a_player_looks_up_its_own_bets_only(gateway: Gateway, casino: Casino, room: Room) -> None:
    player, other, foreign = await rich(casino), await rich(casino, "p-2"), await rich(await gateway.casino())
    bet_id = (await player.post(BETS, bet(room))).json()["bet_id"]
    found = (await player.get(f"{BETS}/{bet_id}")).json()
    assert (found["bet_id"], found["transaction_id"], found["result"]) == (bet_id, "t-1", None)
    for stranger in (other, foreign):
        assert problem(await stranger.get(f"{BETS}/{bet_id}")) == (404, "bet_not_found")
    assert problem(await player.get(f"{BETS}/999999")) == (404, "bet_not_found")
    assert problem(await player.get(f"{BETS}/x")) == (404, "bet_not_found")
    seen = (await casino.get(f"/v1/bets/{bet_id}")).json()
    assert seen["transaction_id"].endswith("~t-1")


async def test_a_history_has_pages_of_everything_that_moved_the_balance(casino: Casino, room: Room) -> None:
    player = await rich(casino)
    for number in range(5):
        assert (await player.post(BETS, bet(room, transaction_id=f"t-{number}"))).status_code == 201
    path, entries = "/v1/player/history?limit=2", []
    while True:
        page = (await player.get(path)).json()
        entries += page["entries"]
        if page["next_before"] is None:
            break
        path = f"/v1/player/history?limit=2&before={page['next_before']}"
    assert [entry["transaction_id"] for entry in entries] == ["t-4", "t-3", "t-2", "t-1", "t-0", None]
    assert [entry["kind"] for entry in entries] == ["bet"] * 5 + ["deposit"]
    assert sum(entry["change_minor"] for entry in entries) == 500
    for query in ("limit=0", "limit=201", "before=x", "player=p-2", "limit=1&limit=2"):
        assert problem(await player.get(f"/v1/player/history?{query}")) == (422, "invalid_query"), query


async def test_bets_of_many_players_at_once_are_each_ones_own(gateway: Gateway, casino: Casino, room: Room) -> None:
    players = [await rich(casino, f"p-{number}") for number in range(8)]
    answers = await asyncio.gather(*(player.post(BETS, bet(room)) for player in players))
    assert [answer.json()["player"] for answer in answers] == [player.session["player"] for player in players]
    assert (await gateway.stored())["bets"] == 8


async def test_a_blocked_player_cannot_bet_in_a_session_that_lives(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    player = await rich(casino)
    await gateway.owner_pool.execute("UPDATE players SET status = 'blocked'")
    assert problem(await player.post(BETS, bet(room))) == (403, "player_blocked")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic eDp5", "Bearer a b", "bearer\tx", "Bearer " + "x" * 3_000],
)
async def test_without_one_bearer_token_nothing_is_answered(gateway: Gateway, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in [("GET", "/v1/player/me"), ("POST", BETS), ("GET", "/v1/player/history")]:
        answer = await gateway.client.request(method, path, headers=headers)
        assert problem(answer) == (401, "token_missing"), path
        assert answer.headers["www-authenticate"] == 'Bearer realm="keno"'


async def test_two_tokens_are_no_token(casino: Casino) -> None:
    player, other = await play(casino), await play(casino, "p-2")
    headers = [("Authorization", f"Bearer {each.access_token}") for each in (player, other)]
    assert problem(await player.client.get("/v1/player/me", headers=headers)) == (401, "token_missing")


async def test_an_operators_signature_opens_no_players_path(casino: Casino) -> None:
    assert problem(await casino.get("/v1/player/me")) == (401, "token_missing")


async def test_more_bets_than_a_process_can_hold_are_refused_at_once_and_reading_goes_on(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    player = await rich(casino)
    full = httpx.ASGITransport(app=create_app(gateway.platform, Capacity(requests_max=0)))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=full, base_url=ORIGIN) as client:
        player.client = client
        refused = await player.post("/v1/player/bets", bet(room))
        assert problem(refused) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await player.get("/v1/player/me")).status_code == 200
    assert (await gateway.stored())["bets"] == 0


async def test_a_bet_whose_body_is_still_on_its_way_counts_as_under_way(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    player = await rich(casino)
    narrow = httpx.ASGITransport(app=create_app(gateway.platform, Capacity(requests_max=1)))  # type: ignore[arg-type]
    asked, complete = asyncio.Event(), asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        asked.set()
        await complete.wait()
        yield json.dumps(bet(room)).encode()

    async with httpx.AsyncClient(transport=narrow, base_url=ORIGIN) as client:
        player.client = client
        headers = {"Authorization": f"Bearer {player.access_token}"} | JSON
        placing = asyncio.create_task(client.post(BETS, content=slow_body(), headers=headers))
        await asked.wait()
        assert problem(await player.post(BETS, bet(room, transaction_id="t-2"))) == (503, "overloaded")
        complete.set()
        assert (await placing).status_code == 201
        assert (await player.post(BETS, bet(room, transaction_id="t-2"))).status_code == 201
