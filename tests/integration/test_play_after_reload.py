"""The page `/play` of a real gateway and a real live stream, opened by a ticket, and loaded anew in the same tab."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
from support.databases import Database
from support.gateway import open_gateway
from support.javascript import NODE
from support.live import open_live
from support.players import launch, play
from support.ports import free_port
from support.serving import HOST, served

from gateway.app import create_app

PAGE = Path(__file__).parents[1] / "support" / "play_page.mjs"


async def opened(origin: str, live_url: str, until: str, *, ticket: str = "", kept: str = "") -> dict[str, Any]:
    """What the page shows, once its bets match `until`, and what its tab keeps."""
    fragment = f"#ticket={ticket}" if ticket else ""
    page = await asyncio.create_subprocess_exec(
        NODE, PAGE, origin, live_url, fragment, kept, until, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await page.communicate()
    shown: dict[str, Any] = json.loads(out)
    return shown


async def test_bets_and_what_they_won_are_there_again_after_a_reload(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> None:
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path / "house", origin) as gateway,
        served(create_app(gateway.platform), port),
        open_live(gateway.platform) as live,
    ):
        casino = replace(await gateway.casino(), origin=origin)
        room = await gateway.room(period_ms=2_000, lock_lead_ms=500)
        deposit = {"transaction_id": "d-1", "amount_minor": 10_000, "currency": "EUR"}
        assert (await casino.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
        player = await play(casino)

        async def bet(number: int) -> dict[str, Any]:
            asked = {"transaction_id": f"t-{number}", "room": str(room.id), "picks": [number], "stake_minor": 100}
            answer = await player.post("/v1/player/bets", asked)
            assert answer.status_code == 201, answer.text
            found: dict[str, Any] = answer.json()
            return found

        ended = [await bet(number) for number in range(1, 13)]
        # What ended while a channel of players is kept could come from there; older bets could not.
        for each in {each["round"]["id"] for each in ended}:
            await gateway.play_until(int(each), "settled")
        still_open = await bet(80)

        ticket = (await launch(casino, room=str(room.id)))["ticket"]
        first = await opened(origin, live.url, "accepted(.|\n)*win", ticket=ticket)
        again = await opened(origin, live.url, "accepted(.|\n)*win", kept=first["kept"])

        assert first["message"] == again["message"] == ""
        assert first["kept"] != again["kept"]
        assert first["bets"] == again["bets"]
        newest, *others = again["bets"]
        assert newest == f"Round {still_open['round']['number']} · 80 · 1.00 EUR · accepted"
        # The ten newest of the history: the open one, and nine before it.
        for text, placed in zip(others, reversed(ended[-9:]), strict=True):
            result = (await player.get(f"/v1/player/bets/{placed['bet_id']}")).json()["result"]
            won = f"won {result['payout_minor'] / 100:.2f} EUR" if result["payout_minor"] else "no win"
            assert text == f"Round {placed['round']['number']} · {placed['picks'][0]} · 1.00 EUR · {won} Verify"
