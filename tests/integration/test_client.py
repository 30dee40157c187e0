"""The Python client against a gateway: it signs, checks answers, asks again, and walks pages."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from support.gateway import ORIGIN, Casino, Gateway

from keno import client as client_module
from keno.client import Client, NotTheirAnswer, Refused, Unanswered


class Line(httpx.AsyncBaseTransport):
    """A line to the gateway that loses the first `lost` answers, and spoils the bytes of all where it is told to."""

    def __init__(self, gateway: Gateway, lost: int = 0, spoilt: bool = False) -> None:
        self._client = gateway.client
        self._lost = lost
        self._spoilt = spoilt
        self.sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        answer = await self._client.request(
            request.method, str(request.url), content=await request.aread(), headers=request.headers
        )
        if self._lost:
            self._lost -= 1
            raise httpx.ReadTimeout("lost")
        content = answer.content.replace(b"5000", b"5001") if self._spoilt else answer.content
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def client_of(casino: Casino, line: Line, **more: Any) -> Client:
    return Client(ORIGIN, casino.key_id, casino.key, transport=line, **more)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PAUSE_S", 0.001)


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_bets_and_money_go_through_and_answers_are_checked(gateway: Gateway, ed25519: bool) -> None:
    casino, room = await gateway.casino(ed25519=ed25519), await gateway.room()
    async with client_of(casino, Line(gateway)) as client:
        assert (await client.deposit("p 1", "d-1", 5_000, "EUR"))["balance_minor"] == 5_000
        bet = {"player": "p 1", "room": str(room.id), "picks": [1, 2], "stake_minor": 100, "currency": "EUR"}
        placed = await client.place_bet(bet | {"transaction_id": "t-1"})
        assert placed["receipt"]["leaf_hash"]
        results = await client.place_bets(
            [bet | {"transaction_id": "t-2"}, bet | {"transaction_id": "t-1", "picks": [3]}]
        )
        assert [each["status"] for each in results] == [201, 409]
        assert (await client.withdraw("p 1", "w-1", 800, "EUR"))["balance_minor"] == 4_000
        assert (await client.roll_back("w-1", "r-1"))["undone"]["balance_minor"] == 4_800
        entries = [each["kind"] async for each in client.statement("p 1", limit=1)]
        assert sorted(entries) == ["bet", "bet", "deposit", "rollback", "withdrawal"]
        assert [each["round"]["id"] async for each in client.rounds(str(room.id))] == [placed["round"]["id"]]
        assert (await client.launch("p 1", "EUR", locale="pt-BR"))["ticket"]
        with pytest.raises(Refused, match="insufficient_funds") as refusal:
            await client.withdraw("p 1", "w-2", 10**9, "EUR")
        assert refusal.value.code == "insufficient_funds"


async def test_lost_answers_are_asked_for_again_and_the_money_moves_once(gateway: Gateway) -> None:
    line = Line(gateway, lost=3)
    async with client_of(await gateway.casino(), line) as client:
        assert (await client.deposit("p-1", "d-1", 5_000, "EUR"))["balance_minor"] == 5_000
    assert line.sent == 4


async def test_a_server_that_never_answers_is_given_up(gateway: Gateway) -> None:
    line = Line(gateway, lost=99)
    async with client_of(await gateway.casino(), line, attempts=2) as client:
        with pytest.raises(Unanswered, match="2 attempts"):
            await client.deposit("p-1", "d-1", 5_000, "EUR")
    assert line.sent == 2


async def test_an_answer_that_was_changed_on_its_way_is_not_believed(gateway: Gateway) -> None:
    async with client_of(await gateway.casino(), Line(gateway, spoilt=True)) as client:
        with pytest.raises(NotTheirAnswer):
            await client.deposit("p-1", "d-1", 5_000, "EUR")


async def test_many_calls_at_once_share_a_client(gateway: Gateway) -> None:
    async with client_of(await gateway.casino(ed25519=True), Line(gateway)) as client:
        await asyncio.gather(*(client.deposit("p-1", f"d-{n}", 1, "EUR") for n in range(8)))
        assert (await client.call("GET", "/v1/wallets/p-1"))["balances"] == [{"currency": "EUR", "balance_minor": 8}]
