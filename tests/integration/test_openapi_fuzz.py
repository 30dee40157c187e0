"""The document against a real gateway: what it allows is read, what it forbids is not, and answers are as it says."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
from support.databases import Database
from support.fuzzing import FuzzTarget, fuzz
from support.gateway import Casino, Gateway, open_gateway
from support.ports import free_port
from support.serving import HOST, served
from support.staff import session_of

from gateway.app import create_app, create_lane
from gateway.placing import BATCH, BET
from keno.identity.signature import HmacSecret

EXAMPLES = int(os.environ.get("KENO_FUZZ_EXAMPLES", "2"))
SEED = int(os.environ.get("KENO_FUZZ_SEED", "1"))


async def test_a_fuzzer_finds_nothing_that_the_document_does_not_say(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> None:
    """`make fuzz-api` runs it for longer."""
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path / "platform", origin) as gateway,
        served(create_app(gateway.platform), port),
    ):
        code, report = await fuzz(await target_of(gateway, origin), tmp_path, EXAMPLES, SEED)
    print(report)  # noqa: T201
    assert code == 0, report


async def test_a_fuzzer_finds_nothing_on_the_lane_either(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> None:
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path / "platform", origin) as gateway,
        served(create_lane(gateway.platform), port),
    ):
        target = await target_of(gateway, origin)
        code, report = await fuzz(target, tmp_path, EXAMPLES, SEED, [f"POST {call.path}" for call in (BET, BATCH)])
    print(report)  # noqa: T201
    assert code == 0, report
    assert "Operations:" in report
    assert "2 selected" in report


async def target_of(gateway: Gateway, origin: str) -> FuzzTarget:
    """An operator with a room, a settled round, players with money, and staff."""
    made, room = await gateway.casino(), await gateway.room(period_ms=2_000, lock_lead_ms=500)
    other_room = await gateway.room()
    casino = Casino(made.operator, made.key_id, made.key, gateway.client, origin)
    for player in ("p-1", "p-2"):
        deposit = {"transaction_id": f"d-{player}", "amount_minor": 10**9, "currency": "EUR"}
        assert (await casino.post(f"/v1/wallets/{player}/deposits", deposit)).status_code == 201
    bet = {"player": "p-2", "room": str(room.id), "picks": [1], "stake_minor": 100, "currency": "EUR"}
    placed = (await casino.post("/v1/bets", bet | {"transaction_id": "t-1"})).json()
    round_id = placed["round"]["id"]
    await gateway.play_until(int(round_id), "settled")
    staff_token = await session_of(gateway.platform.staff, "fuzzer", "owner")
    # Staff may revoke the keys of this one.
    rotating = await gateway.casino()
    await gateway.platform.identity.add_hmac_key(rotating.operator.id, "second", actor="test")
    assert isinstance(made.key, HmacSecret)
    known = {
        "room": [str(room.id), str(other_room.id)],
        "round": [round_id],
        "round_id": [round_id],
        "bet_id": [placed["bet_id"]],
        "player": ["p-2"],
        "currency": ["EUR"],
        "digest": [room.rules_hash.hex(), placed["paytable"]],
        "transaction_id": ["d-p-2", "t-1"],
        "operator": [str(rotating.operator.id)],
        "key_id": [rotating.key_id, "second"],
        "from": ["2026-11-01", "2026-10-31T01:00:00Z"],
        "to": ["2026-11-02", "2026-11-02T13:00:00Z"],
    }
    return FuzzTarget(origin, made.key_id, made.key.secret.hex(), staff_token, "p-1", known)
