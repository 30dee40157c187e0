"""`POST /v1/fairness/verify`: the verifier's own verdict on whatever is sent, and no process that stays behind."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.bundles import House, TestBet, dump
from support.gateway import Gateway

from keno import shapes, verifier
from keno.fairness import verdicts


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"], response.json().get("field")


async def verified(gateway: Gateway, evidence: str) -> dict[str, Any]:
    answer = await gateway.client.post("/v1/fairness/verify", json={"evidence": evidence})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    msgspec.json.decode(answer.content, type=shapes.Verified)
    return dict(answer.json())


async def test_a_played_round_is_verified_and_a_changed_one_is_not(gateway: Gateway, tmp_path: Path) -> None:
    room = await gateway.room(period_ms=2_000, lock_lead_ms=500)
    round_id = await gateway.owner_pool.fetchval("SELECT min(id) FROM rounds WHERE room_id = $1", room.id)
    await gateway.play_until(round_id, "settled")
    evidence = (await gateway.client.get(f"/v1/rounds/{round_id}/evidence")).text
    found = await verified(gateway, evidence)
    assert (found["exit_status"], found["malformed"], found["faults"]) == (0, None, [])
    assert [each["profile_proved"] for each in found["rounds"]] == ["S"]
    (bundle,) = verifier.verify_bundles({"f": evidence.encode()})
    said = verifier.json_object([bundle], bundle.status)["files"][0]
    del said["file"]
    assert found == json.loads(json.dumps(said))

    number = re.search(r'"numbers":\[([0-9]+),', evidence)
    assert number is not None
    changed = evidence.replace(f'"numbers":[{number[1]},', f'"numbers":[{int(number[1]) % 80 + 1},', 1)
    assert (await verified(gateway, changed))["exit_status"] == 1


async def test_an_auditors_bundle_is_verified_with_its_bets(gateway: Gateway) -> None:
    house = House()
    bundle = dump(house.play(1, (TestBet(1, (1, 2, 3), 100, player="ann"),))).decode()
    found = await verified(gateway, bundle)
    assert (found["exit_status"], found["rounds"][0]["totals"]["bets"]) == (0, 1)


@pytest.mark.parametrize("evidence", ["", "{", '{"type":"round"}', "\x00", "é" * 100, "[" * 100_000, "\n" * 1_000])
async def test_what_is_no_evidence_is_told_so(gateway: Gateway, evidence: str) -> None:
    assert (await verified(gateway, evidence))["exit_status"] in (2, 3)


async def test_bad_requests_are_refused(gateway: Gateway) -> None:
    async def send(body: bytes, media_type: str = "application/json") -> httpx.Response:
        return await gateway.client.post("/v1/fairness/verify", content=body, headers={"Content-Type": media_type})

    assert problem(await send(b'{"evidence":1}')) == (422, "invalid_request", "evidence")
    assert problem(await send(b"{}")) == (422, "missing_field", "evidence")
    assert problem(await send(b'{"evidence":"","more":1}'))[:2] == (422, "unknown_field")
    assert problem(await send(b'{"evidence":"","evidence":""}'))[:2] == (400, "duplicate_field")
    assert problem(await send(b'{"evidence":""}', "text/plain"))[:2] == (415, "unsupported_media_type")
    assert problem(await send(b'{"evidence":"' + b"x" * 524_288 + b'"}'))[:2] == (413, "body_too_large")


async def test_what_takes_too_long_is_ended_and_too_many_at_once_are_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def remembered(*command: str, **how: Any) -> asyncio.subprocess.Process:
        started.append(await start("sleep", "60", **how) if command else await start(*command, **how))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remembered)
    monkeypatch.setattr(verdicts, "VERIFY_S", 0.3)
    monkeypatch.setattr(verdicts, "WAITING_MAX", 3)
    asked = [gateway.client.post("/v1/fairness/verify", json={"evidence": ""}) for _ in range(5)]
    answers = sorted([problem(answer) for answer in await asyncio.gather(*asked)], key=lambda each: each[0])
    assert answers == [(422, "invalid_request", "evidence")] * 3 + [(503, "overloaded", None)] * 2
    assert [process.returncode for process in started] == [-9] * 3
