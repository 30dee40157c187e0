"""An operator's engineer with a stock RFC 9421 library, of PyPI or npm: calls go through, and answers check."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import ED25519, HMAC_SHA256
from http_message_signatures.resolvers import MappingKeyResolver
from support.answers import check_answer
from support.databases import Database
from support.gateway import Casino, Gateway, open_gateway
from support.npm_client import npm_client
from support.ports import free_port
from support.serving import HOST, served

from gateway.app import create_app
from gateway.openapi.calls import CALLS
from keno.identity.signature import HmacSecret

COMPONENTS = ("@method", "@target-uri", "content-digest")
SIGNED = {call.name: call for call in CALLS if call.access == "signed"}

Done = Callable[..., Awaitable[Any]]
"""Makes the call of a name with a target and a body; gives what the body of the answer says."""


@pytest.fixture
async def served_gateway(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    port = free_port()
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path, f"http://{HOST}:{port}") as gateway,
        served(create_app(gateway.platform), port) as (client, _),
    ):
        yield gateway, client


async def make_every_call(done: Done, gateway: Gateway, room: UUID, key_id: str) -> None:
    """Every call that is signed."""
    money = {"amount_minor": 1_000, "currency": "EUR"}
    bet = {"player": "p-1", "room": str(room), "picks": [4, 8], "stake_minor": 100, "currency": "EUR"}
    await done("deposit", "/v1/wallets/p-1/deposits", money | {"transaction_id": "d-1"})
    placed = await done("place_bet", "/v1/bets", bet | {"transaction_id": "t-1"})
    await done("place_bets", "/v1/bets/batch", {"bets": [bet | {"transaction_id": "t-2"}]})
    await done("bet", f"/v1/bets/{placed['bet_id']}")
    await done("bets", f"/v1/bets?player=p-1&round={placed['round']['id']}&limit=1")
    limits = {"currency": "EUR", "round_bets_max": 9, "round_stake_max_minor": None}
    await done("limit_player", "/v1/players/p-1/limits", limits)
    await done("rooms", "/v1/rooms")
    await done("room", f"/v1/rooms/{room}")
    await done("rounds", f"/v1/rooms/{room}/rounds?limit=1")
    await done("round", f"/v1/rounds/{placed['round']['id']}")
    await done("withdraw", "/v1/wallets/p-1/withdrawals", money | {"amount_minor": 1, "transaction_id": "w-1"})
    await done("roll_back", "/v1/wallet-transactions/w-1/rollback", {"transaction_id": "r-1"})
    await done("balances", "/v1/wallets/p-1")
    await done("statement", "/v1/wallet-transactions?player=p-1&currency=EUR&limit=2")
    await done("revenue", "/v1/reports/revenue?from=2026-11-01&to=2026-11-01T13:00:00Z&group_by=hour")
    launched = await done("launch", "/v1/sessions", {"player": "p-1", "currency": "EUR"})
    await done("end_session", f"/v1/sessions/{launched['session_id']}")
    await done("end_sessions", "/v1/players/p-1/sessions")
    own = Ed25519PrivateKey.generate()
    public_key = own.public_key().public_bytes_raw().hex()
    await done("add_key", "/v1/keys", {"key_id": f"{key_id}-2", "algorithm": "ed25519", "public_key": public_key})
    lock, seen_ms = await gateway.locked(int(placed["round"]["id"])), time.time_ns() // 1_000_000
    signature = own.sign(b"keno1:seen" + bytes.fromhex(lock) + seen_ms.to_bytes(8, "big")).hex()
    seen = {"lock": lock, "seen_ms": seen_ms, "key_id": f"{key_id}-2", "signature": signature}
    await done("countersign", f"/v1/rounds/{placed['round']['id']}/seen", seen)
    await done("keys", "/v1/keys")
    await done("revoke_key", f"/v1/keys/{key_id}-2")
    await done("set_networks", "/v1/networks", {"networks": []})
    await done("networks", "/v1/networks")


async def call(casino: Casino, client: httpx.AsyncClient, method: str, target: str, body: object) -> httpx.Response:
    """One call, signed by the Python library alone."""
    key = casino.key.secret if isinstance(casino.key, HmacSecret) else casino.key
    signer = HTTPMessageSigner(
        signature_algorithm=HMAC_SHA256 if isinstance(key, bytes) else ED25519,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={casino.key_id: key}),
    )
    content = b"" if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = client.build_request(method, target, content=content, headers=headers)
    signer.sign(
        request,
        key_id=casino.key_id,
        nonce=secrets.token_urlsafe(16),
        label="sig",
        body=content,
        covered_component_ids=COMPONENTS,
    )
    return await client.send(request)


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_a_stock_python_client_calls_every_endpoint_of_operators(
    served_gateway: tuple[Gateway, httpx.AsyncClient], ed25519: bool
) -> None:
    gateway, client = served_gateway
    casino, room = await gateway.casino(ed25519=ed25519), await gateway.room(period_ms=4_000, lock_lead_ms=500)
    jwks = (await client.get("/.well-known/jwks.json")).json()
    called = set()

    async def done(name: str, target: str, body: object = None) -> Any:
        answer = await call(casino, client, SIGNED[name].method, target, body)
        assert answer.status_code == SIGNED[name].status, (name, answer.text)
        check_answer(answer, casino.key_id, casino.key, jwks)
        called.add(name)
        return answer.json()

    await make_every_call(done, gateway, room.id, casino.key_id)
    assert called == set(SIGNED)


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_a_stock_npm_client_calls_every_endpoint_of_operators(
    served_gateway: tuple[Gateway, httpx.AsyncClient], ed25519: bool
) -> None:
    gateway, client = served_gateway
    casino, room = await gateway.casino(ed25519=ed25519), await gateway.room(period_ms=4_000, lock_lead_ms=500)
    called = set()
    async with npm_client(str(client.base_url).rstrip("/"), casino.key_id, casino.key) as stock:

        async def done(name: str, target: str, body: object = None) -> Any:
            answer = await stock.call(SIGNED[name].method, target, body)
            assert (answer.status, answer.fault) == (SIGNED[name].status, None), (name, answer)
            called.add(name)
            return json.loads(answer.body)

        await make_every_call(done, gateway, room.id, casino.key_id)
        refused = await stock.call("GET", "/v1/bets/9999999")
        assert (refused.status, refused.fault, json.loads(refused.body)["code"]) == (404, None, "bet_not_found")
    assert called == set(SIGNED)


async def test_the_npm_client_does_not_believe_an_answer_of_another_key(
    served_gateway: tuple[Gateway, httpx.AsyncClient],
) -> None:
    gateway, client = served_gateway
    casino, stranger = await gateway.casino(), await gateway.casino()
    async with npm_client(str(client.base_url).rstrip("/"), casino.key_id, stranger.key) as stock:
        answer = await stock.call("GET", "/v1/rooms")
        assert answer.status == 401
        assert answer.fault is not None
