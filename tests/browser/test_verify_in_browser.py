"""The page `/verify` of a real gateway in a real browser: what is dropped on it, what it fetches, and all offline.

Not part of `make test`, since a machine need not have a browser: `make test-browser`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from support.chromium import PROGRAM, ChromiumPage, open_page
from support.databases import Database
from support.gateway import Gateway, open_gateway

from gateway.app import create_app
from gateway.server import serve
from keno import verifier

pytestmark = [
    pytest.mark.skipif("KENO_TEST_BROWSER" not in os.environ, reason="a browser is asked for by make test-browser"),
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; on Debian: apt-get install chromium"),
]

HOST = "127.0.0.1"
WORDS = {0: "verified", 1: "VIOLATION", 2: "malformed", 3: "incomplete"}
VERDICT = "document.getElementById('verdict').innerText"
GIVEN = f"!['', 'Verifying …'].includes({VERDICT}.trim()) && {VERDICT}"


@pytest.fixture
def origin() -> str:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return f"http://{HOST}:{probe.getsockname()[1]}"


@pytest.fixture
async def gateway(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path, origin: str
) -> AsyncIterator[Gateway]:
    """A gateway that serves, and has played a round."""
    async with open_gateway(database, owner_pool, redis_url, tmp_path / "house", origin) as opened:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(create_app(opened.platform), HOST, int(origin.rpartition(":")[2]), stop))
        async with httpx.AsyncClient(base_url=origin) as client:
            while not serving.done():
                try:
                    await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
        await opened.room(period_ms=2_000, lock_lead_ms=500)
        yield opened
        stop.set()
        await serving


@pytest.fixture
async def played(gateway: Gateway) -> int:
    """The id of a round that was played to its end."""
    round_id: int = await gateway.owner_pool.fetchval("SELECT min(id) FROM rounds")
    await gateway.play_until(round_id, "settled")
    return round_id


@pytest.fixture
async def bundle(gateway: Gateway, played: int) -> bytes:
    """Its public evidence."""
    return (await gateway.client.get(f"/v1/rounds/{played}/evidence")).content


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[ChromiumPage]:
    async with open_page(tmp_path / "browser") as opened:
        yield opened


async def verdict_on(page: ChromiumPage, path: Path, data: bytes) -> str:
    """What the page says of a file that is dropped on it."""
    await asyncio.to_thread(path.write_bytes, data)
    await page.value("document.getElementById('verdict').replaceChildren()")
    await page.drop("#drop", [path])
    return str(await page.until(GIVEN))


def expected(data: bytes) -> str:
    """The word for what the verifier in Python finds."""
    return WORDS[verifier.worst(report.status for report in verifier.verify_bundles({"file": data}))]


def changed(bundle: bytes, member: str) -> bytes:
    """A bundle in which one member of the round's line is another round's."""
    lines = [json.loads(line) for line in bundle.splitlines()]
    (line,) = (line for line in lines if line["type"] == "round")
    old = line[member]
    line[member] = [old[1], old[0], *old[2:]] if isinstance(old, list) else ("0" if old[0] != "0" else "1") + old[1:]
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


async def test_bundles_dropped_on_the_loaded_page_are_judged_without_a_network(
    page: ChromiumPage, origin: str, bundle: bytes, tmp_path: Path
) -> None:
    await page.open(f"{origin}/verify")
    await page.go_offline()
    cases = {
        "good": bundle,
        "numbers": changed(bundle, "numbers"),
        "seed": changed(bundle, "seed"),
        "lock": changed(bundle, "lock"),
        "cut": bundle[: len(bundle) // 2],
        "no evidence": b"\x00\xff not evidence",
    }
    found = {name: await verdict_on(page, tmp_path / "dropped.jsonl", data) for name, data in cases.items()}
    assert {name: verdict.split(",")[0].split(";")[0] for name, verdict in found.items()} == {
        name: expected(data) for name, data in cases.items()
    }
    assert found["good"] == "verified, profile S; rounds: 1"
    assert [found[name].partition(";")[0] for name in ("numbers", "seed", "lock")] == ["VIOLATION"] * 3


async def test_a_round_is_fetched_by_its_id_and_judged(page: ChromiumPage, origin: str, played: int) -> None:
    await page.open(f"{origin}/verify")
    verdicts = []
    for round_id in (str(played), "999999"):
        await page.value("document.getElementById('verdict').replaceChildren()")
        await page.value(
            f"document.querySelector('#round [name=id]').value = '{round_id}';"
            " document.getElementById('round').requestSubmit()"
        )
        verdicts.append(await page.until(GIVEN))
    assert verdicts[0] == "verified, profile S; rounds: 1"
    assert verdicts[1].startswith("Nothing was verified: ")


async def test_the_saved_page_judges_from_a_file_without_any_network(
    page: ChromiumPage, gateway: Gateway, bundle: bytes, tmp_path: Path
) -> None:
    saved = tmp_path / "keno-verify.html"
    saved.write_bytes((await gateway.client.get("/verify/keno-verify.html")).content)
    await page.go_offline()
    await page.open(saved.as_uri())
    assert await verdict_on(page, tmp_path / "dropped.jsonl", bundle) == "verified, profile S; rounds: 1"
    tampered = await verdict_on(page, tmp_path / "dropped.jsonl", changed(bundle, "result"))
    assert tampered.startswith("VIOLATION")
