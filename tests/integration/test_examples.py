"""The examples of the guide, run against a real gateway. Those for curl and Node run where their tools are."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from support.databases import Database
from support.gateway import Casino, Gateway, open_gateway
from support.live import flowing, open_live
from support.ports import free_port
from support.serving import HOST, served

from gateway.app import create_app
from keno.identity.signature import HmacSecret

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
DEPOSITS = {"deposit.sh": ("sh", "curl", "openssl"), "deposit.mjs": ("node",)}
RUNNABLE = [name for name, tools in DEPOSITS.items() if all(map(shutil.which, tools))]


@pytest.fixture
async def gateway(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Gateway, str]]:
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path, origin) as opened,
        served(create_app(opened.platform), port),
    ):
        yield opened, origin


async def run(*command: str) -> str:
    """What a command prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_the_python_example_places_a_bet(gateway: tuple[Gateway, str]) -> None:
    platform, origin = gateway
    casino, room = await platform.casino(), await platform.room()
    printed = await run(
        sys.executable, str(EXAMPLES / "place_a_bet.py"), origin, casino.key_id, secret_of(casino), str(room.id)
    )
    assert "leaf" in printed
    assert "deposit 5000 EUR" in printed


async def test_the_example_of_the_live_stream_sees_its_bet_settled(gateway: tuple[Gateway, str]) -> None:
    platform, origin = gateway
    casino, room = await platform.casino(), await platform.room(period_ms=4_000, lock_lead_ms=500)
    example = [str(EXAMPLES / "watch_and_bet.py"), origin, casino.key_id, secret_of(casino), str(room.id)]
    async with flowing(platform), open_live(platform.platform) as live:
        running = asyncio.create_task(run(sys.executable, *example, live.url))
        while not running.done():
            await platform.play_on()
        printed = await running
    assert "on round" in printed
    assert "drew" in printed
    assert "hits" in printed


@pytest.mark.parametrize("name", RUNNABLE)
async def test_an_example_without_any_library_deposits(gateway: tuple[Gateway, str], name: str) -> None:
    platform, origin = gateway
    casino = await platform.casino()
    printed = await run(DEPOSITS[name][0], str(EXAMPLES / name), origin, casino.key_id, secret_of(casino), "p-17")
    assert '"balance_minor":5000' in printed


def secret_of(casino: Casino) -> str:
    assert isinstance(casino.key, HmacSecret)
    return casino.key.secret.hex()
