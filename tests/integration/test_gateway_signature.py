"""Who gets past the gateway: signatures, keys, nonces and hosts, with real keys in PostgreSQL and nonces in Redis."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from support.gateway import JSON, ORIGIN, Casino, Gateway

from keno.identity.admission import AdmissionError, Admissions
from keno.identity.operators import IdentityError, KeyExistsError, KeyLimitError, OperatorExistsError
from keno.identity.service import IdentityService
from keno.identity.signature import HmacSecret
from keno.infra.cache import AGE_MS, Cache
from keno.infra.redis import ScriptCaller, create_redis
from keno.risk.rates import Rate

DEPOSITS = "/v1/wallets/p-1/deposits"
DEPOSIT = b'{"transaction_id":"d-1","amount_minor":100,"currency":"EUR"}'


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


async def deposit(casino: Casino, *, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
    """A deposit whose signature is over what `changes` say instead of what is sent."""
    return await casino.send("POST", DEPOSITS, DEPOSIT, JSON | (headers or {}), **changes)


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_a_signed_request_is_let_in(gateway: Gateway, ed25519: bool) -> None:
    casino = await gateway.casino(ed25519=ed25519)
    assert (await deposit(casino)).status_code == 201


async def test_what_is_not_signed_as_it_is_sent_is_refused_and_stores_nothing(gateway: Gateway, casino: Casino) -> None:
    now_s = int(time.time())
    cases: list[tuple[str, dict[str, Any]]] = [
        ("signature_invalid", {"key": HmacSecret(bytes(32))}),
        ("signature_invalid", {"method": "PUT"}),
        ("signature_invalid", {"target_uri": ORIGIN + "/v1/wallets/p-2/deposits"}),
        ("signature_invalid", {"target_uri": ORIGIN + DEPOSITS + "?x=1"}),
        ("signature_invalid", {"target_uri": "https://keno.test" + DEPOSITS}),
        ("digest_mismatch", {"body": DEPOSIT + b" "}),
        ("signature_expired", {"created_s": now_s - 90}),
        ("signature_not_yet_valid", {"created_s": now_s + 90}),
        ("unknown_key", {"key_id": "nobody"}),
        ("algorithm_mismatch", {"key": (await gateway.casino(ed25519=True)).key}),
        ("signature_malformed", {"headers": {"Signature-Input": "sig=()"}}),
        ("signature_malformed", {"headers": {"Signature": "sig=:AAAA:"}}),
        ("signature_malformed", {"headers": {"Content-Digest": "sha-512=:AAAA:"}}),
    ]
    stored = await gateway.stored()
    for code, changes in cases:
        response = await deposit(casino, **changes)
        assert problem(response) == (401, code), changes
        assert response.headers["www-authenticate"] == 'Signature realm="keno"'
    assert await gateway.stored() == stored


async def test_a_request_without_a_signature_is_refused_wherever_one_is_needed(gateway: Gateway) -> None:
    for method, path in [
        ("POST", "/v1/bets"),
        ("GET", "/v1/bets/1"),
        ("GET", "/v1/rooms"),
        ("GET", "/v1/rooms/x"),
        ("GET", "/v1/rooms/x/rounds"),
        ("GET", "/v1/rounds/1"),
        ("GET", "/v1/wallets/p-1"),
        ("POST", DEPOSITS),
    ]:
        assert problem(await gateway.client.request(method, path)) == (401, "signature_missing"), path


async def test_a_body_over_the_limit_is_refused_before_the_signature_is_looked_at(gateway: Gateway) -> None:
    response = await gateway.client.post("/v1/bets", content=b" " * (64 * 1024 + 1))
    assert problem(response) == (413, "body_too_large")


async def test_a_request_for_another_host_is_refused(casino: Casino) -> None:
    assert problem(await deposit(casino, headers={"Host": "evil.test"})) == (421, "unknown_origin")


async def test_a_nonce_is_accepted_once_for_its_key(gateway: Gateway, casino: Casino) -> None:
    assert (await deposit(casino, nonce="n")).status_code == 201
    assert problem(await deposit(casino, nonce="n")) == (401, "nonce_replayed")
    assert (await deposit(await gateway.casino(), nonce="n")).status_code == 201


async def test_of_many_equal_requests_at_once_one_is_let_in(casino: Casino) -> None:
    headers = JSON | casino.headers("POST", DEPOSITS, DEPOSIT)
    answers = await asyncio.gather(*(casino.client.post(DEPOSITS, content=DEPOSIT, headers=headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 19


async def test_a_refused_signature_does_not_use_up_the_nonce(casino: Casino) -> None:
    assert problem(await deposit(casino, nonce="n", key=HmacSecret(bytes(32)))) == (401, "signature_invalid")
    assert (await deposit(casino, nonce="n")).status_code == 201


async def test_a_nonce_is_remembered_as_long_as_its_signature_can_be_accepted(redis: Redis) -> None:
    admissions, now_ms = Admissions(redis), 1_700_000_000_000
    for nonce, age_s in (("old", 60), ("early", -60)):
        created_s = now_ms // 1000 - age_s
        asked = admissions.ask("k", nonce, uuid4(), Rate(10), 1, created_s=created_s, now_ms=now_ms)
        assert not (await asked).replayed
    await admissions.close()
    assert 4_000 < await redis.pttl("keno:nonce:k:old") <= 5_000
    assert 124_000 < await redis.pttl("keno:nonce:k:early") <= 125_000


async def test_without_redis_nobody_is_let_in(tmp_path: Path) -> None:
    away = create_redis(f"unix://{tmp_path}/nobody")
    with pytest.raises(AdmissionError):
        await Admissions(away).ask("k", "n", uuid4(), Rate(10), 1, created_s=0, now_ms=0)
    await away.aclose()


async def test_a_request_without_redis_is_answered_503_and_stores_nothing(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await gateway.stored()

    async def refuse(*_: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(ScriptCaller, "call", refuse)
    response = await deposit(casino)
    assert problem(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert await gateway.stored() == stored


async def test_a_revoked_key_is_refused_and_the_other_key_stays(gateway: Gateway, casino: Casino) -> None:
    identity = gateway.platform.identity
    secret = await identity.add_hmac_key(casino.operator.id, "second", actor="test")
    assert (await deposit(casino)).status_code == 201
    assert await identity.revoke_key(casino.key_id, actor="test")
    assert not await identity.revoke_key(casino.key_id, actor="test")
    assert problem(await deposit(casino)) == (401, "key_revoked")
    assert problem(await deposit(casino, key=HmacSecret(bytes(32)))) == (401, "signature_invalid")
    assert (await deposit(casino, key=HmacSecret(secret), key_id="second")).status_code == 201


async def test_a_change_that_nobody_tells_of_is_seen_once_the_cache_is_old(gateway: Gateway, casino: Casino) -> None:
    assert (await deposit(casino)).status_code == 201
    await gateway.owner_pool.execute("UPDATE operators SET status = 'suspended' WHERE id = $1", casino.operator.id)
    await asyncio.sleep(AGE_MS / 1_000)
    assert problem(await deposit(casino)) == (403, "operator_suspended")


async def test_a_suspended_operator_is_refused(gateway: Gateway, casino: Casino) -> None:
    await gateway.owner_pool.execute("UPDATE operators SET status = 'suspended' WHERE id = $1", casino.operator.id)
    assert problem(await deposit(casino)) == (403, "operator_suspended")


async def test_an_operator_has_at_most_two_active_keys(gateway: Gateway, casino: Casino) -> None:
    identity, operator_id = gateway.platform.identity, casino.operator.id
    await identity.add_hmac_key(operator_id, "b", actor="test")
    with pytest.raises(KeyLimitError):
        await identity.add_hmac_key(operator_id, "c", actor="test")
    await identity.revoke_key("b", actor="test")
    await identity.add_hmac_key(operator_id, "c", actor="test")
    assert {key.id: key.revoked_ms is None for key in await identity.keys(operator_id)} == {
        casino.key_id: True,
        "b": False,
        "c": True,
    }


async def test_names_and_key_ids_are_taken_once_and_are_well_formed(gateway: Gateway, casino: Casino) -> None:
    identity, operator_id = gateway.platform.identity, casino.operator.id
    with pytest.raises(OperatorExistsError):
        await identity.add_operator(casino.operator.name, ["EUR"], actor="test")
    with pytest.raises(KeyExistsError):
        await identity.add_hmac_key(operator_id, casino.key_id, actor="test")
    for name, currencies in [("", ["EUR"]), ("a\n", ["EUR"]), ("a", []), ("a", ["EUR", "EUR"]), ("a", ["XXX"])]:
        with pytest.raises(IdentityError):
            await identity.add_operator(name, currencies, actor="test")
    for key_id in ("", "a:b", "a" * 65, "a\n"):
        with pytest.raises(IdentityError):
            await identity.add_hmac_key(operator_id, key_id, actor="test")
    with pytest.raises(IdentityError):
        await identity.add_ed25519_key(operator_id, "short", bytes(31), actor="test")


async def test_a_secret_is_kept_wrapped_and_opens_only_for_its_own_key(gateway: Gateway, casino: Casino) -> None:
    assert isinstance(casino.key, HmacSecret)
    material = await gateway.owner_pool.fetchval("SELECT material FROM operator_keys WHERE key_id = $1", casino.key_id)
    assert casino.key.secret not in material
    other = await gateway.casino()
    await gateway.owner_pool.execute("UPDATE operator_keys SET material = $1 WHERE key_id = $2", material, other.key_id)
    stolen = Casino(other.operator, other.key_id, casino.key, other.client)
    assert problem(await deposit(stolen)) == (500, "internal")


async def test_changes_of_operators_and_keys_are_in_the_audit_trail(gateway: Gateway, casino: Casino) -> None:
    await gateway.platform.identity.revoke_key(casino.key_id, actor="alice")
    rows = await gateway.owner_pool.fetch("SELECT actor, action, subject FROM audit_logs ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("test", "operator.added", str(casino.operator.id)),
        ("test", "key.added", casino.key_id),
        ("alice", "key.revoked", casino.key_id),
    ]


async def test_a_platform_key_of_another_length_is_refused(pool: asyncpg.Pool, redis: Redis) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        IdentityService(pool, redis, bytes(16), Cache(redis, bytes(32)))
