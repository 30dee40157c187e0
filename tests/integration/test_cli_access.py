"""The commands about who may come in, as they are typed."""

from __future__ import annotations

import time

from support.commands import Keno, told
from support.gateway import Gateway
from support.staff import login

from keno.identity.staff_service import Credentials


async def test_staff_are_added_reset_and_disabled(gateway: Gateway, keno: Keno) -> None:
    staff = gateway.platform.staff
    for command in (("staff", "add", "alice", "--role", "owner"), ("staff", "reset", "alice")):
        password, totp_uri = (line.split()[1] for line in (await told(keno, *command)).splitlines())
        now_ms = time.time_ns() // 1_000_000
        asked = login("alice", Credentials(password, totp_uri), now_ms)
        logged_in, _ = await staff.log_in(asked, "192.0.2.1", now_ms)
        assert logged_in.role == "owner"
    await told(keno, "staff", "disable", "alice")
    assert await told(keno, "staff", "list") == "alice  owner  all operators  disabled\n"
    assert "of an operator" in await told(keno, "staff", "add", "bob", "--role", "operator_admin", code=1)


async def test_an_operators_keys_and_networks_are_managed_as_over_the_api(gateway: Gateway, keno: Keno) -> None:
    casino = await gateway.casino()
    name, key_id = casino.operator.name, casino.key_id
    assert "last key" in await told(keno, "operator", "revoke-key", name, key_id, code=1)
    assert len((await told(keno, "operator", "key", name, "second", "--hmac")).strip()) == 64
    await told(keno, "operator", "revoke-key", name, key_id)
    await told(keno, "operator", "revoke-key", name, "second", "--even-last")
    states = [line.split()[4] for line in (await told(keno, "operator", "keys", name)).splitlines()]
    assert states == ["revoked", "revoked"]
    assert await told(keno, "operator", "networks", name, "10.0.0.0/8") == "10.0.0.0/8\n"
    assert await told(keno, "operator", "networks", name) == "10.0.0.0/8\n"
    assert await told(keno, "operator", "networks", name, "--anywhere") == ""
    assert "not a network" in await told(keno, "operator", "networks", name, "here", code=1)
    assert "no operator" in await told(keno, "operator", "keys", "nobody", code=1)


async def test_the_keys_that_we_sign_with_are_rotated_and_shown(keno: Keno) -> None:
    first = (await told(keno, "signing-key", "rotate")).strip()
    second = (await told(keno, "signing-key", "rotate", "--compromised")).strip()
    shown = {line.split()[0]: line.split()[2] for line in (await told(keno, "signing-key", "list")).splitlines()}
    assert first not in shown
    assert shown.pop(second) == "current"
    assert list(shown.values()) == ["next"]
