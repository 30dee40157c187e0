"""The bet lane behind its real server: the same answers as the gateway's routes, and what it does under bad clients."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import ED25519
from http_message_signatures.resolvers import MappingKeyResolver
from support.answers import check_answer
from support.databases import Database
from support.gateway import JSON, Casino, Gateway, open_gateway
from support.ports import free_port
from support.serving import HOST, served

from gateway.app import create_lane
from gateway.auth import guard
from gateway.desk import Capacity
from keno.bets.service import BetService, Placed
from keno.bets.store import BetRow
from keno.infra.redis import ScriptCaller
from keno.rounds.room_store import Room


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def gateway(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path, port: int
) -> AsyncIterator[Gateway]:
    async with open_gateway(database, owner_pool, redis_url, tmp_path, f"http://{HOST}:{port}") as opened:
        yield opened


@pytest.fixture
async def lane(gateway: Gateway, port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with served(create_lane(gateway.platform), port) as (client, _):
        yield client


@pytest.fixture
async def room(gateway: Gateway) -> Room:
    return await gateway.room()


async def casino_at(gateway: Gateway, client: httpx.AsyncClient, port: int, *, ed25519: bool = False) -> Casino:
    """An operator of the lane whose player p-1 has 100 EUR."""
    made = await gateway.casino("EUR", ed25519=ed25519)
    casino = Casino(made.operator, made.key_id, made.key, gateway.client, f"http://{HOST}:{port}")
    deposit = {"transaction_id": "d-1", "amount_minor": 10_000, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    return Casino(made.operator, made.key_id, made.key, client, casino.origin)


def bet(room: Room, /, **changes: Any) -> dict[str, Any]:
    asked = {"transaction_id": "t-1", "player": "p-1", "room": str(room.id), "picks": [8, 15, 42], "stake_minor": 100}
    return asked | {"currency": "EUR"} | changes


async def test_both_lanes_answer_byte_for_byte_the_same(
    gateway: Gateway, lane: httpx.AsyncClient, room: Room, port: int
) -> None:
    casino = await casino_at(gateway, lane, port)
    good = json.dumps(bet(room)).encode()
    assert (await casino.send("POST", "/v1/bets", good, JSON)).status_code == 201
    batch = json.dumps({"bets": [bet(room), bet(room, picks=[81]), bet(room, transaction_id="t-9", stake_minor=1)]})
    requests: list[tuple[str, str, bytes, dict[str, str], dict[str, Any]]] = [
        ("POST", "/v1/bets", good, JSON, {}),
        ("POST", "/v1/bets?x=%31", good, JSON, {}),
        ("POST", "/v1/bets", good, JSON, {"nonce": "again"}),
        ("POST", "/v1/bets", good, {}, {}),
        ("POST", "/v1/bets", b"{", JSON, {}),
        ("POST", "/v1/bets", json.dumps(bet(room, extra=1)).encode(), JSON, {}),
        ("POST", "/v1/bets", json.dumps(bet(room, picks=[1], transaction_id="t-1")).encode(), JSON, {}),
        ("POST", "/v1/bets", good, JSON, {"created_s": 1}),
        ("POST", "/v1/bets", good, JSON, {"key_id": "nobody"}),
        ("POST", "/v1/bets", good, JSON | {"Host": "evil.test"}, {}),
        ("POST", "/v1/bets", good, JSON | {"Signature": "sig=:AAAA:"}, {}),
        ("POST", "/v1/bets", b" " * (64 * 1024 + 1), JSON, {}),
        ("POST", "/v1/bets/batch", batch.encode(), JSON, {}),
        ("POST", "/v1/bets/batch", b'{"bets":[]}', JSON, {}),
        ("POST", "/v1/bets/batch", b" " * (512 * 1024 + 1), JSON, {}),
        ("PUT", "/v1/bets/batch", b"", {}, {}),
        ("OPTIONS", "/v1/bets/batch", b"", {}, {}),
        ("GET", "/healthz", b"", {}, {}),
        ("GET", "/readyz", b"", {}, {}),
    ]
    for method, path, body, headers, changes in requests:
        signed = casino.headers(method, path, body, **changes) | headers
        answers = []
        for client in (gateway.client, lane):
            # The nonce is one of the things that must be the same: forget that the other lane has seen it.
            for key in [each async for each in gateway.platform.redis.scan_iter("keno:*")]:
                await gateway.platform.redis.delete(key)
            answers.append(_comparable(await client.request(method, path, content=body, headers=signed)))
        assert answers[0] == answers[1], (method, path, body[:60], headers)


def _comparable(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer but what differs from second to second, and who serves."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("date", "server", "connection", "signature")
    }
    if "signature-input" in headers:
        headers["signature-input"] = headers["signature-input"].partition(";created=")[0]
    return answer.status_code, re.sub(rb"created is \d+ ms", b"created is old", answer.content), headers


async def test_the_stock_library_places_a_bet_and_checks_the_answer(
    gateway: Gateway, lane: httpx.AsyncClient, room: Room, port: int
) -> None:
    casino = await casino_at(gateway, lane, port, ed25519=True)
    keys = MappingKeyResolver(public_keys={}, private_keys={casino.key_id: casino.key})  # type: ignore[dict-item]
    body = json.dumps(bet(room)).encode()
    request = lane.build_request("POST", "/v1/bets", content=body, headers=JSON)
    HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=keys).sign(
        request,
        key_id=casino.key_id,
        nonce=secrets.token_urlsafe(16),
        covered_component_ids=("@method", "@target-uri", "content-digest"),
        body=body,
    )
    answer = await lane.send(request)
    assert answer.status_code == 201, answer.text
    check_answer(answer, casino.key_id, casino.key, (await gateway.client.get("/.well-known/jwks.json")).json())


async def raw(port: int, *pieces: bytes, wait_s: float = 0.0) -> bytes:
    """What the server answers to bytes as they are; empty where it closes the connection without a word."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(wait_s)
        return await asyncio.wait_for(reader.readline(), 5)
    except ConnectionError:
        return b""
    finally:
        # Not closed: that would wait until all is sent, which nobody reads any more.
        writer.transport.abort()


MALFORMED: Sequence[bytes] = (
    b"nonsense\r\n\r\n",
    b"POST /v1/bets HTTP/9.9\r\n\r\n",
    b"POST /v1/bets HTTP/1.1\r\n\r\n",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nSignature: \xff\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1%2Fbets HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/bets?%ff HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{}",
    b"POST //v1/bets HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{}",
    b"POST http://evil/v1/bets HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/bets HTTP/1.1\r\nHost: {host}\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"BREW /v1/bets HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"POST /%ff HTTP/1.1\r\nHost: {host}\r\n\r\n",
)


async def test_no_malformed_request_is_a_server_error_or_ends_the_lane(lane: httpx.AsyncClient, port: int) -> None:
    for request in MALFORMED:
        status = await raw(port, request.replace(b"{host}", f"{HOST}:{port}".encode()))
        assert status == b"" or 400 <= int(status.split()[1]) < 500, request[:80]
    assert (await lane.get("/healthz")).status_code == 200


async def test_an_endless_body_is_cut_off_at_the_limit(lane: httpx.AsyncClient, port: int) -> None:
    head = f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    status = await raw(port, head, *[b"400\r\n" + b"x" * 1024 + b"\r\n"] * 65)
    assert status.split()[1] == b"413"


async def test_a_huge_body_is_refused_by_its_announcement_or_on_its_way(lane: httpx.AsyncClient, port: int) -> None:
    head = f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 10000000\r\n\r\n".encode()
    for sent in ([head], [head, b"x" * 10_000_000]):
        status = await raw(port, *sent)
        # What was still being sent can break the connection before the answer is read.
        assert status == b"" or status.split()[1] == b"413"
    assert (await lane.get("/healthz")).status_code == 200


async def test_requests_sent_before_the_answer_are_answered_in_their_order(lane: httpx.AsyncClient, port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    host = f"Host: {HOST}:{port}\r\n"
    writer.write(
        f"GET /healthz HTTP/1.1\r\n{host}\r\n"
        f"POST /v1/bets HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\n{{}}"
        f"GET /v1/bets HTTP/1.1\r\n{host}\r\n"
        f"GET /nothing HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode()
    )
    answered = await asyncio.wait_for(reader.read(), 10)
    assert re.findall(rb"HTTP/1\.1 ([0-9]{3})", answered) == [b"200", b"401", b"405", b"404"]
    writer.close()


async def test_a_body_that_does_not_arrive_is_not_waited_for_and_others_are_served_meanwhile(
    gateway: Gateway, room: Room, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_READ_S", 0.3)
    async with served(create_lane(gateway.platform), port) as (client, _):
        casino = await casino_at(gateway, client, port)
        head = f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 10\r\n\r\n{{".encode()
        stalled = [asyncio.create_task(raw(port, head)) for _ in range(200)]
        placed = await casino.post("/v1/bets", bet(room))
        assert placed.status_code == 201
        assert {status.split()[1] for status in await asyncio.gather(*stalled)} == {b"408"}


async def test_connections_that_send_nothing_or_go_away_disturb_nobody(
    gateway: Gateway, lane: httpx.AsyncClient, room: Room, port: int
) -> None:
    casino = await casino_at(gateway, lane, port)
    silent = [await asyncio.open_connection(HOST, port) for _ in range(100)]
    for _ in range(20):
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 10\r\n\r\n{{".encode())
        await writer.drain()
        writer.transport.abort()
    assert (await casino.post("/v1/bets", bet(room))).status_code == 201
    for _, writer in silent:
        writer.close()


async def test_more_than_a_process_can_hold_is_refused_at_once(gateway: Gateway, room: Room, port: int) -> None:
    app = create_lane(gateway.platform)
    app._desk.capacity = Capacity(requests_max=2)
    async with served(app, port) as (client, _):
        casino = await casino_at(gateway, client, port)
        head = f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 10\r\n\r\n{{".encode()
        held = [asyncio.create_task(raw(port, head)) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused = await casino.post("/v1/bets", bet(room))
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        for each in held:
            each.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        for _ in range(100):
            placed = await casino.post("/v1/bets", bet(room))
            if placed.status_code == 201:
                break
            await asyncio.sleep(0.05)
        assert placed.status_code == 201


async def test_without_redis_no_bet_is_taken_and_reading_goes_on(
    gateway: Gateway, lane: httpx.AsyncClient, room: Room, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    casino = await casino_at(gateway, lane, port)
    reader = Casino(casino.operator, casino.key_id, casino.key, gateway.client, casino.origin)
    stored = await gateway.stored()

    async def away(*_: object) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(ScriptCaller, "call", away)
        for path, asked in (("/v1/bets", bet(room)), ("/v1/bets/batch", {"bets": [bet(room)]})):
            refused = await casino.post(path, asked)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        read = await reader.get("/v1/wallets/p-1")
        assert read.json()["balances"] == [{"currency": "EUR", "balance_minor": 10_000}]
        assert "ratelimit" not in read.headers
    assert await gateway.stored() == stored
    assert (await casino.post("/v1/bets", bet(room))).status_code == 201


async def test_a_bet_that_is_on_its_way_is_answered_before_the_lane_stops(
    gateway: Gateway, room: Room, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, go_on, place = asyncio.Event(), asyncio.Event(), BetService._place_batch

    async def slowly(service: BetService, bets: Sequence[BetRow]) -> list[Placed]:
        under_way.set()
        await go_on.wait()
        return await place(service, bets)

    monkeypatch.setattr(BetService, "_place_batch", slowly)
    gateway.platform.bets._batcher._send = slowly.__get__(gateway.platform.bets)
    async with served(create_lane(gateway.platform), port) as (client, stop):
        casino = await casino_at(gateway, client, port)
        placing = asyncio.create_task(casino.post("/v1/bets", bet(room)))
        await under_way.wait()
        stop.set()
        await asyncio.sleep(0.1)
        go_on.set()
        assert (await placing).status_code == 201


async def test_the_gateway_and_the_lane_share_nonces(
    gateway: Gateway, lane: httpx.AsyncClient, room: Room, port: int
) -> None:
    casino = await casino_at(gateway, lane, port)
    body = json.dumps(bet(room)).encode()
    signed = casino.headers("POST", "/v1/bets", body, created_s=int(time.time())) | JSON
    assert (await lane.post("/v1/bets", content=body, headers=signed)).status_code == 201
    again = await gateway.client.post("/v1/bets", content=body, headers=signed)
    assert (again.status_code, again.json()["code"]) == (401, "nonce_replayed")


async def test_the_lane_has_bets_and_health_and_nothing_else(gateway: Gateway, lane: httpx.AsyncClient) -> None:
    assert (await lane.get("/readyz")).json() == {"status": "ready"}
    for path in ("/", "/v1/bets/1", "/v1/rooms", "/v1/bets/", "/v1/bets/batch/"):
        answer = await lane.post(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    wrong = await lane.get("/v1/bets")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST, OPTIONS")
