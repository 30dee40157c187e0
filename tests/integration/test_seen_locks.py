"""Operators countersign locks: what is taken and shown in the evidence, and what is refused with nothing stored."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.bundles import uint
from support.gateway import JSON, Casino, Gateway
from support.rounds import verify

from keno import verifier
from keno.rounds.room_store import Room


@pytest.fixture
async def room(gateway: Gateway) -> Room:
    return await gateway.room(period_ms=2_000, lock_lead_ms=500)


async def round_id_of(gateway: Gateway, room: Room) -> int:
    found: int = await gateway.owner_pool.fetchval(
        "SELECT id FROM rounds WHERE room_id = $1 AND phase <> 'skipped' ORDER BY number LIMIT 1", room.id
    )
    return found


def seen(casino: Casino, lock: str, **changes: Any) -> dict[str, Any]:
    """What the casino says of a lock; `changes` are made after it has signed, but for `seen_ms`."""
    seen_ms = changes.get("seen_ms", time.time_ns() // 1_000_000)
    assert isinstance(casino.key, Ed25519PrivateKey)
    signature = casino.key.sign(b"keno1:seen" + bytes.fromhex(lock) + uint(seen_ms, 8)).hex()
    return {"lock": lock, "seen_ms": seen_ms, "key_id": casino.key_id, "signature": signature} | changes


async def lock_of(casino: Casino, round_id: int) -> str:
    lock: str = (await casino.get(f"/v1/rounds/{round_id}")).json()["lock"]
    return lock


async def stored(gateway: Gateway) -> int:
    count: int = await gateway.owner_pool.fetchval("SELECT count(*) FROM seen_locks")
    return count


async def test_a_lock_that_operators_have_countersigned_is_shown_so_in_the_evidence(
    gateway: Gateway, room: Room, tmp_path: Path
) -> None:
    casinos = [await gateway.casino(ed25519=True) for _ in range(2)]
    round_id = await round_id_of(gateway, room)
    await gateway.play_until(round_id, "settled")
    lock = await lock_of(casinos[0], round_id)
    for casino in casinos:
        said = seen(casino, lock)
        answer = await casino.post(f"/v1/rounds/{round_id}/seen", said)
        assert (answer.status_code, answer.json()) == (201, said | {"round": answer.json()["round"]}), answer.text
        assert "signature" in answer.headers
        again = await casino.post(f"/v1/rounds/{round_id}/seen", said)
        assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, answer.json(), "true")
    assert await stored(gateway) == 2
    bundle = (await gateway.client.get(f"/v1/rounds/{round_id}/evidence")).content
    lines = [line for line in map(json.loads, bundle.splitlines()) if line["type"] == "seen"]
    keys = [casino.key.public_key().public_bytes_raw() for casino in casinos]  # type: ignore[union-attr]
    assert {line["public_key"] for line in lines} == {key.hex() for key in keys}
    assert all(casino.operator.id.hex.encode() not in bundle for casino in casinos)
    found = verify(bundle, tmp_path)["files"][0]["rounds"][0]
    assert found["exit_status"] == 0
    names = {check["name"]: check["verdict"] for check in found["checks"]}
    assert [names[f"lock seen by {key.hex()}"] for key in keys] == ["ok", "ok"]
    (tmp_path / "bundle").write_bytes(bundle)
    trusted = ["--quiet", "--operator-key", keys[0].hex(), str(tmp_path / "bundle")]
    assert verifier.main(trusted) == verifier.VERIFIED
    assert verifier.main(["--operator-key", "00" * 32, *trusted]) == verifier.INCOMPLETE


async def test_what_is_no_countersignature_of_the_rounds_lock_is_refused_and_not_stored(
    gateway: Gateway, room: Room
) -> None:
    casino, other = await gateway.casino(ed25519=True), await gateway.casino(ed25519=True)
    shared = await gateway.casino()
    round_id = await round_id_of(gateway, room)
    early = await casino.post(f"/v1/rounds/{round_id}/seen", seen(casino, "00" * 32))
    assert (early.status_code, early.json()["code"]) == (409, "round_not_locked")
    await gateway.play_until(round_id, "settled")
    lock = await lock_of(casino, round_id)
    now_ms = time.time_ns() // 1_000_000
    wrong: list[tuple[dict[str, Any], int, str, str | None]] = [
        (seen(casino, "00" * 32), 409, "lock_differs", "lock"),
        (seen(casino, lock, signature="00" * 64), 422, "seen_invalid", "signature"),
        (seen(other, lock, key_id=casino.key_id), 422, "seen_invalid", "signature"),
        (seen(casino, lock) | {"seen_ms": now_ms - 1}, 422, "seen_invalid", "signature"),
        (seen(other, lock), 404, "key_not_found", "key_id"),
        (seen(casino, lock, key_id=shared.key_id), 404, "key_not_found", "key_id"),
        (seen(casino, lock, key_id="nobody"), 404, "key_not_found", "key_id"),
        (seen(casino, lock, seen_ms=now_ms + 600_000), 422, "invalid_request", "seen_ms"),
        (seen(casino, lock, seen_ms=now_ms - 600_000), 422, "invalid_request", "seen_ms"),
        (seen(casino, lock, seen_ms=1) | {"seen_ms": "1"}, 422, "invalid_request", "seen_ms"),
        (seen(casino, lock, more=1), 422, "unknown_field", "more"),
        (seen(casino, lock) | {"lock": lock.upper()}, 422, "invalid_request", "lock"),
        (seen(casino, lock, signature="00"), 422, "invalid_request", "signature"),
    ]
    for body, status, code, field in wrong:
        answer = await casino.post(f"/v1/rounds/{round_id}/seen", body)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field), body
    twice = json.dumps(seen(casino, lock))[:-1].encode() + b', "lock": "' + lock.encode() + b'"}'
    answer = await casino.send("POST", f"/v1/rounds/{round_id}/seen", twice, JSON)
    assert answer.json()["code"] == "duplicate_field"
    await gateway.platform.identity.revoke_key(casino.key_id, actor="test")
    assert (await casino.post(f"/v1/rounds/{round_id}/seen", seen(casino, lock))).status_code == 401
    assert await stored(gateway) == 0


async def test_a_key_that_is_revoked_no_longer_countersigns(gateway: Gateway, room: Room) -> None:
    casino = await gateway.casino(ed25519=True)
    second = Ed25519PrivateKey.generate()
    public_key = second.public_key().public_bytes_raw()
    await gateway.platform.identity.add_ed25519_key(casino.operator.id, "second", public_key, actor="test")
    await gateway.platform.identity.revoke_key("second", actor="test")
    round_id = await round_id_of(gateway, room)
    await gateway.play_until(round_id, "settled")
    lock = await lock_of(casino, round_id)
    by_second = Casino(casino.operator, "second", second, casino.client)
    answer = await casino.post(f"/v1/rounds/{round_id}/seen", seen(by_second, lock))
    assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")


async def test_the_rounds_of_another_operators_room_are_not_there_to_be_countersigned(gateway: Gateway) -> None:
    owner, stranger = await gateway.casino(ed25519=True), await gateway.casino(ed25519=True)
    private = await gateway.room(period_ms=2_000, lock_lead_ms=500, operator_id=owner.operator.id)
    round_id = await round_id_of(gateway, private)
    await gateway.play_until(round_id, "settled")
    lock = await lock_of(owner, round_id)
    for missing in (round_id, 2**62):
        answer = await stranger.post(f"/v1/rounds/{missing}/seen", seen(stranger, lock))
        assert (answer.status_code, answer.json()["code"]) == (404, "round_not_found")
    assert await stored(gateway) == 0
    assert (await owner.post(f"/v1/rounds/{round_id}/seen", seen(owner, lock))).status_code == 201


async def test_the_first_countersignature_stands_and_no_row_is_ever_changed(gateway: Gateway, room: Room) -> None:
    casino = await gateway.casino(ed25519=True)
    round_id = await round_id_of(gateway, room)
    await gateway.play_until(round_id, "settled")
    lock = await lock_of(casino, round_id)
    first = seen(casino, lock)
    assert (await casino.post(f"/v1/rounds/{round_id}/seen", first)).status_code == 201
    later = await casino.post(f"/v1/rounds/{round_id}/seen", seen(casino, lock, seen_ms=first["seen_ms"] + 1))
    assert (later.status_code, later.json()["code"]) == (409, "seen_before")
    assert await gateway.owner_pool.fetchval("SELECT seen_ms FROM seen_locks") == first["seen_ms"]
    for statement in ("UPDATE seen_locks SET seen_ms = 1", "DELETE FROM seen_locks", "TRUNCATE seen_locks"):
        with pytest.raises(asyncpg.PostgresError):
            await gateway.owner_pool.execute(statement)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="does not have this lock"):
        await gateway.owner_pool.execute(
            "INSERT INTO seen_locks (round_id, operator_id, lock_hash, public_key, seen_ms, signature) "
            "SELECT round_id, operator_id, sha256(lock_hash), public_key, seen_ms, signature FROM seen_locks"
        )


async def test_an_operator_that_repeats_what_another_signed_does_not_spoil_the_evidence(
    gateway: Gateway, room: Room, tmp_path: Path
) -> None:
    casino, copycat = await gateway.casino(ed25519=True), await gateway.casino(ed25519=True)
    assert isinstance(casino.key, Ed25519PrivateKey)
    public_key = casino.key.public_key().public_bytes_raw()
    await gateway.platform.identity.add_ed25519_key(copycat.operator.id, "copied", public_key, actor="test")
    round_id = await round_id_of(gateway, room)
    await gateway.play_until(round_id, "settled")
    said = seen(casino, await lock_of(casino, round_id))
    for who, key_id in ((casino, casino.key_id), (copycat, "copied")):
        answer = await who.post(f"/v1/rounds/{round_id}/seen", said | {"key_id": key_id})
        assert answer.status_code == 201, answer.text
    bundle = (await gateway.client.get(f"/v1/rounds/{round_id}/evidence")).content
    assert bundle.count(b'"type":"seen"') == 1
    assert verify(bundle, tmp_path)["exit_status"] == 0
