"""Lists of an operator's bets: of a player, of a round, of a player in a round; each bet once, in pages of any size."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.gateway import Casino, Gateway
from support.money import Floor

from keno.bets import read_store
from keno.rounds.room_store import Room
from keno.wallet.statement import Place

DAY_MS = 24 * 3_600_000


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"], response.json().get("field")


async def place(casino: Casino, room: Room, player: str, *transaction_ids: str) -> list[dict[str, Any]]:
    bets = [
        {"transaction_id": each, "player": player, "room": str(room.id), "picks": [pick], "stake_minor": 100}
        | {"currency": "EUR"}
        for pick, each in enumerate(transaction_ids, 1)
    ]
    results = (await casino.post("/v1/bets/batch", {"bets": bets})).json()["results"]
    return [each["bet"] for each in results]


async def fund(casino: Casino, *players: str) -> None:
    for player in players:
        deposit = {"transaction_id": f"d-{player}", "amount_minor": 100_000, "currency": "EUR"}
        assert (await casino.post(f"/v1/wallets/{player}/deposits", deposit)).status_code == 201


async def pages(casino: Casino, query: str, limit: int) -> list[list[dict[str, Any]]]:
    found, before = [], ""
    while True:
        answer = await casino.get(f"/v1/bets?{query}&limit={limit}{before}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found.append(page["bets"])
        if page["next_before"] is None:
            return found
        before = f"&before={page['next_before']}"


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    casino, other = await gateway.casino(), await gateway.casino()
    rooms = [await gateway.room(period_ms=2_000, lock_lead_ms=500), await gateway.room()]
    await fund(casino, "ann", "bob")
    await fund(other, "ann")
    first = await place(casino, rooms[0], "ann", *(f"a-{n}" for n in range(5)))
    await place(other, rooms[0], "ann", "a-0", "a-1")
    await place(casino, rooms[0], "bob", "b-0")
    await gateway.play_until(int(first[0]["round"]["id"]), "settled")
    await place(casino, rooms[1], "ann", "later-0", "later-1")
    return casino


async def test_lists_have_each_bet_of_what_is_asked_for_once(gateway: Gateway, casino: Casino) -> None:
    round_id = await gateway.owner_pool.fetchval("SELECT min(round_id) FROM bets")
    in_round = {f"a-{n}" for n in range(5)}
    for query, expected in [
        ("player=ann", in_round | {"later-0", "later-1"}),
        ("player=bob", {"b-0"}),
        (f"round={round_id}", in_round | {"b-0"}),
        (f"player=ann&round={round_id}", in_round),
        (f"player=bob&round={round_id}", {"b-0"}),
    ]:
        (whole,) = await pages(casino, query, 200)
        assert {each["transaction_id"] for each in whole} == expected, query
        order = [int(each["bet_id"]) for each in whole]
        assert order == sorted(order, reverse=True), query
        for limit in (1, 2, len(whole)):
            paged = await pages(casino, query, limit)
            assert [each for page in paged for each in page] == whole, (query, limit)
            assert {len(page) for page in paged[:-1]} <= {limit}


async def test_a_listed_bet_is_the_bet_as_it_is_told_alone(gateway: Gateway, casino: Casino) -> None:
    round_id = await gateway.owner_pool.fetchval("SELECT min(round_id) FROM bets")
    (listed,) = await pages(casino, f"round={round_id}", 200)
    for each in listed:
        alone = (await casino.get(f"/v1/bets/{each['bet_id']}")).json()
        assert each == alone
        assert alone["inclusion"] is not None
        assert alone["result"] is not None
    (of_ann,) = await pages(casino, "player=ann", 200)
    assert of_ann[0]["result"] is None
    for each in of_ann:
        alone = (await casino.get(f"/v1/bets/{each['bet_id']}")).json()
        assert each == alone | {"inclusion": None}


async def test_what_cannot_be_listed_says_why(gateway: Gateway, casino: Casino) -> None:
    round_id = await gateway.owner_pool.fetchval("SELECT min(round_id) FROM bets")
    for query, field in [
        ("", "player"),
        ("?limit=1", "player"),
        ("?player=ann&player=bob", "player"),
        ("?player=ann&limit=0", "limit"),
        ("?player=ann&limit=201", "limit"),
        ("?player=ann&before=12", "before"),
        ("?round=x", "round"),
        ("?round=0", "round"),
        (f"?round={2**63}", "round"),
        ("?player=ann&room=1", "room"),
    ]:
        assert problem(await casino.get(f"/v1/bets{query}")) == (422, "invalid_query", field), query
    for query in ("player=nobody", "player=%00", f"player=nobody&round={round_id}", "player="):
        assert problem(await casino.get(f"/v1/bets?{query}")) == (404, "player_not_found", None), query
    for query in ("round=9999999", "player=ann&round=9999999"):
        assert problem(await casino.get(f"/v1/bets?{query}")) == (404, "round_not_found", None), query


async def test_another_operators_bets_are_not_there(gateway: Gateway, casino: Casino) -> None:
    stranger = await gateway.casino()
    round_id = await gateway.owner_pool.fetchval("SELECT min(round_id) FROM bets")
    assert problem(await stranger.get("/v1/bets?player=ann")) == (404, "player_not_found", None)
    assert (await stranger.get(f"/v1/bets?round={round_id}")).json() == {"bets": [], "next_before": None}
    private = await gateway.room(operator_id=casino.operator.id)
    (bet,) = await place(casino, private, "ann", "private")
    query = f"round={bet['round']['id']}"
    assert len((await casino.get(f"/v1/bets?{query}")).json()["bets"]) == 1
    assert problem(await stranger.get(f"/v1/bets?{query}")) == (404, "round_not_found", None)


async def test_a_player_who_was_away_for_months_is_found_page_by_page(floor: Floor) -> None:
    await floor.fund("bob", 500)
    now_ms = await floor.pool.fetchval("SELECT now_ms()") + 1
    await floor.hall.clock.set(now_ms)
    await floor.place(floor.bet("bob"))
    await floor.hall.clock.set(now_ms + 100 * DAY_MS)
    sizes, before = [], None
    async with floor.pool.acquire() as conn:
        while True:
            page = await read_store.bets_of_player(conn, floor.operator_id, "bob", None, before, 50)
            assert page is not None
            sizes.append(len(page.bets))
            if page.next_before is None:
                break
            assert before is None or page.next_before < before
            before = page.next_before
    assert sum(sizes) == 1
    assert len(sizes) > 3


async def test_a_page_of_a_round_looks_through_so_many_bets_of_others_and_goes_on(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_store, "ROUND_BETS_SEARCHED_MAX", 7)
    await floor.fund("bob", 10_000)
    other = await floor.add_operator("EUR")
    await floor.fund("eve", 10_000, operator_id=other)
    await floor.place(floor.bet("bob", transaction_id="first"))
    for _ in range(3):
        await floor.place(*(floor.bet("eve", operator_id=other) for _ in range(5)))
    await floor.place(floor.bet("bob", transaction_id="last"))
    round_id = await floor.round_id(number=1)
    found: list[str] = []
    sizes: list[int] = []
    before: Place | None = None
    async with floor.pool.acquire() as conn:
        while True:
            page = await read_store.bets_of_round(conn, floor.operator_id, round_id, before, 5)
            found += [each.transaction_id for each in page.bets]
            sizes.append(len(page.bets))
            if page.next_before is None:
                break
            before = page.next_before
    assert found == ["last", "first"]
    assert sizes == [1, 0, 1]
