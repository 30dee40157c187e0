"""Many bets in one request: an outcome each, as if each had come alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.gateway import JSON, Casino, Gateway

from keno.rounds.room_store import Room

pytestmark = pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)


@pytest.fixture
async def room(gateway: Gateway) -> Room:
    return await gateway.room()


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    """An operator whose player p-1 has 2,000 EUR."""
    made = await gateway.casino("EUR")
    deposit = {"transaction_id": "d-1", "amount_minor": 200_000, "currency": "EUR"}
    assert (await made.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    return made


def bet(room: Room, transaction_id: str, **changes: Any) -> dict[str, Any]:
    asked = {"player": "p-1", "room": str(room.id), "picks": [1, 2, 3], "stake_minor": 100, "currency": "EUR"}
    return {"transaction_id": transaction_id} | asked | changes


async def test_each_bet_of_a_batch_has_the_outcome_it_would_have_had_alone(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    batch = [
        bet(room, "t-1"),
        bet(room, "t-2", picks=[81]),
        bet(room, "t-3", stake_minor=150),
        bet(room, "t-4", extra=1),
        bet(room, "t-1"),
        bet(room, "t-1", picks=[4]),
        bet(room, "t-5", player="nobody"),
        "not a bet",
        bet(room, "t-6"),
    ]
    answer = await casino.post("/v1/bets/batch", {"bets": batch})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(each["status"], each.get("problem", {}).get("code")) for each in results] == [
        (201, None),
        (422, "invalid_picks"),
        (422, "invalid_stake"),
        (422, "unknown_field"),
        (201, None),
        (409, "transaction_conflict"),
        (409, "insufficient_funds"),
        (422, "invalid_request"),
        (201, None),
    ]
    assert said(results[0]["bet"]) == said(results[4]["bet"])
    assert (await gateway.stored())["bets"] == 2
    alone = await casino.post("/v1/bets", bet(room, "t-6"))
    assert said(alone.json()) == said(results[8]["bet"])


async def test_a_batch_without_a_readable_bet_is_in_nobodys_way(casino: Casino, room: Room) -> None:
    answer = await casino.post("/v1/bets/batch", {"bets": [{"transaction_id": 1}, "not a bet"]})
    assert answer.status_code == 200
    assert [each["status"] for each in answer.json()["results"]] == [422, 422]
    assert (await casino.post("/v1/bets", bet(room, "t-1"))).status_code == 201


def said(bet: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, without the signature on it: a bet that comes again is signed by itself."""
    return bet | {"receipt": bet["receipt"] | {"signature": None, "batch": None}}


async def test_a_field_given_twice_in_one_bet_is_that_bets_alone(gateway: Gateway, casino: Casino, room: Room) -> None:
    good, other = json.dumps(bet(room, "t-1")), json.dumps(bet(room, "\\"))
    twice = json.dumps(bet(room, "t-2"))[:-1] + ', "stake_minor": 200}'
    body = f'{{"bets": [{good}, {twice}, {other}]}}'.encode()
    results = (await casino.send("POST", "/v1/bets/batch", body, JSON)).json()["results"]
    assert [each["status"] for each in results] == [201, 400, 201]
    assert results[1]["problem"]["code"] == "duplicate_field"


async def test_a_thousand_bets_go_in_at_once_and_are_paid_for_in_their_order(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    batch = [bet(room, f"t-{n}", stake_minor=300) for n in range(1_000)]
    results = (await casino.post("/v1/bets/batch", {"bets": batch})).json()["results"]
    covered = 200_000 // 300
    assert [each["status"] for each in results] == [201] * covered + [409] * (1_000 - covered)
    assert (await gateway.stored())["bets"] == covered


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"bets":[]}', 422, "invalid_request"),
        (b'{"bets":[' + b",".join([b"{}"] * 1_001) + b"]}", 422, "invalid_request"),
        (b'{"bets":{}}', 422, "invalid_request"),
        (b'{"bets":[{}],"more":1}', 422, "unknown_field"),
        (b'{"bets":[{}],"bets":[{}]}', 400, "duplicate_field"),
        (b'{"bets":[{}', 400, "malformed_json"),
        (b'{"bets":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", 400, "malformed_json"),
        (b'{"bets":["\\n",' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}", 400, "malformed_json"),
        (b'{"bets":["' + b"x" * (512 * 1024) + b'"]}', 413, "body_too_large"),
    ],
)
async def test_a_batch_that_is_no_batch_is_refused_whole(
    gateway: Gateway, casino: Casino, body: bytes, status: int, code: str
) -> None:
    before = await gateway.stored()
    answer = await casino.send("POST", "/v1/bets/batch", body, JSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await gateway.stored() == before


async def test_an_operator_limits_its_player_and_sees_the_bets_beyond_refused(casino: Casino, room: Room) -> None:
    limits = {"currency": "EUR", "round_bets_max": 1, "round_stake_max_minor": None}
    answer = await casino.put("/v1/players/p-1/limits", limits)
    assert (answer.status_code, answer.json()) == (200, {"player": "p-1", **limits})
    results = (await casino.post("/v1/bets/batch", {"bets": [bet(room, "a"), bet(room, "b")]})).json()["results"]
    assert [result["status"] for result in results] == [201, 403]
    assert results[1]["problem"]["code"] == "limit_reached"
    stranger = await casino.put("/v1/players/p-2/limits", limits)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "player_not_found")
