"""Staff manage the keys of operators: who may, whose keys are there for them, and what a change does to signatures."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.gateway import ORIGIN, PLAYER_ORIGIN, Casino, Gateway
from support.keys import NOT_KEYS
from support.players import problem
from support.staff import Member, member

from gateway.problems import BODY_BYTES_MAX
from keno.identity import staff_service
from keno.identity.signature import HmacSecret
from keno.identity.staff import ROLES, Role
from keno.infra.cache import AGE_MS

READ_BY = ("owner", "operator_admin", "auditor")
CHANGED_BY = ("owner", "operator_admin")
ROLES_OF: dict[Role, tuple[bool, ...]] = {
    "owner": (False,),
    "operator_admin": (True,),
    "support": (False, True),
    "auditor": (False, True),
}
"""Whether somebody of the role is of one operator; False: of all."""
HMAC = {"key_id": "second", "algorithm": "hmac-sha256"}


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


@pytest.fixture
async def admin(gateway: Gateway, casino: Casino) -> Member:
    """The casino's own."""
    return await member(gateway, "operator_admin", casino.operator.id, "alice")


def keys_of(operator: Casino | str) -> str:
    return f"/v1/staff/operators/{operator if isinstance(operator, str) else operator.operator.id}/keys"


async def listed(gateway: Gateway, casino: Casino) -> dict[str, bool]:
    """The casino's keys as they are stored, and whether they are active."""
    keys = await gateway.platform.access.keys(casino.operator.id)
    return {key.id: key.revoked_ms is None for key in keys}


def ed25519_key(key_id: str) -> tuple[Ed25519PrivateKey, dict[str, str]]:
    """A new key, and the body that adds it."""
    private = Ed25519PrivateKey.generate()
    public_key = private.public_key().public_bytes_raw().hex()
    return private, {"key_id": key_id, "algorithm": "ed25519", "public_key": public_key}


async def calls_of(somebody: Member, operator: Casino | str, key_id: str) -> list[httpx.Response]:
    """What somebody is answered who lists an operator's keys, adds one and revokes one."""
    path = keys_of(operator)
    return [
        await somebody.send("GET", path),
        await somebody.send("POST", path, HMAC),
        await somebody.send("DELETE", f"{path}/{key_id}"),
    ]


# ---- who may ----


@pytest.mark.parametrize(("role", "of_one_operator"), [(role, of_one) for role in ROLES for of_one in ROLES_OF[role]])
async def test_each_role_may_do_with_keys_what_it_is_for(
    gateway: Gateway, casino: Casino, role: Role, of_one_operator: bool
) -> None:
    somebody = await member(gateway, role, casino.operator.id if of_one_operator else None)
    got, added, revoked = await calls_of(somebody, casino, casino.key_id)
    if role in READ_BY:
        assert got.status_code == 200
        assert [key["key_id"] for key in got.json()["keys"]] == [casino.key_id]
    else:
        assert problem(got) == (403, "role_not_allowed")
    if role in CHANGED_BY:
        assert (added.status_code, revoked.status_code) == (201, 200)
        assert await listed(gateway, casino) == {casino.key_id: False, "second": True}
    else:
        assert problem(added) == problem(revoked) == (403, "role_not_allowed")
        assert added.json()["detail"] == "this is for owner, operator_admin"
        assert await listed(gateway, casino) == {casino.key_id: True}


async def test_an_operator_of_another_is_not_there_and_is_told_as_one_that_is_not(
    gateway: Gateway, casino: Casino, admin: Member
) -> None:
    other, unknown = await gateway.casino(), str(uuid.uuid4())
    for somebody in (admin, await member(gateway, "auditor", casino.operator.id)):
        foreign = await calls_of(somebody, other, other.key_id)
        nobodys = await calls_of(somebody, unknown, other.key_id)
        for one, none in zip(foreign, nobodys, strict=True):
            assert one.status_code == none.status_code
            assert one.text.replace(str(other.operator.id), unknown) == none.text
            assert one.headers.keys() == none.headers.keys()
        assert problem(foreign[0]) == (404, "operator_not_found")
    for answer in await calls_of(await member(gateway, "owner"), unknown, other.key_id):
        assert problem(answer) == (404, "operator_not_found")
    assert await listed(gateway, other) == {other.key_id: True}


@pytest.mark.parametrize("text", ["x", "0", "{id}0", "{upper}", "%7B{id}%7D", "{id}%00", "%20{id}", "é"])
async def test_what_is_no_id_of_an_operator_names_none(gateway: Gateway, casino: Casino, text: str) -> None:
    own = str(casino.operator.id)
    no_id = text.format(id=own, upper=own.upper())
    for answer in await calls_of(await member(gateway, "owner"), no_id, casino.key_id):
        assert problem(answer) == (404, "operator_not_found")
        assert answer.json()["detail"].endswith("is not a UUID")
    assert await listed(gateway, casino) == {casino.key_id: True}


async def test_session_is_asked_for_first_then_the_role_then_the_operator_then_the_body(
    gateway: Gateway, casino: Casino, admin: Member
) -> None:
    other = await gateway.casino()
    support = await member(gateway, "support", casino.operator.id)
    for path in (keys_of(casino), keys_of(other), keys_of("x")):
        assert problem(await replace(support, token="x").send("POST", path, b"[")) == (401, "session_ended")
        assert problem(await support.send("POST", path, b"[")) == (403, "role_not_allowed")
    for path in (keys_of(other), keys_of("x")):
        answer = await admin.send("POST", path, b"[", {"Content-Type": "text/plain"})
        assert problem(answer) == (404, "operator_not_found")
    assert problem(await admin.send("POST", keys_of(casino), b"{")) == (400, "malformed_json")


async def test_without_a_living_session_nothing_is_done(
    gateway: Gateway, casino: Casino, admin: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = gateway.platform.staff
    left, disabled = await member(gateway, "owner", name="left"), await member(gateway, "owner", name="disabled")
    reset = await member(gateway, "owner", name="reset")
    await service.log_out(left.token)
    await service.disable("disabled", actor="test")
    await service.reset("reset", actor="test")
    monkeypatch.setattr(staff_service, "SESSION_MAX_MS", 0)
    aged = await member(gateway, "owner", name="aged")
    for somebody in (left, disabled, reset, aged):
        for answer in await calls_of(somebody, casino, casino.key_id):
            assert problem(answer) == (401, "session_ended"), somebody.name
            assert answer.headers["www-authenticate"] == 'Bearer realm="keno"'
    for headers in ({"Authorization": ""}, {"Authorization": f"Basic {admin.token}"}):
        answer = await admin.send("POST", keys_of(casino), HMAC, headers)
        assert problem(answer) == (401, "token_missing")
    assert problem(await casino.post(keys_of(casino), HMAC)) == (401, "token_missing")
    assert await listed(gateway, casino) == {casino.key_id: True}


async def test_only_our_own_pages_may_call(gateway: Gateway, casino: Casino, admin: Member) -> None:
    for origin in (PLAYER_ORIGIN, "https://evil.test"):
        for method in ("GET", "POST"):
            answer = await admin.send(method, keys_of(casino), HMAC, {"Origin": origin})
            assert problem(answer) == (403, "origin_not_allowed")
    assert (await admin.send("POST", keys_of(casino), HMAC, {"Origin": ORIGIN})).status_code == 201


# ---- what it does ----


async def test_a_shared_secret_is_shown_once_and_signs(gateway: Gateway, casino: Casino, admin: Member) -> None:
    added = await admin.send("POST", keys_of(casino), HMAC)
    assert added.status_code == 201, added.text
    assert added.headers["cache-control"] == "no-store"
    secret = added.json()["secret"]
    assert (await replace(casino, key_id="second", key=HmacSecret(bytes.fromhex(secret))).get("/v1/keys")).is_success
    got = await admin.send("GET", keys_of(casino))
    assert "secret" not in got.text
    assert got.json() == (await casino.get("/v1/keys")).json()
    again = await admin.send("POST", keys_of(casino), HMAC)
    assert again.status_code == 409
    assert secret not in again.text


async def test_the_first_key_of_an_operator_comes_from_staff(gateway: Gateway) -> None:
    operator = await gateway.platform.identity.add_operator("new casino", ("EUR",), actor="test")
    owner, (private, body) = await member(gateway, "owner"), ed25519_key("first")
    path = keys_of(str(operator.id))
    assert (await owner.send("GET", path)).json() == {"keys": []}
    assert (await owner.send("POST", path, body)).status_code == 201
    assert (await Casino(operator, "first", private, gateway.client).get("/v1/keys")).is_success


async def test_the_same_public_key_again_is_the_same_key_whoever_adds_it(
    gateway: Gateway, casino: Casino, admin: Member
) -> None:
    private, body = ed25519_key("mine")
    added = await admin.send("POST", keys_of(casino), body)
    assert "idempotent-replayed" not in added.headers
    owner = await member(gateway, "owner")
    for again in (
        await admin.send("POST", keys_of(casino), body),
        await owner.send("POST", keys_of(casino), body),
        await casino.post("/v1/keys", body),
    ):
        assert (again.status_code, again.json()) == (201, added.json())
        assert again.headers["idempotent-replayed"] == "true"
    assert (await replace(casino, key_id="mine", key=private).get("/v1/keys")).is_success
    other = await gateway.casino()
    assert problem(await owner.send("POST", keys_of(other), body)) == (409, "key_exists")
    assert await listed(gateway, other) == {other.key_id: True}


async def test_there_is_no_third_active_key(gateway: Gateway, casino: Casino, admin: Member) -> None:
    assert (await admin.send("POST", keys_of(casino), HMAC)).status_code == 201
    for somebody in (admin, await member(gateway, "owner")):
        for body in (HMAC | {"key_id": "third"}, ed25519_key("third")[1]):
            assert problem(await somebody.send("POST", keys_of(casino), body)) == (409, "key_limit")
    assert await listed(gateway, casino) == {casino.key_id: True, "second": True}


async def test_keys_added_at_once_by_staff_and_operator_stay_two(
    gateway: Gateway, casino: Casino, admin: Member
) -> None:
    answers = await asyncio.gather(
        *(admin.send("POST", keys_of(casino), HMAC | {"key_id": f"staff-{number}"}) for number in range(3)),
        *(casino.post("/v1/keys", HMAC | {"key_id": f"own-{number}"}) for number in range(3)),
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert sum((await listed(gateway, casino)).values()) == 2


async def test_a_key_that_staff_revoked_signs_nothing_any_more(gateway: Gateway, casino: Casino, admin: Member) -> None:
    assert (await admin.send("POST", keys_of(casino), HMAC)).status_code == 201
    assert (await casino.get("/v1/rooms")).status_code == 200
    revoked = await admin.send("DELETE", f"{keys_of(casino)}/{casino.key_id}")
    assert revoked.json()["revoked_ms"] is not None
    await asyncio.sleep(AGE_MS / 1000)
    stored = await gateway.stored()
    assert problem(await casino.get("/v1/rooms")) == (401, "key_revoked")
    deposit = {"transaction_id": "d-1", "amount_minor": 1, "currency": "EUR"}
    assert problem(await casino.post("/v1/wallets/p-1/deposits", deposit)) == (401, "key_revoked")
    assert await gateway.stored() == stored
    again = await admin.send("DELETE", f"{keys_of(casino)}/{casino.key_id}")
    assert (again.status_code, again.json()) == (200, revoked.json())


async def test_the_last_key_stays_also_when_staff_and_operator_revoke_one_each(
    gateway: Gateway, casino: Casino, admin: Member
) -> None:
    assert problem(await admin.send("DELETE", f"{keys_of(casino)}/{casino.key_id}")) == (409, "last_key")
    assert (await admin.send("POST", keys_of(casino), HMAC)).status_code == 201
    answers = await asyncio.gather(
        admin.send("DELETE", f"{keys_of(casino)}/{casino.key_id}"), casino.send("DELETE", "/v1/keys/second")
    )
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert won.status_code == 200, won.text
    # An operator whose key was revoked a moment before is refused for that already.
    assert problem(lost) in [(409, "last_key"), (401, "key_revoked")]
    assert sum((await listed(gateway, casino)).values()) == 1


async def test_a_key_of_another_operator_is_none_of_this_one(gateway: Gateway, casino: Casino) -> None:
    owner, other = await member(gateway, "owner"), await gateway.casino()
    for key_id in (other.key_id, "nobody", "a:b"):
        assert problem(await owner.send("DELETE", f"{keys_of(casino)}/{key_id}")) == (404, "key_not_found")
    taken = await owner.send("POST", keys_of(casino), HMAC | {"key_id": other.key_id})
    assert problem(taken) == (409, "key_exists")
    assert await listed(gateway, other) == {other.key_id: True}


@pytest.mark.parametrize(("status", "code", "body"), NOT_KEYS)
async def test_what_is_no_key_is_refused_and_adds_none(
    gateway: Gateway, casino: Casino, admin: Member, status: int, code: str, body: dict[str, Any]
) -> None:
    assert problem(await admin.send("POST", keys_of(casino), body)) == (status, code)
    assert await listed(gateway, casino) == {casino.key_id: True}


@pytest.mark.parametrize(
    ("status", "code", "body", "content_type"),
    [
        (400, "malformed_json", b"", "application/json"),
        (400, "malformed_json", b'{"key_id": "a"', "application/json"),
        (422, "invalid_request", b"[]", "application/json"),
        (400, "malformed_json", b'{"key_id": "\xff", "algorithm": "hmac-sha256"}', "application/json"),
        (400, "duplicate_field", b'{"key_id": "a", "key_id": "b", "algorithm": "hmac-sha256"}', "application/json"),
        (415, "unsupported_media_type", b'{"key_id": "a", "algorithm": "hmac-sha256"}', "text/plain"),
        (413, "body_too_large", b" " * (BODY_BYTES_MAX + 1), "application/json"),
    ],
)
async def test_what_is_no_body_is_refused_and_adds_no_key(
    gateway: Gateway, casino: Casino, admin: Member, status: int, code: str, body: bytes, content_type: str
) -> None:
    answer = await admin.send("POST", keys_of(casino), body, {"Content-Type": content_type})
    assert problem(answer) == (status, code)
    assert await listed(gateway, casino) == {casino.key_id: True}


async def test_changes_by_staff_are_in_the_audit_trail_under_their_name(
    gateway: Gateway, casino: Casino, admin: Member
) -> None:
    owner = await member(gateway, "owner", name="bob")
    secret = (await admin.send("POST", keys_of(casino), HMAC)).json()["secret"]
    await owner.send("DELETE", f"{keys_of(casino)}/{casino.key_id}")
    await owner.send("DELETE", f"{keys_of(casino)}/{casino.key_id}")
    find = "SELECT actor, action, subject, after::text FROM admin_actions WHERE actor LIKE 'staff %' ORDER BY id"
    rows = await gateway.owner_pool.fetch(find)
    assert [tuple(row.values())[:3] for row in rows] == [
        ("staff alice", "key.added", "second"),
        ("staff bob", "key.revoked", casino.key_id),
    ]
    assert all(str(casino.operator.id) in row["after"] for row in rows)
    trail = await gateway.owner_pool.fetch("SELECT detail::text FROM audit_logs")
    assert not any(secret in row["detail"] for row in trail)


# ---- how it is answered ----


async def test_paths_of_keys_say_their_methods(gateway: Gateway, casino: Casino, admin: Member) -> None:
    for path, methods, wrong in [
        (keys_of(casino), {"GET", "POST", "OPTIONS"}, "PUT"),
        (f"{keys_of(casino)}/{casino.key_id}", {"DELETE", "OPTIONS"}, "GET"),
    ]:
        assert set((await admin.send("OPTIONS", path)).headers["allow"].split(", ")) == methods
        refused = await admin.send(wrong, path)
        assert problem(refused) == (405, "method_not_allowed")
        assert methods - {"OPTIONS"} <= set(refused.headers["allow"].split(", "))


async def test_staff_are_told_what_is_wrong_in_their_language(casino: Casino, admin: Member) -> None:
    path = f"{keys_of(casino)}/{casino.key_id}"
    told = (await admin.send("DELETE", path, headers={"Accept-Language": "de"})).json()
    assert told["detail"] == "das ist der letzte Schlüssel des Betreibers: fügen Sie zuerst einen anderen hinzu"
    told = (await admin.send("GET", keys_of("x"), headers={"Accept-Language": "es"})).json()
    assert told["title"] == "No existe ese operador"
