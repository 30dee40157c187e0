"""Operators manage their own keys and networks over the API that those open."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.gateway import Casino, Gateway
from support.keys import NOT_KEYS
from support.players import problem

from gateway.app import create_app
from keno.identity.signature import HmacSecret
from keno.infra.cache import AGE_MS

KEYS = "/v1/keys"
NETWORKS = "/v1/networks"


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


async def add_hmac(casino: Casino, key_id: str) -> Casino:
    """The casino with a second key, which it signs with."""
    answer = await casino.post(KEYS, {"key_id": key_id, "algorithm": "hmac-sha256"})
    assert answer.status_code == 201, answer.text
    return replace(casino, key_id=key_id, key=HmacSecret(bytes.fromhex(answer.json()["secret"])))


async def listed(casino: Casino) -> dict[str, bool]:
    """The casino's keys and whether they are active."""
    answer = await casino.get(KEYS)
    assert "secret" not in answer.text
    return {key["key_id"]: key["revoked_ms"] is None for key in answer.json()["keys"]}


async def test_a_shared_secret_is_made_shown_once_and_signs(casino: Casino) -> None:
    second = await add_hmac(casino, "second")
    assert await listed(second) == {casino.key_id: True, "second": True}


async def test_a_public_key_is_added_and_signs_and_the_same_again_is_the_same(casino: Casino) -> None:
    private = Ed25519PrivateKey.generate()
    body = {
        "key_id": "mine",
        "algorithm": "ed25519",
        "public_key": private.public_key().public_bytes_raw().hex(),
    }
    added = await casino.post(KEYS, body)
    assert (added.status_code, added.json()["algorithm"]) == (201, "ed25519")
    again = await casino.post(KEYS, body)
    assert (again.status_code, again.json()) == (201, added.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert (await replace(casino, key_id="mine", key=private).get(KEYS)).status_code == 200
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert problem(await casino.post(KEYS, body | {"public_key": other})) == (409, "key_limit")
    await casino.send("DELETE", f"{KEYS}/mine")
    for taken in (body, body | {"public_key": other}):
        assert problem(await casino.post(KEYS, taken)) == (409, "key_exists")


async def test_a_rotation_leaves_no_moment_without_a_key(casino: Casino) -> None:
    second = await add_hmac(casino, "second")
    revoked = await second.send("DELETE", f"{KEYS}/{casino.key_id}")
    assert revoked.status_code == 200
    assert revoked.json()["revoked_ms"] is not None
    assert (await second.send("DELETE", f"{KEYS}/{casino.key_id}")).json() == revoked.json()
    await asyncio.sleep(AGE_MS / 1000)
    assert problem(await casino.get(KEYS)) == (401, "key_revoked")
    third = await add_hmac(second, "third")
    assert await listed(third) == {casino.key_id: False, "second": True, "third": True}


async def test_the_last_key_stays(casino: Casino) -> None:
    assert problem(await casino.send("DELETE", f"{KEYS}/{casino.key_id}")) == (409, "last_key")
    assert await listed(casino) == {casino.key_id: True}


async def test_two_keys_that_revoke_each_other_leave_one(casino: Casino) -> None:
    second = await add_hmac(casino, "second")
    answers = await asyncio.gather(
        casino.send("DELETE", f"{KEYS}/second"), second.send("DELETE", f"{KEYS}/{casino.key_id}")
    )
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert won.status_code == 200, won.text
    # Who comes a moment later is refused for its key already.
    assert problem(lost) in [(409, "last_key"), (401, "key_revoked")]
    assert sum((await listed(casino if answers[0].status_code == 200 else second)).values()) == 1


async def test_there_are_two_active_keys_at_most(casino: Casino) -> None:
    second = await add_hmac(casino, "second")
    public_key = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    for algorithm in ({"algorithm": "hmac-sha256"}, {"algorithm": "ed25519", "public_key": public_key}):
        assert problem(await second.post(KEYS, {"key_id": "third"} | algorithm)) == (409, "key_limit")
    assert set(await listed(casino)) == {casino.key_id, "second"}


@pytest.mark.parametrize(("status", "code", "body"), NOT_KEYS)
async def test_what_is_no_key_is_refused_and_adds_none(
    casino: Casino, status: int, code: str, body: dict[str, Any]
) -> None:
    assert problem(await casino.post(KEYS, body)) == (status, code)
    assert await listed(casino) == {casino.key_id: True}


async def test_keys_of_another_operator_do_not_exist(gateway: Gateway, casino: Casino) -> None:
    other = await gateway.casino()
    for key_id in (other.key_id, "nobody", "a:b"):
        assert problem(await casino.send("DELETE", f"{KEYS}/{key_id}")) == (404, "key_not_found")
    assert problem(await casino.post(KEYS, {"key_id": other.key_id, "algorithm": "hmac-sha256"})) == (409, "key_exists")
    assert await listed(other) == {other.key_id: True}
    assert await listed(casino) == {casino.key_id: True}


async def test_changes_over_the_api_are_in_the_audit_trail_under_the_key_that_signed(
    gateway: Gateway, casino: Casino
) -> None:
    second = await add_hmac(casino, "second")
    await second.send("DELETE", f"{KEYS}/{casino.key_id}")
    await second.put(NETWORKS, {"networks": ["127.0.0.0/8"]})
    rows = await gateway.owner_pool.fetch("SELECT actor, action, subject FROM admin_actions ORDER BY id OFFSET 2")
    name = casino.operator.name
    assert [tuple(row.values()) for row in rows] == [
        (f"operator {name}, key {casino.key_id}", "key.added", "second"),
        (f"operator {name}, key second", "key.revoked", casino.key_id),
        (f"operator {name}, key second", "operator.networks_set", str(casino.operator.id)),
    ]


def calling_from(gateway: Gateway, casino: Casino, address: str, proxies_count: int = 0) -> Casino:
    """The casino behind a connection from this address."""
    platform = replace(gateway.platform, config=replace(gateway.platform.config, proxies_count=proxies_count))
    transport = httpx.ASGITransport(app=create_app(platform), client=(address, 1))  # type: ignore[arg-type]
    return replace(casino, client=httpx.AsyncClient(transport=transport, base_url=casino.origin))


async def test_an_operator_with_networks_calls_from_there_only(gateway: Gateway, casino: Casino) -> None:
    assert (await casino.get(NETWORKS)).json() == {"networks": []}
    asked = {"networks": ["203.0.113.0/24", "127.0.0.1", "203.0.113.0/24"]}
    kept = {"networks": ["127.0.0.1/32", "203.0.113.0/24"]}
    assert (await casino.put(NETWORKS, asked)).json() == kept
    await asyncio.sleep(AGE_MS / 1000)
    for address, status in [("127.0.0.1", 200), ("203.0.113.9", 200), ("198.51.100.1", 403)]:
        there = calling_from(gateway, casino, address)
        answer = await there.get(NETWORKS)
        assert answer.status_code == status, address
        if status == 403:
            assert problem(answer) == (403, "address_not_allowed")
        await there.client.aclose()
    assert (await (await gateway.casino()).get(NETWORKS)).status_code == 200
    assert (await casino.put(NETWORKS, {"networks": []})).json() == {"networks": []}


async def test_behind_a_trusted_proxy_it_is_the_callers_address_that_counts(gateway: Gateway, casino: Casino) -> None:
    await gateway.owner_pool.execute("UPDATE operators SET networks = '{203.0.113.0/24}'")
    behind = calling_from(gateway, casino, "10.0.0.1", proxies_count=1)
    for forwarded_for, status in [
        ("203.0.113.9", 200),
        ("198.51.100.1, 203.0.113.9", 200),
        ("203.0.113.9, 198.51.100.1", 403),
        ("", 403),
    ]:
        answer = await behind.send("GET", NETWORKS, b"", {"X-Forwarded-For": forwarded_for})
        assert answer.status_code == status, forwarded_for
    direct = calling_from(gateway, casino, "198.51.100.1")
    assert (await direct.send("GET", NETWORKS, b"", {"X-Forwarded-For": "203.0.113.9"})).status_code == 403
    for each in (behind, direct):
        await each.client.aclose()


async def test_nobody_locks_itself_out_with_its_networks(casino: Casino) -> None:
    answer = await casino.put(NETWORKS, {"networks": ["203.0.113.0/24"]})
    assert problem(answer) == (409, "own_address_left_out")
    for networks in (["x"], ["127.0.0.1/8"], [f"10.0.{number}.0/24" for number in range(65)], [7], "127.0.0.1"):
        assert problem(await casino.put(NETWORKS, {"networks": networks})) == (422, "invalid_request"), networks
    assert (await casino.get(NETWORKS)).json() == {"networks": []}


async def test_a_wrong_signature_is_told_before_a_wrong_address(gateway: Gateway, casino: Casino) -> None:
    await gateway.owner_pool.execute("UPDATE operators SET networks = '{203.0.113.0/24}'")
    answer = await casino.send("GET", NETWORKS, b"", key=HmacSecret(bytes(32)))
    assert problem(answer) == (401, "signature_invalid")
