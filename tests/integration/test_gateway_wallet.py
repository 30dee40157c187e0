"""Withdrawals, rollbacks and statements over the REST API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.gateway import JSON, Casino, Gateway

from keno.money import MINOR_MAX


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    made = await gateway.casino()
    assert (await made.post(WALLET + "/deposits", asked("d-1", 500))).status_code == 201
    return made


WALLET = "/v1/wallets/p-1"


def asked(transaction_id: str, amount_minor: int, currency: str = "EUR") -> dict[str, Any]:
    return {"transaction_id": transaction_id, "amount_minor": amount_minor, "currency": currency}


def rollback_of(transaction_id: str) -> str:
    return f"/v1/wallet-transactions/{transaction_id}/rollback"


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"], response.json().get("field")


async def test_a_withdrawal_moves_money_once(casino: Casino) -> None:
    first = await casino.post(WALLET + "/withdrawals", asked("w-1", 200))
    assert first.status_code == 201
    assert first.json().items() >= {**asked("w-1", 200), "player": "p-1", "balance_minor": 300}.items()
    again = await casino.post(WALLET + "/withdrawals", asked("w-1", 200))
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == first.json()
    assert (await casino.get(WALLET)).json()["balances"] == [{"currency": "EUR", "balance_minor": 300}]


async def test_every_movement_that_is_refused_has_its_code_and_stores_nothing(gateway: Gateway, casino: Casino) -> None:
    stored = await gateway.stored()
    for path, body, expected in [
        (WALLET + "/withdrawals", asked("w-1", 501), (409, "insufficient_funds", "amount_minor")),
        (WALLET + "/withdrawals", asked("w-1", 1, "JPY"), (422, "currency_not_offered", "currency")),
        ("/v1/wallets/nobody/withdrawals", asked("w-1", 1), (404, "player_not_found", None)),
        (WALLET + "/withdrawals", asked("d-1", 500), (409, "transaction_conflict", "transaction_id")),
        (WALLET + "/withdrawals", asked("w-1", 0), (422, "invalid_amount", "amount_minor")),
        (WALLET + "/withdrawals", asked("w-1", 1) | {"note": ""}, (422, "unknown_field", "note")),
        (WALLET + "/deposits", asked("d-2", MINOR_MAX), (409, "balance_limit", "amount_minor")),
        (rollback_of("d-1"), {"transaction_id": "d-1"}, (409, "transaction_conflict", "transaction_id")),
        (rollback_of("d-1"), {}, (422, "missing_field", "transaction_id")),
        (rollback_of("d-1"), asked("r-1", 500), (422, "unknown_field", "amount_minor")),
        (rollback_of("d-1"), {"transaction_id": "r 1"}, (422, "invalid_request", "transaction_id")),
        (rollback_of("d%201"), {"transaction_id": "r-1"}, (422, "invalid_request", "id")),
        (rollback_of("d" * 65), {"transaction_id": "r-1"}, (422, "invalid_request", "id")),
    ]:
        assert problem(await casino.post(path, body)) == expected, (path, body)
    twice = b'{"transaction_id": "r-1", "transaction_id": "r-2"}'
    answer = await casino.send("POST", rollback_of("d-1"), twice, JSON)
    assert problem(answer) == (400, "duplicate_field", "transaction_id")
    assert await gateway.stored() == stored
    assert await gateway.owner_pool.fetchval("SELECT count(*) FROM rollbacks") == 0


async def test_a_deposit_is_rolled_back_once(casino: Casino) -> None:
    first = await casino.post(rollback_of("d-1"), {"transaction_id": "r-1"})
    assert first.status_code == 201
    said = first.json()
    assert (said["transaction_id"], said["rolled_back"]) == ("r-1", "d-1")
    undone = {"player": "p-1", "currency": "EUR", "change_minor": -500, "balance_minor": 0}
    assert said["undone"].items() >= undone.items()
    again = await casino.post(rollback_of("d-1"), {"transaction_id": "r-1"})
    assert (again.status_code, again.headers["idempotent-replayed"], again.json()) == (201, "true", said)
    another = await casino.post(rollback_of("d-1"), {"transaction_id": "r-2"})
    assert problem(another) == (409, "already_rolled_back", None)
    assert problem(await casino.post(rollback_of("r-1"), {"transaction_id": "r-2"})) == (409, "rollback_stands", None)


async def test_money_that_was_spent_is_not_rolled_back(casino: Casino) -> None:
    await casino.post(WALLET + "/withdrawals", asked("w-1", 1))
    answer = await casino.post(rollback_of("d-1"), {"transaction_id": "r-1"})
    assert problem(answer) == (409, "insufficient_funds", None)


async def test_a_bet_is_kept_out_by_its_rollback_or_stands(gateway: Gateway, casino: Casino) -> None:
    bet = {"player": "p-1", "room": str((await gateway.room()).id), "picks": [1], "stake_minor": 100, "currency": "EUR"}
    assert (await casino.post("/v1/bets", bet | {"transaction_id": "b-1"})).status_code == 201
    assert problem(await casino.post(rollback_of("b-1"), {"transaction_id": "r-1"})) == (409, "bet_stands", None)
    tombstone = await casino.post(rollback_of("b-2"), {"transaction_id": "r-2"})
    assert (tombstone.status_code, tombstone.json()["undone"]) == (201, None)
    late = await casino.post("/v1/bets", bet | {"transaction_id": "b-2"})
    assert problem(late) == (409, "transaction_conflict", "transaction_id")
    other = await gateway.casino()
    assert (await other.post(rollback_of("b-1"), {"transaction_id": "r-1"})).json()["undone"] is None
    assert (await casino.post("/v1/bets", bet | {"transaction_id": "b-1"})).status_code == 201


async def test_a_statement_comes_in_pages_without_a_gap_or_a_repetition(gateway: Gateway, casino: Casino) -> None:
    await casino.post(WALLET + "/withdrawals", asked("w-1", 50))
    await casino.post(rollback_of("w-1"), {"transaction_id": "r-1"})
    bet = {"player": "p-1", "room": str((await gateway.room()).id), "picks": [1], "stake_minor": 100, "currency": "EUR"}
    placed = (await casino.post("/v1/bets", bet | {"transaction_id": "b-1"})).json()
    path = "/v1/wallet-transactions?player=p-1"
    whole = (await casino.get(path)).json()
    assert whole["next_before"] is None
    assert [(e["kind"], e["change_minor"], e["transaction_id"]) for e in whole["entries"]] == [
        ("bet", -100, "b-1"),
        ("rollback", 50, "r-1"),
        ("withdrawal", -50, "w-1"),
        ("deposit", 500, "d-1"),
    ]
    newest = whole["entries"][0]
    assert (newest["bet_id"], newest["wallet_transaction_id"]) == (placed["bet_id"], None)
    assert (newest["created_ms"], newest["currency"]) == (placed["accepted_ms"], "EUR")
    paged, before = [], ""
    while True:
        page = (await casino.get(f"{path}&currency=EUR&limit=1{before}")).json()
        paged += page["entries"]
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before']}"
    assert paged == whole["entries"]


async def test_a_statement_that_cannot_be_made_says_why(gateway: Gateway, casino: Casino) -> None:
    for query, field in [
        ("", "player"),
        ("?limit=1", "player"),
        ("?player=p-1&player=p-2", "player"),
        ("?player=p-1&limit=0", "limit"),
        ("?player=p-1&limit=201", "limit"),
        ("?player=p-1&before=12", "before"),
        ("?player=p-1&before=", "before"),
        ("?player=p-1&currency=eur", "currency"),
        ("?player=p-1&after=1", "after"),
    ]:
        answer = await casino.get(f"/v1/wallet-transactions{query}")
        assert problem(answer) == (422, "invalid_query", field), query
    other = await gateway.casino()
    for asking, player in ((casino, "nobody"), (casino, "%00"), (casino, "p" * 65), (other, "p-1")):
        answer = await asking.get(f"/v1/wallet-transactions?player={player}")
        assert problem(answer) == (404, "player_not_found", None), player
