"""Bets over the REST API: what is accepted, what is refused and with which code, and that a refusal stores nothing."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
import pytest
from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import ED25519
from http_message_signatures.resolvers import MappingKeyResolver
from support.gateway import JSON, ORIGIN, Casino, Gateway

from keno.rounds.room_store import Room

UNKNOWN_UUID = "00000000-0000-4000-8000-000000000000"


pytestmark = pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)


@pytest.fixture
async def room(gateway: Gateway) -> Room:
    return await gateway.room()


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    """An operator whose player p-1 has 100 EUR."""
    made = await gateway.casino("EUR", "USD")
    deposit = {"transaction_id": "d-1", "amount_minor": 10_000, "currency": "EUR"}
    assert (await made.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    return made


def bet(room: Room, /, **changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "transaction_id": "t-1",
        "player": "p-1",
        "room": str(room.id),
        "picks": [42, 8, 15],
        "stake_minor": 100,
        "currency": "EUR",
    }
    return {name: value for name, value in (asked | changes).items() if value is not None}


def assert_problem(response: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    problem = response.json()
    assert (response.status_code, problem["code"], problem.get("field")) == (status, code, field), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"/problems/{code}"
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["remedy"]


async def test_a_bet_is_answered_with_its_round_and_a_receipt(gateway: Gateway, casino: Casino, room: Room) -> None:
    response = await casino.post("/v1/bets", bet(room))
    assert response.status_code == 201, response.text
    placed = response.json()
    assert set(placed) == {
        "bet_id", "transaction_id", "round", "room", "player", "picks", "stake_minor", "currency", "paytable",
        "accepted_ms", "receipt",
    }  # fmt: skip
    assert (placed["player"], placed["picks"], placed["stake_minor"]) == ("p-1", [8, 15, 42], 100)
    assert (placed["room"], placed["round"]["number"]) == (str(room.id), 1)
    assert len(bytes.fromhex(placed["receipt"]["leaf"])) == 138
    assert len(bytes.fromhex(placed["receipt"]["leaf_hash"])) == 32
    assert "idempotent-replayed" not in response.headers
    looked_up = (await casino.get(f"/v1/bets/{placed['bet_id']}")).json()
    assert looked_up == placed | {"round": placed["round"] | {"phase": "open"}, "result": None, "inclusion": None}
    balances = (await casino.get("/v1/wallets/p-1")).json()
    assert balances == {"player": "p-1", "balances": [{"currency": "EUR", "balance_minor": 9_900}]}


async def test_the_same_transaction_id_again_is_one_bet_and_the_same_answer(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    first = await casino.post("/v1/bets", bet(room))
    stored = await gateway.stored()
    second = await casino.post("/v1/bets", bet(room, picks=[15, 42, 8]))
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert await gateway.stored() == stored


async def test_the_same_transaction_id_for_another_bet_is_a_conflict(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    await casino.post("/v1/bets", bet(room))
    stored = await gateway.stored()
    for change in ({"picks": [1]}, {"stake_minor": 200}, {"player": "p-2"}):
        assert_problem(
            await casino.post("/v1/bets", bet(room, **change)), 409, "transaction_conflict", "transaction_id"
        )
    assert await gateway.stored() == stored


async def test_two_operators_may_use_the_same_transaction_id(gateway: Gateway, casino: Casino, room: Room) -> None:
    other = await gateway.casino()
    await other.post("/v1/wallets/p-1/deposits", {"transaction_id": "d-1", "amount_minor": 100, "currency": "EUR"})
    mine, theirs = await casino.post("/v1/bets", bet(room)), await other.post("/v1/bets", bet(room))
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["bet_id"] != theirs.json()["bet_id"]


MALFORMED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"extra": 1}, 422, "unknown_field", "extra"),
    ({"picks": [0]}, 422, "invalid_picks", "picks"),
    ({"picks": [81]}, 422, "invalid_picks", "picks"),
    ({"picks": [-1]}, 422, "invalid_picks", "picks"),
    ({"picks": [5, 5]}, 422, "invalid_picks", "picks"),
    ({"picks": []}, 422, "invalid_picks", "picks"),
    ({"picks": list(range(1, 12))}, 422, "invalid_picks", "picks"),
    ({"picks": ["5"]}, 422, "invalid_picks", "picks[0]"),
    ({"picks": [5.0]}, 422, "invalid_picks", "picks[0]"),
    ({"picks": [True]}, 422, "invalid_picks", "picks[0]"),
    ({"picks": [2**64]}, 422, "invalid_picks", "picks"),
    ({"picks": "1,2"}, 422, "invalid_picks", "picks"),
    ({"picks": None}, 422, "missing_field", "picks"),
    ({"stake_minor": 0}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": -100}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": "100"}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": 100.0}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": 2**53}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": 99}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": 150}, 422, "invalid_stake", "stake_minor"),
    ({"stake_minor": 10_100}, 422, "invalid_stake", "stake_minor"),
    ({"currency": "USD"}, 422, "currency_not_offered", "currency"),
    ({"currency": "GBP"}, 422, "currency_not_offered", "currency"),
    ({"currency": "eur"}, 422, "invalid_request", "currency"),
    ({"currency": 978}, 422, "invalid_request", "currency"),
    ({"paytable": "00" * 32}, 422, "paytable_not_offered", "paytable"),
    ({"paytable": "AB" * 32}, 422, "invalid_request", "paytable"),
    ({"room": UNKNOWN_UUID}, 404, "room_not_found", "room"),
    ({"room": "lobby"}, 422, "invalid_request", "room"),
    ({"room": None}, 422, "invalid_request", "round"),
    ({"round": "1"}, 422, "invalid_request", "round"),
    ({"room": None, "round": "999999"}, 404, "round_not_found", "round"),
    ({"room": None, "round": 1}, 422, "invalid_request", "round"),
    ({"room": None, "round": "01"}, 422, "invalid_request", "round"),
    ({"room": None, "round": str(2**63)}, 422, "invalid_request", "round"),
    ({"transaction_id": ""}, 422, "invalid_request", "transaction_id"),
    ({"transaction_id": "t" * 65}, 422, "invalid_request", "transaction_id"),
    ({"transaction_id": "t 1"}, 422, "invalid_request", "transaction_id"),
    ({"transaction_id": "t-1\n"}, 422, "invalid_request", "transaction_id"),
    ({"transaction_id": None}, 422, "missing_field", "transaction_id"),
    ({"player": ""}, 422, "invalid_request", "player"),
    ({"player": "p\x00"}, 422, "invalid_request", "player"),
    ({"player": "p-1\n"}, 422, "invalid_request", "player"),
    ({"player": "p" * 65}, 422, "invalid_request", "player"),
    ({"stake_minor": 10_000, "player": "nobody"}, 409, "insufficient_funds", "stake_minor"),
]


async def test_every_bad_bet_has_its_code_and_stores_nothing(gateway: Gateway, casino: Casino, room: Room) -> None:
    stored = await gateway.stored()
    for change, status, code, field in MALFORMED:
        response = await casino.post("/v1/bets", bet(room, **change))
        assert response.json()["code"] == code, (change, response.text)
        assert_problem(response, status, code, field)
    assert await gateway.stored() == stored


async def test_a_stake_above_the_balance_is_refused(gateway: Gateway, casino: Casino, room: Room) -> None:
    assert (await casino.post("/v1/bets", bet(room, stake_minor=9_900))).status_code == 201
    stored = await gateway.stored()
    refused = await casino.post("/v1/bets", bet(room, transaction_id="t-2", stake_minor=200))
    assert_problem(refused, 409, "insufficient_funds", "stake_minor")
    assert await gateway.stored() == stored


async def test_a_refused_bet_may_be_tried_again_under_its_transaction_id(casino: Casino, room: Room) -> None:
    assert (await casino.post("/v1/bets", bet(room, player="p-2"))).status_code == 409
    await casino.post("/v1/wallets/p-2/deposits", {"transaction_id": "d-2", "amount_minor": 100, "currency": "EUR"})
    assert (await casino.post("/v1/bets", bet(room, player="p-2"))).status_code == 201


async def test_a_closed_room_and_another_operators_room_take_no_bets(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    private = await gateway.room(operator_id=(await gateway.casino()).operator.id)
    stored = await gateway.stored()
    assert_problem(await casino.post("/v1/bets", bet(private)), 404, "room_not_found", "room")
    await gateway.platform.rooms.close(room.name, actor="test")
    assert_problem(await casino.post("/v1/bets", bet(room)), 409, "room_closed", "room")
    assert await gateway.stored() == stored


BODIES: list[tuple[bytes, dict[str, str], int, str, str | None]] = [
    (b"", JSON, 400, "malformed_json", None),
    (b"{", JSON, 400, "malformed_json", None),
    (b"nonsense", JSON, 400, "malformed_json", None),
    (b'{"transaction_id":"\xff"}', JSON, 400, "malformed_json", None),
    (b"[]", JSON, 422, "invalid_request", None),
    (b"null", JSON, 422, "invalid_request", None),
    (b"{}", JSON, 422, "missing_field", "transaction_id"),
    (b"[" * 60_000, JSON, 422, "invalid_request", None),
    (b"{}", {}, 415, "unsupported_media_type", None),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", None),
    (b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported_media_type", None),
    (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", None),
    (b" " * (64 * 1024 + 1), JSON, 413, "body_too_large", None),
]


async def test_every_bad_body_has_its_code_and_stores_nothing(gateway: Gateway, casino: Casino) -> None:
    stored = await gateway.stored()
    for body, headers, status, code, field in BODIES:
        response = await casino.send("POST", "/v1/bets", body, headers)
        assert response.status_code == status, (body[:40], response.text)
        assert_problem(response, status, code, field)
    assert await gateway.stored() == stored


async def test_a_field_given_twice_is_refused_however_it_is_spelled(
    gateway: Gateway, casino: Casino, room: Room
) -> None:
    stored = await gateway.stored()
    body = json.dumps(bet(room)).encode()
    for again in (b'"stake_minor": 200', b'"stake\\u005fminor": 200', b'"player": "p-1"'):
        response = await casino.send("POST", "/v1/bets", body[:-1] + b", " + again + b"}", JSON)
        assert_problem(response, 400, "duplicate_field", "stake_minor" if b"stake" in again else "player")
    assert await gateway.stored() == stored


async def test_a_value_that_reads_like_a_field_is_no_repetition(casino: Casino, room: Room) -> None:
    assert (await casino.post("/v1/bets", bet(room, transaction_id="stake_minor"))).status_code == 201
    assert (await casino.post("/v1/bets", bet(room, transaction_id='a"b\\c'))).status_code == 201


async def test_a_body_of_just_the_limit_is_read(casino: Casino, room: Room) -> None:
    body = json.dumps(bet(room)).encode().ljust(64 * 1024)
    assert (await casino.send("POST", "/v1/bets", body, JSON)).status_code == 201


async def test_another_operators_bet_does_not_exist(gateway: Gateway, casino: Casino, room: Room) -> None:
    bet_id = (await casino.post("/v1/bets", bet(room))).json()["bet_id"]
    other = await gateway.casino()
    assert_problem(await other.get(f"/v1/bets/{bet_id}"), 404, "bet_not_found")
    for text in ("0", "x", "01", str(2**63), "1.0"):
        assert_problem(await casino.get(f"/v1/bets/{text}"), 404, "bet_not_found")


async def test_a_bet_is_followed_to_its_result_and_its_evidence(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room(period_ms=2_000, lock_lead_ms=500)
    await casino.post("/v1/wallets/p-1/deposits", {"transaction_id": "d", "amount_minor": 1_000, "currency": "EUR"})
    placed = (await casino.post("/v1/bets", bet(room))).json()
    round_id = placed["round"]["id"]
    assert_problem(await gateway.client.get(f"/v1/rounds/{round_id}/evidence"), 404, "evidence_not_found")
    await gateway.play_until(int(round_id), "locked")
    stored = await gateway.stored()
    late = bet(room, transaction_id="late", room=None, round=round_id)
    assert_problem(await casino.post("/v1/bets", late), 409, "round_not_open", "round")
    assert await gateway.stored() == stored
    await gateway.play_until(int(round_id), "settled")
    settled = (await casino.get(f"/v1/bets/{placed['bet_id']}")).json()
    assert settled["round"]["phase"] == "settled"
    assert set(settled["result"]) == {"payout_minor", "cut_minor", "credited_ms"}
    evidence = await gateway.client.get(f"/v1/rounds/{round_id}/evidence")
    assert (evidence.status_code, evidence.headers["content-type"]) == (200, "application/jsonl")
    round_line = next(line for line in map(json.loads, evidence.text.splitlines()) if line["type"] == "round")
    assert round_line["bet_leaves"] == [placed["receipt"]["leaf_hash"]]


async def test_a_stock_client_places_a_bet(gateway: Gateway, room: Room) -> None:
    casino = await gateway.casino(ed25519=True)
    keys = MappingKeyResolver(public_keys={}, private_keys={casino.key_id: casino.key})
    signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=keys)

    async def post(path: str, value: Any) -> httpx.Response:
        body = json.dumps(value).encode()
        request = gateway.client.build_request("POST", ORIGIN + path, content=body, headers=JSON)
        signer.sign(
            request,
            key_id=casino.key_id,
            nonce=secrets.token_urlsafe(16),
            covered_component_ids=("@method", "@target-uri", "content-digest"),
            body=body,
        )
        return await gateway.client.send(request)

    deposit = {"transaction_id": "d-1", "amount_minor": 100, "currency": "EUR"}
    assert (await post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    assert (await post("/v1/bets", bet(room))).status_code == 201
