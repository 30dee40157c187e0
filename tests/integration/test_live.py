"""The live stream as its clients see it: who gets in, what rounds tell, and bets over the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.gateway import ORIGIN, PLAYER_ORIGIN, Casino, Gateway
from support.live import Client, Live, connected, flowing, open_live, room_channel
from support.players import launch, play, post
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.desk import Capacity
from gateway.live import server
from keno.notify import received
from keno.risk import rates
from keno.risk.rates import Rate

DEPOSIT = {"transaction_id": "d-1", "amount_minor": 100_000, "currency": "EUR"}


@pytest.fixture
async def live(gateway: Gateway) -> AsyncIterator[Live]:
    async with open_live(gateway.platform) as opened:
        yield opened


async def rich(gateway: Gateway) -> Casino:
    casino = await gateway.casino()
    assert (await casino.post("/v1/wallets/p-1/deposits", DEPOSIT)).status_code == 201
    return casino


def bet(room: object, number: int, **changes: Any) -> dict[str, Any]:
    return {"transaction_id": f"t-{number}", "room": str(room), "picks": [1, 2], "stake_minor": 100} | changes


async def test_a_spectator_sees_a_round_from_its_sale_to_its_seed_and_no_outcome_before_its_time(
    gateway: Gateway, live: Live
) -> None:
    room = await gateway.room(period_ms=2_000, lock_lead_ms=500)
    channel = room_channel(room.id)
    async with flowing(gateway), connected(live, spectate=True) as client:
        assert (await client.ask("subscribe", channels=[channel]))["type"] == "subscribed"
        snapshot = next(frame for frame in client.seen if frame["type"] == "snapshot")
        first = snapshot["rounds"][0]["round"]
        assert snapshot["reason"] == "joined"
        playing = asyncio.create_task(gateway.play_until(int(first["id"]), "settled"))
        settled = await client.until("round.settled", round={k: first[k] for k in ("id", "number")})
        await playing
    of_round = [each for each in client.seen if each.get("round", {}).get("id") == first["id"]]
    kinds = [each["type"] for each in of_round]
    assert kinds[-3:] == ["round.locked", "round.drawn", "round.settled"]
    drawn_at = client.seen.index(of_round[-2])
    stored = await gateway.platform.rooms.round(int(first["id"]))
    assert stored is not None
    assert stored.numbers is not None
    assert of_round[-2]["numbers"] == list(stored.numbers)
    assert settled["seed"] == (stored.seed or b"").hex()
    for frame in client.seen[:drawn_at]:
        assert settled["seed"] not in json.dumps(frame)
        rounds = [each for each in frame.get("rounds", []) if each["round"]["id"] == first["id"]]
        assert all(each["numbers"] is None and each["seed"] is None for each in rounds)
    for frame in client.seen:
        assert isinstance(received.decoder.decode(json.dumps(frame)), received.Told)


async def test_only_pages_that_may_call_and_clients_without_a_page_connect(live: Live) -> None:
    for origin in (ORIGIN, PLAYER_ORIGIN, None):
        async with connected(live, origin=origin, spectate=True) as client:
            assert (await client.ask("ping"))["type"] == "pong"
    with pytest.raises(InvalidStatus) as refused:
        async with connected(live, origin="https://elsewhere.test"):
            pass
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body or b"")["code"] == "origin_not_allowed"
    with pytest.raises(InvalidStatus) as unknown:
        async with connect(live.url + "/other"):
            pass
    assert unknown.value.response.status_code == 404


async def test_a_ticket_opens_once_and_its_tokens_are_good_over_http(gateway: Gateway, live: Live) -> None:
    casino = await rich(gateway)
    ticket = (await launch(casino))["ticket"]
    async with connected(live) as client:
        welcome = await client.ask("authenticate", ticket=ticket)
        assert welcome["session"]["player"] == "p-1"
    answer = await post(gateway.client, "/v1/auth/refresh", {"refresh_token": welcome["tokens"]["refresh_token"]})
    assert answer.status_code == 200
    async with connected(live) as client:
        refused = await client.ask("authenticate", ticket=ticket)
        assert (refused["status"], refused["problem"]["code"]) == (401, "ticket_invalid")
        assert (await client.closed())[0] == 4401


async def test_the_first_frame_says_who_it_is_and_no_other_does(gateway: Gateway, live: Live) -> None:
    player = await play(await rich(gateway))
    async with connected(live) as client:
        await client.send("ping")
        assert (await client.closed())[0] == 4401
    async with connected(live) as client:
        await client.send("authenticate", token=player.access_token[:-4] + "AAAA")
        assert (await client.next())["problem"]["code"] == "token_invalid"
        assert (await client.closed())[0] == 4401
    async with connected(live, token=player.access_token) as client:
        again = await client.ask("authenticate", token=player.access_token)
        assert again["problem"]["code"] == "invalid_request"


async def test_a_bet_over_the_socket_is_the_bet_that_http_takes(gateway: Gateway, live: Live) -> None:
    room = await gateway.room()
    player = await play(await rich(gateway))
    async with connected(live, token=player.access_token) as client:
        over_http = await player.post("/v1/player/bets", bet(room.id, 1))
        again = await client.ask("bet", bet=bet(room.id, 1))
        assert (again["status"], again["replayed"], again["bet"]) == (201, True, over_http.json())
        placed = await client.ask("bet", bet=bet(room.id, 2))
        assert (placed["status"], placed["replayed"]) == (201, False)
        same = await player.post("/v1/player/bets", bet(room.id, 2))
        assert same.headers["idempotent-replayed"] == "true"
        assert same.json() == placed["bet"]
        for wrong in (
            bet(room.id, 2, stake_minor=200),
            bet(room.id, 3, picks=[0]),
            bet(room.id, 3, stake_minor=101),
            bet(room.id, 3, player="p-2"),
            bet(room.id, 3, stake_minor="100"),
            bet("00000000-0000-4000-8000-000000000000", 3),
        ):
            before = await gateway.stored()
            refused, over_http = await client.ask("bet", bet=wrong), await player.post("/v1/player/bets", wrong)
            assert refused["status"] == over_http.status_code
            assert refused["problem"] == over_http.json()
            assert await gateway.stored() == before
    async with connected(live, spectate=True) as client:
        assert (await client.ask("bet", bet=bet(room.id, 4)))["problem"]["code"] == "token_missing"


async def test_a_player_is_told_of_bets_results_and_balance_on_all_connections(gateway: Gateway, live: Live) -> None:
    room = await gateway.room(period_ms=2_000, lock_lead_ms=500)
    player = await play(await rich(gateway))
    async with (
        flowing(gateway),
        open_live(gateway.platform) as other,
        connected(live, token=player.access_token) as here,
        connected(other, token=player.access_token) as there,
    ):
        for client in (here, there):
            await client.ask("subscribe", channels=["player"])
            assert client.seen[-2]["type"] == "snapshot"
            assert client.seen[-2]["balance_minor"] == 100_000
        placed = await here.ask("bet", bet=bet(room.id, 1))
        for client in (here, there):
            assert (await client.until("bet.accepted"))["bet"]["bet_id"] == placed["bet"]["bet_id"]
            assert (await client.until("balance"))["balance_minor"] == 99_900
        playing = asyncio.create_task(gateway.play_until(int(placed["bet"]["round"]["id"]), "settled"))
        settled = [await client.until("bet.settled") for client in (here, there)]
        await playing
        assert settled[0] == settled[1]
        round_id = int(placed["bet"]["round"]["id"])
        numbers = await gateway.owner_pool.fetchval("SELECT numbers FROM rounds WHERE id = $1", round_id)
        won = await gateway.owner_pool.fetchval("SELECT coalesce(sum(payout_minor), 0)::bigint FROM payouts")
        assert (settled[0]["hits"], settled[0]["payout_minor"]) == (len({1, 2} & set(numbers)), won)
        if settled[0]["payout_minor"]:
            balance = await here.until("balance")
            assert balance["balance_minor"] == 99_900 + settled[0]["payout_minor"]
        for frame in here.seen:
            assert isinstance(received.decoder.decode(json.dumps(frame)), received.Told)


async def test_a_session_that_ends_is_cut_off_at_once(gateway: Gateway, live: Live) -> None:
    casino = await rich(gateway)
    player, stays = await play(casino), await play(casino)
    async with (
        connected(live, token=player.access_token) as client,
        connected(live, token=stays.access_token) as neighbour,
    ):
        await client.ask("ping")
        assert (await casino.send("DELETE", f"/v1/sessions/{player.session['session_id']}")).status_code == 200
        assert (await client.closed())[0] == 4403
        assert (await neighbour.ask("ping"))["type"] == "pong"
        await gateway.platform.sessions.end_all(casino.operator.id, "p-1")
        assert (await neighbour.closed())[0] == 4403


async def test_what_is_no_text_among_ended_sessions_ends_nothing(gateway: Gateway, live: Live) -> None:
    casino = await rich(gateway)
    player = await play(casino)
    async with connected(live, token=player.access_token) as client:
        await client.ask("ping")
        await gateway.platform.redis.publish("keno:sessions:ended", b"\xff")
        assert (await casino.send("DELETE", f"/v1/sessions/{player.session['session_id']}")).status_code == 200
        assert (await client.closed())[0] == 4403
        assert not live.serving.done()


async def test_a_private_room_is_for_the_players_of_its_operator(gateway: Gateway, live: Live) -> None:
    casino, stranger = await rich(gateway), await rich(gateway)
    channel = room_channel((await gateway.room(operator_id=casino.operator.id)).id)
    own, other = await play(casino), await play(stranger)
    async with connected(live, token=own.access_token) as client:
        assert (await client.ask("subscribe", channels=[channel]))["type"] == "subscribed"
    async with connected(live, token=other.access_token) as client:
        assert (await client.ask("subscribe", channels=[channel]))["problem"]["code"] == "room_not_found"
    async with connected(live, spectate=True) as client:
        assert (await client.ask("subscribe", channels=[channel]))["problem"]["code"] == "room_not_found"
        assert (await client.ask("subscribe", channels=["player"]))["problem"]["code"] == "token_missing"


async def test_rooms_that_nobody_follows_are_asked_for_at_the_rate_of_an_address(
    gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "ADDRESS", Rate(1, 3))
    room = await gateway.room()

    async def asked(client: Client, room_id: UUID) -> str:
        answer = await client.ask("subscribe", channels=[room_channel(room_id)])
        return str(answer["problem"]["code"] if answer["type"] == "problem" else answer["type"])

    async with connected(live, spectate=True) as first, connected(live, spectate=True) as second:
        assert await asked(first, room.id) == "subscribed"
        assert [await asked(first, uuid4()) for _ in range(2)] == ["room_not_found"] * 2
        assert "rate_limited" in [await asked(second, uuid4()) for _ in range(3)]
        assert await asked(second, room.id) == "subscribed"


async def test_more_bets_than_a_process_can_hold_are_refused_at_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "Capacity", lambda: Capacity(requests_max=0))
    room, player = await gateway.room(), await play(await rich(gateway))
    async with open_live(gateway.platform) as full, connected(full, token=player.access_token) as client:
        refused = await client.ask("bet", bet=bet(room.id, 1))
        assert (refused["status"], refused["problem"]["code"]) == (503, "overloaded")
        assert (await client.ask("ping"))["type"] == "pong"
    assert (await gateway.stored())["bets"] == 0
