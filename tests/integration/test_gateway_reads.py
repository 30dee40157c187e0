"""Rooms, rounds, wallets, documents and health over the REST API, and that tenants do not see each other."""

from __future__ import annotations

import hashlib
import json
from unittest.mock import AsyncMock

import httpx
import pytest
from support.gateway import Casino, Gateway

from keno import verifier
from keno.fairness.evidence import PublishedEpoch
from keno.fairness.service import EvidenceService


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"], response.json().get("field")


async def test_an_operator_sees_the_shared_rooms_and_its_own(gateway: Gateway, casino: Casino) -> None:
    other = await gateway.casino()
    shared, own = await gateway.room(), await gateway.room(operator_id=casino.operator.id)
    theirs = await gateway.room(operator_id=other.operator.id)
    listed = (await casino.get("/v1/rooms")).json()["rooms"]
    assert {room["room"]: room["private"] for room in listed} == {str(shared.id): False, str(own.id): True}
    one = (await casino.get(f"/v1/rooms/{own.id}")).json()
    assert one in listed
    assert (one["period_ms"], one["status"], one["rules"]) == (60_000, "open", own.rules_hash.hex())
    for path in (f"/v1/rooms/{theirs.id}", f"/v1/rooms/{theirs.id}/rounds", "/v1/rooms/lobby"):
        assert problem(await casino.get(path)) == (404, "room_not_found", None)
    their_rounds = (await other.get(f"/v1/rooms/{theirs.id}/rounds")).json()["rounds"]
    path = f"/v1/rounds/{their_rounds[0]['round']['id']}"
    assert (await other.get(path)).json() == their_rounds[0]
    assert problem(await casino.get(path)) == (404, "round_not_found", None)


async def test_rounds_come_in_pages_without_a_gap_or_a_repetition(gateway: Gateway, casino: Casino) -> None:
    room = await gateway.room(period_ms=2_000, lock_lead_ms=1_900)
    path = f"/v1/rooms/{room.id}/rounds"
    first = (await casino.get(path)).json()["rounds"][-1]
    await gateway.play_until(int(first["round"]["id"]), "settled")
    everything = (await casino.get(path)).json()
    numbers = [each["round"]["number"] for each in everything["rounds"]]
    assert len(numbers) > 1
    assert numbers == list(range(len(numbers), 0, -1))
    assert everything["next_before"] is None
    paged, before = [], ""
    while True:
        page = (await casino.get(f"{path}?limit=1{before}")).json()
        paged += page["rounds"]
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before']}"
    assert [each["round"]["number"] for each in paged] == numbers
    settled = paged[-1]
    assert len(set(settled["numbers"])) == 20
    assert len(bytes.fromhex(settled["seed"])) == 32
    newest = paged[0]
    assert (newest["numbers"], newest["seed"]) == (None, None)


async def test_a_query_that_is_not_of_the_call_is_refused(gateway: Gateway, casino: Casino) -> None:
    path = f"/v1/rooms/{(await gateway.room()).id}/rounds"
    for query, field in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=%31%20", "limit"),
        ("limit=1&limit=1", "limit"),
        ("before=0", "before"),
        ("before=-1", "before"),
        (f"before={2**63}", "before"),
        ("after=1", "after"),
    ]:
        assert problem(await casino.get(f"{path}?{query}")) == (422, "invalid_query", field), query


async def test_a_deposit_moves_money_once(gateway: Gateway, casino: Casino) -> None:
    asked = {"transaction_id": "d-1", "amount_minor": 500, "currency": "EUR"}
    first = await casino.post("/v1/wallets/p-1/deposits", asked)
    assert first.status_code == 201
    assert first.json().items() >= {**asked, "player": "p-1", "balance_minor": 500}.items()
    again = await casino.post("/v1/wallets/p-1/deposits", asked)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json()["wallet_transaction_id"] == first.json()["wallet_transaction_id"]
    assert (await casino.get("/v1/wallets/p-1")).json()["balances"] == [{"currency": "EUR", "balance_minor": 500}]
    conflict = await casino.post("/v1/wallets/p-1/deposits", asked | {"amount_minor": 501})
    assert problem(conflict) == (409, "transaction_conflict", "transaction_id")


async def test_every_bad_deposit_has_its_code_and_stores_nothing(gateway: Gateway, casino: Casino) -> None:
    stored = await gateway.stored()
    asked = {"transaction_id": "d-1", "amount_minor": 500, "currency": "EUR"}
    for change, code, field in [
        ({"amount_minor": 0}, "invalid_amount", "amount_minor"),
        ({"amount_minor": -1}, "invalid_amount", "amount_minor"),
        ({"amount_minor": 1.0}, "invalid_amount", "amount_minor"),
        ({"amount_minor": "1"}, "invalid_amount", "amount_minor"),
        ({"amount_minor": 2**53}, "invalid_amount", "amount_minor"),
        ({"currency": "JPY"}, "currency_not_offered", "currency"),
        ({"note": "x"}, "unknown_field", "note"),
    ]:
        answer = await casino.post("/v1/wallets/p-1/deposits", asked | change)
        assert problem(answer) == (422, code, field), change
    for player in ("%00", "p" * 65, "%0A"):
        answer = await casino.post(f"/v1/wallets/{player}/deposits", asked)
        assert problem(answer) == (422, "invalid_request", "player"), player
    assert await gateway.stored() == stored


async def test_another_operators_player_does_not_exist(gateway: Gateway, casino: Casino) -> None:
    asked = {"transaction_id": "d-1", "amount_minor": 500, "currency": "EUR"}
    await casino.post("/v1/wallets/p-1/deposits", asked)
    other = await gateway.casino()
    assert problem(await other.get("/v1/wallets/p-1")) == (404, "player_not_found", None)


async def test_a_player_reference_may_be_any_printable_text(casino: Casino) -> None:
    asked = {"transaction_id": "d-1", "amount_minor": 500, "currency": "EUR"}
    path = "/v1/wallets/J%C3%BCrgen%20%F0%9F%8E%B2%3F"
    assert (await casino.post(f"{path}/deposits", asked)).json()["player"] == "Jürgen 🎲?"
    assert (await casino.get(path)).json()["player"] == "Jürgen 🎲?"


async def test_documents_are_served_byte_for_byte_and_for_ever(gateway: Gateway) -> None:
    room = await gateway.room()
    rules = await gateway.client.get(f"/v1/rules/{room.rules_hash.hex()}")
    assert hashlib.sha256(rules.content).digest() == room.rules_hash
    paytable_hash = rules.json()["paytables"][0]
    paytable = await gateway.client.get(f"/v1/paytables/{paytable_hash}")
    assert hashlib.sha256(paytable.content).hexdigest() == paytable_hash
    for document in (rules, paytable):
        assert document.headers["content-type"] == "application/json"
        assert document.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in (
        f"/v1/rules/{paytable_hash}",
        f"/v1/paytables/{'0' * 64}",
        f"/v1/paytables/{paytable_hash.upper()}",
        "/v1/paytables/x",
    ):
        assert problem(await gateway.client.get(path)) == (404, "document_not_found", None)


async def test_an_epochs_commitments_are_public_while_its_rounds_are_open_and_its_key_after_them(
    gateway: Gateway,
) -> None:
    room = await gateway.room(period_ms=3_000, lock_lead_ms=500)
    round_id = await gateway.owner_pool.fetchval("SELECT min(id) FROM rounds WHERE room_id = $1", room.id)
    path = f"/v1/fairness/epochs/{round_id}"
    answer = await gateway.client.get(path)
    assert answer.headers["cache-control"] == "public, max-age=60"
    epoch = answer.json()
    assert (epoch["room"], epoch["first"], epoch["epoch_key"]) == (str(room.id), 1, None)
    assert epoch["count"] == len(epoch["commits"])
    commits = [bytes.fromhex(commit) for commit in epoch["commits"]]
    contexts = [room.id.bytes + number.to_bytes(8) for number in range(1, epoch["count"] + 1)]
    root = verifier.merkle_root([context + commit for context, commit in zip(contexts, commits, strict=True)])
    assert root.hex() == epoch["commits_root"]

    await gateway.play_until(round_id, "settled")
    evidence = await gateway.client.get(f"/v1/rounds/{round_id}/evidence")
    lines = {line["type"]: line for line in map(json.loads, evidence.text.splitlines())}
    for name in ("epoch", "opened_ms", "key_commit", "commits_root", "first", "count"):
        assert lines["epoch"][name] == epoch[name], name
    assert lines["round"]["commit"] == epoch["commits"][0]

    for text in ("0", "999999999", "x", str(2**63)):
        assert problem(await gateway.client.get(f"/v1/fairness/epochs/{text}")) == (404, "round_not_found", None)


async def test_an_epoch_whose_key_is_out_may_be_kept_for_good(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = {name: bytes(32) for name in ("key_commit", "commits", "commits_root", "hash", "key")}
    over = PublishedEpoch(room=bytes(16), first=1, opened_ms=0, **hashes)
    monkeypatch.setattr(EvidenceService, "epoch", AsyncMock(return_value=over))
    answer = await gateway.client.get("/v1/fairness/epochs/1")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.json()["epoch_key"] == "00" * 32


async def test_pages_say_once_how_their_letters_are_written(gateway: Gateway) -> None:
    for path in ("/docs", "/docs/live", "/docs/events", "/play", "/verify"):
        page = await gateway.client.get(path)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), path


async def test_what_does_not_exist_is_a_problem_too(gateway: Gateway) -> None:
    assert problem(await gateway.client.get("/nothing")) == (404, "not_found", None)
    not_allowed = await gateway.client.put("/v1/bets")
    assert problem(not_allowed) == (405, "method_not_allowed", None)
    assert "POST" in not_allowed.headers["allow"]
    for text in ("1", "x", str(2**63)):
        answer = await gateway.client.get(f"/v1/rounds/{text}/evidence")
        assert problem(answer) == (404, "evidence_not_found", None)


async def test_the_evidence_of_a_round_whose_bets_were_archived_is_gone(gateway: Gateway) -> None:
    await gateway.room(period_ms=2_000, lock_lead_ms=500)
    round_id = await gateway.owner_pool.fetchval("SELECT min(id) FROM rounds")
    await gateway.play_until(round_id, "settled")
    path = f"/v1/rounds/{round_id}/evidence"
    assert (await gateway.client.get(path)).status_code == 200
    await gateway.owner_pool.execute(
        "INSERT INTO archived_partitions (first_round, end_round, rounds, bets_count, detached_ms)"
        " VALUES (0, 100, int8multirange(int8range($1, $1, '[]')), 0, 1)",
        round_id,
    )
    assert problem(await gateway.client.get(path)) == (410, "evidence_archived", None)


async def test_the_process_is_ready_while_its_servers_answer(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await gateway.client.get(path, headers={"Host": "10.0.0.1"})).status_code == 200
    await gateway.platform.pool.close()
    assert (await gateway.client.get("/healthz")).status_code == 200
    assert problem(await gateway.client.get("/readyz")) == (503, "unavailable", None)


async def test_a_bug_is_answered_without_a_word_about_it(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(type(gateway.platform.rooms), "rooms", broken)
    answer = await casino.get("/v1/rooms")
    assert problem(answer) == (500, "internal", None)
    assert "42" not in answer.text


async def test_a_database_that_is_away_is_answered_as_unavailable(gateway: Gateway, casino: Casino) -> None:
    assert (await casino.get("/v1/rooms")).status_code == 200
    await gateway.platform.pool.close()
    answer = await casino.get("/v1/rooms")
    assert problem(answer) == (503, "unavailable", None)
    assert answer.headers["retry-after"] == "1"
