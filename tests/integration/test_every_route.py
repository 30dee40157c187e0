"""Every route of every server: it is in the document, asks for its proof, and knows nothing of another's ids."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
from support.gateway import JSON, ORIGIN, Casino, Gateway
from support.players import launch, play, problem
from support.staff import member

from gateway.app import create_app
from gateway.lane.app import _CALLS as LANE_PATHS
from gateway.live.server import PATH as LIVE_PATH
from gateway.openapi.calls import CALLS, Call

BODY = b"{}"
UNPROVEN = {
    "signed": (401, "signature_missing"),
    "player": (401, "token_missing"),
    "staff": (401, "token_missing"),
}
SAME_FOR_ALL = {("POST", "/v1/wallet-transactions/{transaction_id}/rollback")}
"""Takes an id of the operator's own series, and says of every other that it names nothing."""


def routes_of(gateway: Gateway) -> set[tuple[str, str]]:
    """Method and path of every route; parameters have no names."""
    return {
        (method, re.sub(r"{[^}]+}", "{}", route.path))
        for route in create_app(gateway.platform).routes
        for method in getattr(route, "methods", ())
        if method not in ("OPTIONS", "HEAD")
    }


def path_of(call: Call, **ids: object) -> str:
    """The call's path with ids; those that are not given name nothing."""
    nobody = {
        "room": uuid.uuid4(),
        "digest": "0" * 64,
        "index": 2**40,
        "size": 2**40,
        "name": "nothing.js",
        "rest": "0/000",
        "session_id": "0" * 32,
        "bet_id": 1,
        "round_id": 1,
        "player": "nobody",
        "key_id": "nobody",
        "transaction_id": "nothing",
        "operator": uuid.uuid4(),
    }
    return call.path.format(**(nobody | ids))


async def test_the_document_has_every_route_and_no_other(gateway: Gateway) -> None:
    described = {(call.method, re.sub(r"{[^}]+}", "{}", call.path)) for call in CALLS}
    assert routes_of(gateway) | {("GET", LIVE_PATH)} == described
    assert {("POST", path) for path in LANE_PATHS} <= described


async def test_every_route_that_is_not_open_asks_for_its_proof(gateway: Gateway) -> None:
    before = await gateway.stored()
    headers = JSON | {"Host": ORIGIN.partition("://")[2]}
    for call in (call for call in CALLS if call.status != 101):
        answer = await gateway.client.request(call.method, path_of(call), content=BODY, headers=headers)
        if call.access in UNPROVEN:
            assert problem(answer) == UNPROVEN[call.access], call.name
        else:
            assert answer.status_code != 401, call.name
    assert await gateway.stored() == before


async def test_a_signature_of_another_opens_no_route(gateway: Gateway) -> None:
    casino, other = await gateway.casino(ed25519=True), await gateway.casino(ed25519=True)
    for call in (call for call in CALLS if call.access == "signed"):
        answer = await casino.send(call.method, path_of(call), BODY, JSON, key=other.key)
        assert problem(answer) == (401, "signature_invalid"), call.name


BODIES: dict[str, Any] = {
    "place_bet": {
        "transaction_id": "x",
        "player": "p-1",
        "room": "{room}",
        "picks": [1],
        "stake_minor": 100,
        "currency": "EUR",
    },
    "limit_player": {"currency": "EUR", "round_bets_max": 1, "round_stake_max_minor": None},
    "withdraw": {"transaction_id": "x", "amount_minor": 1, "currency": "EUR"},
    "launch": {"player": "p-2", "currency": "EUR", "room": "{room}"},
    "roll_back": {"transaction_id": "x"},
    "staff_add_key": {"key_id": "mine", "algorithm": "hmac-sha256"},
}
MAKES_ITS_OWN = ("place_bets", "deposit", "add_key", "set_networks")
"""These name nothing that could be another's: they make what they name, or have a result for each."""


async def test_what_is_another_operators_is_not_there_on_any_route(gateway: Gateway) -> None:
    owner, stranger = await gateway.casino(), await gateway.casino()
    ids, bet = await things_of(gateway, owner)
    before = await gateway.stored()
    walked = 0
    for call in CALLS:
        names_something = "{" in call.path or "room" in BODIES.get(call.name, {})
        if call.access != "signed" or call.name in MAKES_ITS_OWN or not names_something:
            continue
        asked = json.dumps(BODIES.get(call.name, {})).replace("{room}", ids["room"]).encode()
        answer = await stranger.send(call.method, path_of(call, **ids), asked if call.body else b"", JSON)
        walked += 1
        if (call.method, call.path) in SAME_FOR_ALL:
            assert answer.json()["undone"] is None
        else:
            assert problem(answer)[0] == 404, (call.name, answer.text)
    assert walked > 10
    after = await gateway.stored()
    # The rollback that names nothing is the stranger's own, and is kept.
    assert after == before | {"wallet_transactions": after["wallet_transactions"]}
    listed = await stranger.get("/v1/wallet-transactions?player=p-1")
    assert problem(listed) == (404, "player_not_found")
    assert ids["room"] not in (await stranger.get("/v1/rooms")).text
    batch = await stranger.post("/v1/bets/batch", {"bets": [bet]})
    assert [each["status"] for each in batch.json()["results"]] == [404]
    assert (await owner.get(f"/v1/bets/{ids['bet_id']}")).status_code == 200


async def test_what_is_another_operators_is_not_there_for_staff_on_any_route(gateway: Gateway) -> None:
    owner, stranger = await gateway.casino(), await gateway.casino()
    ids = {"operator": str(owner.operator.id), "key_id": owner.key_id}
    before = await keys_of(gateway)
    calls = [call for call in CALLS if call.access == "staff" and "{operator}" in call.path]
    assert len(calls) >= 3
    for role in ("operator_admin", "auditor", "support"):
        of_another = await member(gateway, role, stranger.operator.id)
        for call in calls:
            answer = await of_another.send(call.method, path_of(call, **ids), BODIES.get(call.name))
            assert problem(answer) in [(404, "operator_not_found"), (403, "role_not_allowed")], (role, call.name)
            unknown = await of_another.send(call.method, path_of(call), BODIES.get(call.name))
            assert said_without_ids(unknown) == said_without_ids(answer), (role, call.name)
            # The role has passed: it is the operator that is not there.
            assert role != "operator_admin" or problem(answer)[0] == 404, call.name
    assert await keys_of(gateway) == before


def said_without_ids(answer: httpx.Response) -> str:
    """What an answer says, whatever operator it was asked for."""
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", answer.text)


async def keys_of(gateway: Gateway) -> list[tuple[Any, ...]]:
    """All keys of all operators."""
    rows = await gateway.owner_pool.fetch("SELECT key_id, operator_id, revoked_ms FROM operator_keys ORDER BY key_id")
    return [tuple(row) for row in rows]


async def test_what_is_another_players_is_not_there(gateway: Gateway) -> None:
    owner = await gateway.casino()
    ids, _ = await things_of(gateway, owner)
    mine, theirs = await play(owner, "p-1"), await play(owner, "p-2")
    assert (await mine.get(f"/v1/player/bets/{ids['bet_id']}")).status_code == 200
    assert problem(await theirs.get(f"/v1/player/bets/{ids['bet_id']}")) == (404, "bet_not_found")
    assert (await theirs.get("/v1/player/history")).json()["entries"] == []


async def things_of(gateway: Gateway, owner: Casino) -> tuple[dict[str, str], dict[str, Any]]:
    """One of everything that an operator can name, and its bet."""
    room = await gateway.room(operator_id=owner.operator.id)
    deposit = {"transaction_id": "d-1", "amount_minor": 1_000, "currency": "EUR"}
    assert (await owner.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    bet = BODIES["place_bet"] | {"transaction_id": "t-1", "room": str(room.id)}
    placed: httpx.Response = await owner.post("/v1/bets", bet)
    assert placed.status_code == 201, placed.text
    session = await launch(owner, "p-1")
    ids = {
        "room": str(room.id),
        "round_id": placed.json()["round"]["id"],
        "bet_id": placed.json()["bet_id"],
        "player": "p-1",
        "transaction_id": "d-1",
        "session_id": session["session_id"],
        "key_id": owner.key_id,
    }
    return ids, bet


async def test_a_path_says_all_of_its_methods(gateway: Gateway) -> None:
    casino, owner = await gateway.casino(), await member(gateway, "owner")
    asked = {"signed": casino.send, "staff": owner.send}
    for path, access in {(call.path, call.access) for call in CALLS if call.access in asked}:
        methods = {call.method for call in CALLS if call.path == path}
        answer = await asked[access]("OPTIONS", path_of(next(call for call in CALLS if call.path == path)))
        assert set(answer.headers["allow"].split(", ")) == methods | {"OPTIONS"}, path
