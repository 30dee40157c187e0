"""The Python client against a gateway: it signs, checks answers, asks again, and walks pages."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import date
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.gateway import ORIGIN, Casino, Gateway
from support.ports import free_port

from gateway.openapi.calls import CALLS
from keno.client import BetRequest, Client, NotTheirAnswer, Player, Refused, Unanswered, UnknownAnswer, attempts
from keno.rounds.room_store import Room
from keno.shapes import Balance

_PARAMETER = re.compile(r"\{\w+\}")


class Line(httpx.AsyncBaseTransport):
    """A line to the gateway that loses the first `lost` answers, and spoils the bytes of all where it is told to."""

    def __init__(self, gateway: Gateway, lost: int = 0, spoilt: bool = False) -> None:
        self._client = gateway.client
        self._lost = lost
        self._spoilt = spoilt
        self.sent = 0
        self.called: set[str] = set()
        """The names of the calls that were made."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        self.called |= {
            each.name
            for each in CALLS
            if each.method == request.method and re.fullmatch(_PARAMETER.sub("[^/]+", each.path), request.url.path)
        }
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


def bet_in(room: Room, number: int) -> BetRequest:
    return {
        "transaction_id": f"t-{number}",
        "player": "p 1",
        "room": str(room.id),
        "picks": [1, 2],
        "stake_minor": 100,
        "currency": "EUR",
    }


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PAUSE_S", 0.001)


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_every_call_of_operators_goes_through_and_its_answer_is_checked(gateway: Gateway, ed25519: bool) -> None:
    casino, room = await gateway.casino(ed25519=ed25519), await gateway.room(period_ms=4_000, lock_lead_ms=500)
    line = Line(gateway)
    async with client_of(casino, line) as client:
        assert (await client.deposit("p 1", "d-1", 5_000, "EUR")).balance_minor == 5_000
        placed = await client.place_bet(bet_in(room, 1))
        assert placed.receipt.leaf_hash
        results = await client.place_bets([bet_in(room, 2), bet_in(room, 1) | {"picks": [3]}])
        assert [each.status for each in results] == [201, 409]
        assert results[0].bet is not None
        assert results[1].problem is not None
        assert (await client.bet(placed.bet_id)).receipt == placed.receipt
        for named in ({"player": "p 1"}, {"round_id": placed.round.id}, {"player": "p 1", "round_id": placed.round.id}):
            assert {each.transaction_id async for each in client.bets(**named, limit=1)} == {"t-1", "t-2"}
        limits = await client.limit_player("p 1", "EUR", round_bets_max=9, round_stake_max_minor=None)
        assert limits.round_bets_max == 9
        assert [each.room for each in await client.rooms()] == [room.id]
        assert (await client.room(str(room.id))).rules == room.rules_hash.hex()
        assert [each.round.id async for each in client.rounds(str(room.id))] == [placed.round.id]
        assert (await client.round(placed.round.id)).round.phase == "open"
        assert (await client.withdraw("p 1", "w-1", 800, "EUR")).balance_minor == 4_000
        undone = (await client.roll_back("w-1", "r-1")).undone
        assert undone is not None
        assert undone.balance_minor == 4_800
        assert [each.balance_minor for each in await client.balances("p 1")] == [4_800]
        entries = [each.kind async for each in client.statement("p 1", currency="EUR", limit=1)]
        assert sorted(entries) == ["bet", "bet", "deposit", "rollback", "withdrawal"]
        assert (await client.revenue(date(2026, 11, 1), date(2026, 11, 2))).rows == []
        launched = await client.launch("p 1", "EUR", locale="pt-BR")
        assert launched.locale == "pt-BR"
        assert (await client.end_session(launched.session_id)).ended
        assert (await client.end_sessions("p 1")).ended
        own = Ed25519PrivateKey.generate()
        public_key = own.public_key().public_bytes_raw().hex()
        added = await client.add_key(f"{casino.key_id}-2", "ed25519", public_key)
        lock = await gateway.locked(int(placed.round.id))
        seen = await client.countersign(placed.round.id, lock, time.time_ns() // 1_000_000, added.key_id, own)
        assert (seen.lock, seen.key_id) == (lock, added.key_id)
        assert [each.key_id for each in await client.keys()] == [casino.key_id, added.key_id]
        assert (await client.revoke_key(added.key_id)).revoked_ms is not None
        assert await client.set_networks(["127.0.0.0/8"]) == await client.networks() == ["127.0.0.0/8"]
        with pytest.raises(Refused, match="insufficient_funds") as refusal:
            await client.withdraw("p 1", "w-2", 10**9, "EUR")
        assert (refusal.value.code, refusal.value.problem.status) == ("insufficient_funds", 409)
    assert line.called - {"jwks"} == {each.name for each in CALLS if each.access == "signed"}


@pytest.mark.parametrize("player", [".", "..", "a.b", "a?b%2F#", "é ~"])
async def test_a_player_may_have_any_reference(gateway: Gateway, player: str) -> None:
    async with client_of(await gateway.casino(), Line(gateway)) as client:
        assert (await client.deposit(player, "d-1", 5_000, "EUR")).player == player
        assert [each.balance_minor for each in await client.balances(player)] == [5_000]


async def test_lost_answers_are_asked_for_again_and_the_money_moves_once(gateway: Gateway) -> None:
    line = Line(gateway, lost=3)
    async with client_of(await gateway.casino(), line) as client:
        assert (await client.deposit("p-1", "d-1", 5_000, "EUR")).balance_minor == 5_000
    assert line.sent == 4


async def test_a_server_that_never_answers_is_given_up(gateway: Gateway) -> None:
    line = Line(gateway, lost=99)
    async with client_of(await gateway.casino(), line, attempts=2) as client:
        with pytest.raises(Unanswered, match="2 attempts"):
            await client.deposit("p-1", "d-1", 5_000, "EUR")
    assert line.sent == 2


def test_a_client_that_never_gives_up_waits_no_longer_than_the_greatest_pause() -> None:
    assert [attempts.pause_s(attempt) for attempt in (100, 5_000)] == [attempts.PAUSE_MAX_S] * 2


async def test_a_secret_whose_answer_is_lost_is_not_asked_for_again(gateway: Gateway) -> None:
    casino = await gateway.casino()
    line = Line(gateway, lost=1)
    async with client_of(casino, line) as client:
        with pytest.raises(Unanswered):
            await client.add_key(f"{casino.key_id}-2", "hmac-sha256")
        assert line.sent == 1
        assert (await client.revoke_key(f"{casino.key_id}-2")).revoked_ms is not None
        assert (await client.add_key(f"{casino.key_id}-3", "hmac-sha256")).secret


async def test_an_answer_that_was_changed_on_its_way_is_not_believed(gateway: Gateway) -> None:
    async with client_of(await gateway.casino(), Line(gateway, spoilt=True)) as client:
        with pytest.raises(NotTheirAnswer):
            await client.deposit("p-1", "d-1", 5_000, "EUR")


async def test_many_calls_at_once_share_a_client(gateway: Gateway) -> None:
    async with client_of(await gateway.casino(ed25519=True), Line(gateway)) as client:
        await asyncio.gather(*(client.deposit("p-1", f"d-{n}", 1, "EUR") for n in range(8)))
        assert await client.balances("p-1") == [Balance("EUR", 8)]
        assert await client.call(dict, "GET", "/v1/wallets/p-1") == {
            "player": "p-1",
            "balances": [{"currency": "EUR", "balance_minor": 8}],
        }


async def test_an_answer_of_an_unknown_form_is_told_apart_from_a_refusal(gateway: Gateway) -> None:
    async with client_of(await gateway.casino(), Line(gateway)) as client:
        with pytest.raises(UnknownAnswer):
            await client.call(Balance, "GET", "/v1/rooms")


PAGE = b"<html>Sign in to the network \xff</html>"
CAPTIVE = [(200, PAGE), (302, b""), (400, PAGE), (403, b'{"error":"blocked"}'), (413, PAGE)]


class _FakePortal(httpx.AsyncBaseTransport):
    """Something on the way that answers in the server's place."""

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = status, body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self._answer[0], content=self._answer[1])


@pytest.mark.parametrize(("status", "body"), [(400, PAGE), (413, PAGE)])
async def test_what_a_proxy_answers_an_operator_is_no_answer(gateway: Gateway, status: int, body: bytes) -> None:
    casino = await gateway.casino()
    async with Client(ORIGIN, casino.key_id, casino.key, transport=_FakePortal(status, body)) as client:
        with pytest.raises(Unanswered):
            await client.deposit("p-1", "d-1", 5_000, "EUR")


@pytest.mark.parametrize(("status", "body"), CAPTIVE)
async def test_what_a_portal_answers_a_player_is_no_answer(status: int, body: bytes) -> None:
    with pytest.raises(Unanswered):
        await Player.enter(ORIGIN, "ticket", transport=_FakePortal(status, body))


async def test_a_server_that_a_player_does_not_reach_is_told_as_such() -> None:
    with pytest.raises(Unanswered):
        await Player.enter(f"http://127.0.0.1:{free_port()}", "ticket")


@pytest.mark.parametrize(
    ("name", "value"),
    [("Signature", "keno=:A:"), ("Signature", "keno=::"), ("Signature-Input", "created=" + "9" * 5_000 + ";")],
)
@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_a_malformed_signature_is_none(gateway: Gateway, ed25519: bool, name: str, value: str) -> None:
    class Spoiling(Line):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if "signature" in answer.headers:
                answer.headers[name] = re.sub(r"created=\d+;|keno=:.*:", value, answer.headers[name])
            return answer

    async with client_of(await gateway.casino(ed25519=ed25519), Spoiling(gateway)) as client:
        with pytest.raises(NotTheirAnswer):
            await client.rooms()


async def test_a_player_bets_and_its_tokens_are_renewed_before_they_expire(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room()
    line = Line(gateway)
    async with client_of(casino, line) as client:
        await client.deposit("p 1", "d-1", 5_000, "EUR")
        launched = await client.launch("p 1", "EUR")
    async with await Player.enter(ORIGIN, launched.ticket, transport=line) as player:
        assert player.session.session_id == launched.session_id
        first = await player.access_token()
        assert await player.access_token() == first
        placed = await player.place_bet(
            {"transaction_id": "t-1", "room": str(room.id), "picks": [1, 2], "stake_minor": 100}
        )
        assert (await player.bet(placed.bet_id)).receipt == placed.receipt
        player._renew_s = 0.0
        assert (await player.me()).balance_minor == 4_900
        assert "refresh" in line.called
        assert [each.kind async for each in player.history(limit=1)] == ["bet", "deposit"]
        await player.log_out()
        with pytest.raises(Refused, match="session_ended"):
            await player.me()
    with pytest.raises(Refused, match="ticket_invalid"):
        await Player.enter(ORIGIN, launched.ticket, transport=line)


async def test_a_player_whose_token_is_refused_gets_another_and_goes_on(gateway: Gateway) -> None:
    line = Line(gateway)
    async with client_of(await gateway.casino(), line) as client:
        ticket = (await client.launch("p 1", "EUR")).ticket
    async with await Player.enter(ORIGIN, ticket, transport=line) as player:
        first = await player.access_token()
        await gateway.platform.signing_keys.rotate("player-token", compromised=True, actor="test")
        told = await asyncio.gather(*(player.me() for _ in range(5)))
        assert {each.balance_minor for each in told} == {0}
        assert await player.access_token() != first
        before = line.sent
        await player.me()
        assert line.sent == before + 1


async def test_an_answer_that_was_broken_on_its_way_is_asked_for_again() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))

    transport = httpx.MockTransport(broken)
    async with Client(ORIGIN, "key", Ed25519PrivateKey.generate(), attempts=2, transport=transport) as client:
        with pytest.raises(Unanswered, match="2 attempts"):
            await client.rooms()
    with pytest.raises(Unanswered, match="the ticket"):
        await Player.enter(ORIGIN, "x", transport=transport)
