"""The keys of our tokens: made, wrapped, rotated and published, seen by every gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from support.gateway import Casino, Gateway
from support.players import Player, launch, play, problem

from keno.identity import signing_keys
from keno.identity.signing_keys import CACHE_MS, RETIRED_MS, SigningKeys
from keno.identity.tokens import ACCESS_TOKEN_S
from keno.infra import keywrap

ME = "/v1/player/me"
PURPOSE = "player-token"


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


def kid_of(token: str) -> str:
    header = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


async def published(gateway: Gateway) -> dict[str, dict[str, Any]]:
    answer = await gateway.client.get("/.well-known/jwks.json")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=60")
    lasting = {gateway.platform.identity.response_key.id, gateway.platform.receipt_key.id}
    keys = {key["kid"]: key for key in answer.json()["keys"]}
    assert lasting < set(keys)
    return {kid: key for kid, key in keys.items() if kid not in lasting}


async def states(gateway: Gateway) -> dict[str, str]:
    return {key.kid: key.state for key in await gateway.platform.signing_keys.listed()}


async def test_a_stock_library_checks_a_token_with_the_published_keys(gateway: Gateway, casino: Casino) -> None:
    player = await play(casino)
    keys = (await gateway.client.get("/.well-known/jwks.json")).json()
    decoded = jwt.decode(player.access_token, KeySet.import_key_set(keys), algorithms=["Ed25519"])
    assert decoded.claims["sid"] == player.session["session_id"]
    assert decoded.claims["operator"] == str(casino.operator.id)
    assert all(set(key) == {"kty", "crv", "kid", "use", "alg", "x"} for key in keys["keys"])


async def test_the_next_key_is_published_before_it_signs_and_the_old_one_after(
    gateway: Gateway, casino: Casino
) -> None:
    player = await play(casino)
    before = await states(gateway)
    old = kid_of(player.access_token)
    (following,) = (kid for kid, state in before.items() if state == "next")
    assert before == {old: "current", following: "next"}
    assert set(await published(gateway)) == set(before)

    assert await gateway.platform.signing_keys.rotate(PURPOSE, actor="test") == following
    after = await states(gateway)
    assert (after[old], after[following], len(after)) == ("retired", "current", 3)
    assert set(await published(gateway)) == set(after)
    assert (await player.get(ME)).status_code == 200
    await player.refresh()
    assert kid_of(player.access_token) == following
    assert (await player.get(ME)).status_code == 200


async def test_a_retired_key_goes_when_the_last_token_it_signed_has_expired(gateway: Gateway, casino: Casino) -> None:
    assert RETIRED_MS > ACCESS_TOKEN_S * 1000 + CACHE_MS
    player = await play(casino)
    await gateway.platform.signing_keys.rotate(PURPOSE, actor="test")
    age = "UPDATE signing_keys SET changed_ms = now_ms() - $1 WHERE state = 'retired'"
    await gateway.owner_pool.execute(age, RETIRED_MS + 1)
    gateway.platform.signing_keys._loaded = None
    assert kid_of(player.access_token) not in await published(gateway)
    assert problem(await player.get(ME)) == (401, "token_invalid")


async def test_a_compromised_key_is_believed_no_more(gateway: Gateway, casino: Casino) -> None:
    player = await play(casino)
    await gateway.platform.signing_keys.rotate(PURPOSE, compromised=True, actor="test")
    assert kid_of(player.access_token) not in await published(gateway)
    assert problem(await player.get(ME)) == (401, "token_invalid")
    await player.refresh()
    assert (await player.get(ME)).status_code == 200


async def test_a_private_half_is_wrapped_for_its_own_row_and_erased_when_its_key_stops(
    gateway: Gateway, casino: Casino
) -> None:
    await play(casino)
    rows = await gateway.owner_pool.fetch("SELECT kid, private_key FROM signing_keys")
    opened = {
        kid: keywrap.unwrap(gateway.platform.keys.platform, wrapped, f"keno:signing-key:{PURPOSE}:{kid}".encode())
        for kid, wrapped in rows
    }
    assert all(len(raw) == 32 and raw not in wrapped for raw, (_, wrapped) in zip(opened.values(), rows, strict=True))
    await gateway.platform.signing_keys.rotate(PURPOSE, actor="test")
    row = await gateway.owner_pool.fetchrow("SELECT private_key FROM signing_keys WHERE state = 'retired'")
    assert row is not None
    assert row["private_key"] is None


async def test_a_key_of_another_purpose_signs_no_token(gateway: Gateway, casino: Casino) -> None:
    player, keys = await play(casino), gateway.platform.signing_keys
    other = await keys.current("wallet-callback", time.time_ns() // 1_000_000)
    assert other.kid in await published(gateway)
    payload = player.access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    for kid in (other.kid, kid_of(player.access_token)):
        header = {"alg": "Ed25519", "kid": kid, "typ": "at+jwt"}
        forged = jwt.encode(header, claims, other.key, algorithms=["Ed25519"])
        assert problem(await Player(player.client, forged, "", {}).get(ME)) == (401, "token_invalid")


async def test_gateways_that_start_together_make_one_current_and_one_next_key(pool: asyncpg.Pool) -> None:
    rings = [SigningKeys(pool, bytes(32)) for _ in range(5)]
    made = await asyncio.gather(*(ring.current(PURPOSE, 0) for ring in rings))
    assert len({key.kid for key in made}) == 1
    assert sorted(key.state for key in await rings[0].listed()) == ["current", "next"]


async def test_rotations_at_once_leave_one_current_and_one_next_key(pool: asyncpg.Pool) -> None:
    ring = SigningKeys(pool, bytes(32))
    await asyncio.gather(*(ring.rotate(PURPOSE, actor="test") for _ in range(4)))
    found = sorted(key.state for key in await ring.listed())
    assert found == ["current", "next", "retired", "retired", "retired"]


async def test_another_gateway_sees_a_rotation_once_its_cache_is_old(pool: asyncpg.Pool) -> None:
    here, there = SigningKeys(pool, bytes(32)), SigningKeys(pool, bytes(32))
    old = await there.current(PURPOSE, 0)
    new = await here.rotate(PURPOSE, actor="test")
    assert (await there.current(PURPOSE, CACHE_MS - 1)).kid == old.kid
    # What the other one still signs with the old key is believed here, and what is signed here is believed there.
    assert {old.kid, new} <= set(await here.verifying(PURPOSE, 0))
    assert new in await there.verifying(PURPOSE, CACHE_MS - 1)
    assert (await there.current(PURPOSE, CACHE_MS)).kid == new


async def test_a_rotation_is_in_the_audit_trail(gateway: Gateway) -> None:
    kid = await gateway.platform.signing_keys.rotate(PURPOSE, actor="alice")
    row = await gateway.owner_pool.fetchrow("SELECT actor, action, subject, detail FROM audit_logs")
    assert row is not None
    assert tuple(row)[:3] == ("alice", "signing_key.rotated", PURPOSE)
    assert json.loads(row["detail"])["after"] == {"kid": kid, "compromised": False}


async def test_many_who_ask_at_once_cost_one_query(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    await launch(casino)
    keys, asked = gateway.platform.signing_keys, 0
    await keys.current(PURPOSE, 0)
    real: Callable[..., Any] = signing_keys.store.signing_keys

    async def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await real(*arguments)

    monkeypatch.setattr(signing_keys.store, "signing_keys", counted)
    await asyncio.gather(*(keys.verifying(PURPOSE, CACHE_MS) for _ in range(50)))
    assert asked == 1
