"""An operator's engineer with a stock RFC 9421 library: every signed call goes through, and every answer checks."""

from __future__ import annotations

import json
import secrets

import httpx
import pytest
from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import ED25519, HMAC_SHA256
from http_message_signatures.resolvers import MappingKeyResolver
from support.answers import check_answer
from support.gateway import ORIGIN, Casino, Gateway

from gateway.openapi.calls import CALLS
from keno.identity.signature import HmacSecret

COMPONENTS = ("@method", "@target-uri", "content-digest")


async def call(casino: Casino, method: str, target: str, body: object = None) -> httpx.Response:
    """One call, signed by the library alone."""
    key = casino.key.secret if isinstance(casino.key, HmacSecret) else casino.key
    signer = HTTPMessageSigner(
        signature_algorithm=HMAC_SHA256 if isinstance(key, bytes) else ED25519,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={casino.key_id: key}),
    )
    content = b"" if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = httpx.Request(method, ORIGIN + target, content=content, headers=headers)
    signer.sign(
        request,
        key_id=casino.key_id,
        nonce=secrets.token_urlsafe(16),
        label="sig",
        body=content,
        covered_component_ids=COMPONENTS,
    )
    return await casino.client.send(request)


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_a_stock_client_calls_every_endpoint_of_operators(gateway: Gateway, ed25519: bool) -> None:
    casino, room = await gateway.casino(ed25519=ed25519), await gateway.room()
    jwks = (await gateway.client.get("/.well-known/jwks.json")).json()
    called = set()

    async def done(name: str, target: str, body: object = None) -> httpx.Response:
        method = next(each.method for each in CALLS if each.name == name)
        answer = await call(casino, method, target, body)
        assert answer.is_success, (name, answer.text)
        check_answer(answer, casino.key_id, casino.key, jwks)
        called.add(name)
        return answer

    money = {"amount_minor": 1_000, "currency": "EUR"}
    bet = {"player": "p-1", "room": str(room.id), "picks": [4, 8], "stake_minor": 100, "currency": "EUR"}
    await done("deposit", "/v1/wallets/p-1/deposits", money | {"transaction_id": "d-1"})
    placed = (await done("place_bet", "/v1/bets", bet | {"transaction_id": "t-1"})).json()
    await done("place_bets", "/v1/bets/batch", {"bets": [bet | {"transaction_id": "t-2"}]})
    await done("bet", f"/v1/bets/{placed['bet_id']}")
    limits = {"currency": "EUR", "round_bets_max": 9, "round_stake_max_minor": None}
    await done("limit_player", "/v1/players/p-1/limits", limits)
    await done("rooms", "/v1/rooms")
    await done("room", f"/v1/rooms/{room.id}")
    await done("rounds", f"/v1/rooms/{room.id}/rounds?limit=1")
    await done("round", f"/v1/rounds/{placed['round']['id']}")
    await done("withdraw", "/v1/wallets/p-1/withdrawals", money | {"amount_minor": 1, "transaction_id": "w-1"})
    await done("roll_back", "/v1/wallet-transactions/w-1/rollback", {"transaction_id": "r-1"})
    await done("balances", "/v1/wallets/p-1")
    await done("statement", "/v1/wallet-transactions?player=p-1&currency=EUR&limit=2")
    launched = (await done("launch", "/v1/sessions", {"player": "p-1", "currency": "EUR"})).json()
    await done("end_session", f"/v1/sessions/{launched['session_id']}")
    await done("end_sessions", "/v1/players/p-1/sessions")
    await done("add_key", "/v1/keys", {"key_id": f"{casino.key_id}-2", "algorithm": "hmac-sha256"})
    await done("keys", "/v1/keys")
    await done("revoke_key", f"/v1/keys/{casino.key_id}-2")
    await done("set_networks", "/v1/networks", {"networks": []})
    await done("networks", "/v1/networks")
    assert called == {each.name for each in CALLS if each.access == "signed"}
