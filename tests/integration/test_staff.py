"""Staff: who gets in, who is slowed down, and what ends a session, with staff in PostgreSQL and the rest in Redis."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar, get
from redis.asyncio import Redis
from support.gateway import ORIGIN, PLAYER_ORIGIN, Gateway
from support.players import play, post, problem
from support.staff import authenticator_secret, login, session_of

from gateway import app
from gateway.auth.staff import only, staff_session
from keno.identity import lockout, staff_service, totp
from keno.identity.lockout import LockedError, Lockout, LockoutStoreError
from keno.identity.staff import ROLES, LoginRequest, StaffError
from keno.identity.staff_service import (
    Credentials,
    LoginError,
    StaffService,
    StaffSessionError,
    StaffStoreError,
)
from keno.infra.redis import create_redis

NOW_MS = 1_700_000_000_000
LOGIN = "/v1/staff/login"

_numbers = itertools.count(1)


@pytest.fixture
def staff(pool: asyncpg.Pool, redis: Redis) -> StaffService:
    return StaffService(pool, redis, bytes(32))


def request(name: str, credentials: Credentials, now_ms: int = NOW_MS, **changes: str) -> LoginRequest:
    return login(name, credentials, now_ms, **changes)


async def test_who_has_password_and_code_is_let_in_as_who_they_are(staff: StaffService) -> None:
    added = await staff.add("alice", "auditor", None, actor="test")
    logged_in, token = await staff.log_in(request("alice", added), "192.0.2.1", NOW_MS)
    assert (logged_in.name, logged_in.role, logged_in.operator_id) == ("alice", "auditor", None)
    assert await staff.authenticate(token, NOW_MS) == logged_in


async def test_nothing_less_lets_anybody_in(staff: StaffService) -> None:
    alice, bob = await staff.add("alice", "owner", None, actor="test"), await staff.add("bob", "owner", None, actor="t")
    late = request("alice", alice, NOW_MS - 3 * totp.STEP_S * 1000)
    for number, wrong in enumerate(
        [
            request("alice", alice, password=bob.password),
            request("alice", alice, password=""),
            request("alice", alice, totp=request("bob", bob).totp),
            request("alice", alice, totp=late.totp),
            request("bob", alice),
            request("nobody", alice),
            request("", alice),
        ]
    ):
        with pytest.raises(LoginError):
            await staff.log_in(wrong, f"192.0.2.{number}", NOW_MS)


async def test_a_code_lets_in_once_and_so_does_none_before_it(staff: StaffService) -> None:
    alice = await staff.add("alice", "owner", None, actor="test")
    right = request("alice", alice)
    answers = await asyncio.gather(
        *(staff.log_in(right, "192.0.2.1", NOW_MS) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["LoginError"] * 3 + ["tuple"]
    with pytest.raises(LoginError):
        await staff.log_in(request("alice", alice, NOW_MS - totp.STEP_S * 1000), "192.0.2.1", NOW_MS)
    later_ms = NOW_MS + totp.STEP_S * 1000
    await staff.log_in(request("alice", alice, later_ms), "192.0.2.1", later_ms)


async def test_a_reset_ends_what_was_and_lets_in_with_what_is_new(staff: StaffService) -> None:
    old = await staff.add("alice", "owner", None, actor="test")
    _, token = await staff.log_in(request("alice", old), "192.0.2.1", NOW_MS)
    new = await staff.reset("alice", actor="test")
    with pytest.raises(StaffSessionError):
        await staff.authenticate(token, NOW_MS)
    with pytest.raises(LoginError):
        await staff.log_in(request("alice", old), "192.0.2.1", NOW_MS)
    assert (await staff.log_in(request("alice", new), "192.0.2.1", NOW_MS))[0].credentials == 2


async def test_who_is_disabled_is_out_at_once_until_a_reset(staff: StaffService) -> None:
    alice = await staff.add("alice", "owner", None, actor="test")
    _, token = await staff.log_in(request("alice", alice), "192.0.2.1", NOW_MS)
    await staff.disable("alice", actor="test")
    with pytest.raises(StaffSessionError):
        await staff.authenticate(token, NOW_MS)
    later_ms = NOW_MS + totp.STEP_S * 1000
    with pytest.raises(LoginError):
        await staff.log_in(request("alice", alice, later_ms), "192.0.2.1", later_ms)
    with pytest.raises(StaffError):
        await staff.disable("alice", actor="test")
    again = await staff.reset("alice", actor="test")
    await staff.log_in(request("alice", again), "192.0.2.1", NOW_MS)


async def test_a_session_ends_by_logout_by_rest_and_by_age(staff: StaffService, redis: Redis) -> None:
    alice = await staff.add("alice", "owner", None, actor="test")
    _, token = await staff.log_in(request("alice", alice), "192.0.2.1", NOW_MS)
    (name,) = [key async for key in redis.scan_iter("keno:staff-session:*")]
    assert token.encode() not in name
    assert 0 < await redis.pttl(name) <= staff_service.SESSION_IDLE_MS
    with pytest.raises(StaffSessionError):
        await staff.authenticate(token, NOW_MS + staff_service.SESSION_MAX_MS)
    await staff.log_out(token)
    for wrong in (token, "", "x"):
        with pytest.raises(StaffSessionError):
            await staff.authenticate(wrong, NOW_MS)


async def test_what_is_kept_opens_nothing(staff: StaffService, owner_pool: asyncpg.Pool) -> None:
    alice = await staff.add("alice", "owner", None, actor="test")
    row = await owner_pool.fetchrow("SELECT password_hash, totp_secret FROM staff")
    assert row is not None
    assert row["password_hash"].startswith("$argon2id$")
    assert authenticator_secret(alice) not in row["totp_secret"]


async def test_a_hash_of_weaker_parameters_is_made_anew_at_login(
    staff: StaffService, owner_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staff, "_hasher", PasswordHasher())
    alice = await staff.add("alice", "owner", None, actor="test")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(alice.password)
    await owner_pool.execute("UPDATE staff SET password_hash = $1", weak)
    await staff.log_in(request("alice", alice), "192.0.2.1", NOW_MS)
    kept = await owner_pool.fetchval("SELECT password_hash FROM staff")
    assert not PasswordHasher().check_needs_rehash(kept)
    assert PasswordHasher().verify(kept, alice.password)


async def test_names_roles_and_operators_must_go_together(gateway: Gateway) -> None:
    staff, operator_id = gateway.platform.staff, (await gateway.casino()).operator.id
    await staff.add("alice", "owner", None, actor="test")
    for name, role, operator in [
        ("alice", "owner", None),
        ("Alice", "owner", None),
        ("", "owner", None),
        ("a\n", "owner", None),
        ("bob", "owner", operator_id),
        ("bob", "operator_admin", None),
    ]:
        with pytest.raises(StaffError):
            await staff.add(name, role, operator, actor="test")  # type: ignore[arg-type]
    for role in ("operator_admin", "support", "auditor"):
        await staff.add(role, role, operator_id, actor="test")  # type: ignore[arg-type]
    everybody = {each.name: each for each in await staff.listed()}
    assert set(everybody) == {"alice", "operator_admin", "support", "auditor"}
    other = (await gateway.casino()).operator.id
    assert everybody["alice"].sees(other)
    assert everybody["support"].sees(operator_id)
    assert not everybody["support"].sees(other)
    with pytest.raises(StaffError):
        await staff.reset("nobody", actor="test")


async def test_logins_and_changes_of_staff_are_in_the_audit_trail(
    staff: StaffService, owner_pool: asyncpg.Pool
) -> None:
    alice = await staff.add("alice", "owner", None, actor="bob")
    await staff.log_in(request("alice", alice), "192.0.2.1", NOW_MS)
    await staff.reset("alice", actor="bob")
    await staff.disable("alice", actor="bob")
    rows = await owner_pool.fetch("SELECT actor, action, detail::text FROM audit_logs ORDER BY id")
    assert [tuple(row)[:2] for row in rows] == [
        ("bob", "staff.added"),
        ("staff alice", "staff.logged_in"),
        ("bob", "staff.reset"),
        ("bob", "staff.disabled"),
    ]
    assert not any(alice.password in row["detail"] for row in rows)


async def test_guesses_at_an_account_have_to_wait_twice_as_long_each_time(redis: Redis) -> None:
    locks, account, now_ms, waits = Lockout(redis), lockout.account("alice"), NOW_MS, []
    for _ in range(account.free_failures + 14):
        await locks.begin(account, now_ms)
        with_wait = 0
        try:
            await locks.begin(account, now_ms)
        except LockedError as error:
            with_wait = error.wait_ms
            now_ms += with_wait
        waits.append(with_wait)
    lasting = [wait for wait in waits if wait]
    assert lasting[:4] == [1_000, 2_000, 4_000, 8_000]
    assert lasting[-1] == lockout.WAIT_MAX_MS


async def test_guesses_at_once_are_let_through_no_more_than_one_after_the_other(redis: Redis) -> None:
    locks, account = Lockout(redis), lockout.account("alice")
    tries = await asyncio.gather(*(locks.begin(account, NOW_MS) for _ in range(50)), return_exceptions=True)
    assert sum(each is None for each in tries) == account.free_failures


async def test_a_success_forgets_the_failures_of_an_account_but_not_of_an_address(redis: Redis) -> None:
    locks = Lockout(redis)
    for guessed, left in [(lockout.account("alice"), 0), (lockout.address("192.0.2.1"), 3)]:
        for _ in range(3):
            await locks.begin(guessed, NOW_MS)
        await locks.begin(guessed, NOW_MS)
        await locks.succeed(guessed)
        free = 0
        while True:
            try:
                await locks.begin(guessed, NOW_MS)
            except LockedError:
                break
            free += 1
        assert free == guessed.free_failures - left


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), max_size=40))
async def test_a_lock_is_what_a_count_in_one_process_would_make_it(redis: Redis, steps: list[tuple[int, bool]]) -> None:
    locks, account, now_ms = Lockout(redis), lockout.account(f"account {next(_numbers)}"), NOW_MS
    failures, until_ms = 0, 0
    for pause_ms, right in steps:
        now_ms += pause_ms
        if until_ms > now_ms:
            with pytest.raises(LockedError) as locked:
                await locks.begin(account, now_ms)
            assert locked.value.wait_ms == until_ms - now_ms
            continue
        await locks.begin(account, now_ms)
        failures += 1
        over = failures - account.free_failures
        until_ms = now_ms + (min(1_000 << over, lockout.WAIT_MAX_MS) if over >= 0 else 0)
        if right:
            await locks.succeed(account)
            failures, until_ms = 0, 0


async def test_who_guesses_locks_the_account_for_a_while_and_a_name_that_nobody_has_too(staff: StaffService) -> None:
    alice = await staff.add("alice", "owner", None, actor="test")
    for name in ("alice", "nobody"):
        for number in range(lockout.account("").free_failures):
            with pytest.raises(LoginError):
                await staff.log_in(request(name, alice, password="guess"), f"192.0.2.{number}", NOW_MS)
        with pytest.raises(LockedError):
            await staff.log_in(request(name, alice), "192.0.2.99", NOW_MS)
    await staff.log_in(request("alice", alice, NOW_MS + 1_000), "192.0.2.99", NOW_MS + 1_000)


async def test_who_guesses_at_many_accounts_is_locked_out_by_address(staff: StaffService) -> None:
    alice = await staff.add("alice", "owner", None, actor="test")
    for number in range(lockout.address("").free_failures):
        with pytest.raises(LoginError):
            await staff.log_in(request(f"n{number}", alice), "192.0.2.1", NOW_MS)
    with pytest.raises(LockedError):
        await staff.log_in(request("alice", alice), "192.0.2.1", NOW_MS)
    await staff.log_in(request("alice", alice), "192.0.2.2", NOW_MS)


def test_addresses_of_one_ipv6_network_are_one_guesser() -> None:
    assert lockout.address("2001:db8::1") == lockout.address("2001:db8:0:0:ffff::2")
    assert lockout.address("2001:db8::1") != lockout.address("2001:db8:0:1::1")
    assert lockout.address("192.0.2.1") != lockout.address("192.0.2.2")


async def test_without_redis_nobody_logs_in_or_is_logged_in(pool: asyncpg.Pool, tmp_path: Path) -> None:
    away = create_redis(f"unix://{tmp_path}/nobody")
    staff = StaffService(pool, away, bytes(32))
    alice = await staff.add("alice", "owner", None, actor="test")
    with pytest.raises(LockoutStoreError):
        await staff.log_in(request("alice", alice), "192.0.2.1", NOW_MS)
    with pytest.raises(StaffStoreError):
        await staff.authenticate("x", NOW_MS)
    await away.aclose()


@pytest.fixture
async def portal(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A server with one page for every role, and the handlers of errors that the gateway has."""
    service = gateway.platform.staff

    def page(role: Any) -> Any:
        @get(f"/{role}", guards=[staff_session(service), only(role)])
        async def handler() -> str:
            return "seen"

        return handler

    handlers = app._exception_handlers(gateway.platform.texts)
    pages = Litestar([page(role) for role in ROLES], exception_handlers=handlers, openapi_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=pages), base_url=ORIGIN) as client:  # type: ignore[arg-type]
        yield client


async def test_each_role_sees_what_is_for_it_only(gateway: Gateway, portal: httpx.AsyncClient) -> None:
    service, operator_id = gateway.platform.staff, (await gateway.casino()).operator.id
    for role in ROLES:
        token = await session_of(service, role, role, operator_id if role == "operator_admin" else None)
        for page in ROLES:
            answer = await portal.get(f"/{page}", headers={"Authorization": f"Bearer {token}"})
            if page == role:
                assert (answer.status_code, answer.text) == (200, "seen")
            else:
                assert problem(answer) == (403, "role_not_allowed")
    assert problem(await portal.get("/owner")) == (401, "token_missing")
    assert problem(await portal.get("/owner", headers={"Authorization": "Bearer x"})) == (401, "session_ended")


async def test_staff_log_in_and_out_over_http(gateway: Gateway) -> None:
    client, now_ms = gateway.client, time.time_ns() // 1_000_000
    added = await gateway.platform.staff.add("alice", "auditor", None, actor="test")
    asked = request("alice", added, now_ms)
    body = {"name": asked.name, "password": asked.password, "totp": asked.totp}
    for changes in ({"password": "x"}, {"name": "nobody"}, {"totp": "000000" if asked.totp != "000000" else "1" * 6}):
        answer = await post(client, LOGIN, body | changes)
        assert problem(answer) == (401, "login_failed")
    for changes in ({"totp": "12345"}, {"name": "ali\0ce"}, {"name": "alice\n"}, {"name": "a" * 65}):
        assert problem(await post(client, LOGIN, body | changes)) == (422, "invalid_request")
    assert problem(await post(client, LOGIN, body | {"role": "owner"})) == (422, "unknown_field")
    for origin in (PLAYER_ORIGIN, "https://evil.test"):
        assert problem(await post(client, LOGIN, body, {"Origin": origin})) == (403, "origin_not_allowed")
    logged_in = await post(client, LOGIN, body, {"Origin": ORIGIN})
    assert logged_in.status_code == 200, logged_in.text
    token = {"Authorization": f"Bearer {logged_in.json()['token']}"}
    expected = {"name": "alice", "role": "auditor", "operator": None}
    assert (await client.get("/v1/staff/me", headers=token)).json() == expected == logged_in.json()["staff"]
    assert (await client.post("/v1/staff/logout", headers=token)).json() == {"ended": True}
    assert problem(await client.get("/v1/staff/me", headers=token)) == (401, "session_ended")


async def test_who_is_locked_is_told_for_how_long(gateway: Gateway) -> None:
    body = {"name": "alice", "password": "x", "totp": "123456"}
    free = lockout.account("").free_failures
    answers = [await post(gateway.client, LOGIN, body) for _ in range(free + 1)]
    # What passes between failures is forgiven: on a machine that is busy some more are free.
    while answers[-1].status_code == 401 and len(answers) < 4 * free:
        answers.append(await post(gateway.client, LOGIN, body))
    assert [problem(answer) for answer in answers[:-1]] == [(401, "login_failed")] * (len(answers) - 1)
    assert problem(answers[-1]) == (429, "login_locked")
    assert answers[-1].headers["retry-after"] == "1"


async def test_a_player_is_no_staff_and_staff_no_player(gateway: Gateway) -> None:
    player = await play(await gateway.casino())
    assert problem(await player.get("/v1/staff/me")) == (401, "session_ended")
    player.access_token = await session_of(gateway.platform.staff, "alice", "owner")
    assert problem(await player.get("/v1/player/me")) == (401, "token_invalid")
