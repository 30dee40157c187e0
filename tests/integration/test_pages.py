"""The pages on a whole gateway, and the commands that change what people are told."""

from __future__ import annotations

import asyncio
import json
import re

from support.commands import Keno, told
from support.gateway import Gateway
from support.players import launch, play, post, problem

PATIENCE_S = 20


async def heading(gateway: Gateway, path: str) -> str:
    page = await gateway.client.get(path, headers={"Accept-Language": "de"})
    found = re.search(r"<h1[^>]*>([^<]*)</h1>", page.text)
    assert found
    return found[1]


async def become(gateway: Gateway, path: str, expected: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await heading(gateway, path) != expected:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.02)


async def test_the_launch_url_leads_to_the_page(gateway: Gateway) -> None:
    launched = await launch(await gateway.casino())
    url, _, fragment = launched["launch_url"].partition("#")
    page = await gateway.client.get(url)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert fragment == f"ticket={launched['ticket']}"
    for path in re.findall(r'(?:src|href)="(/play/[^"]+)"', page.text):
        assert (await gateway.client.get(path)).status_code == 200


async def test_a_ticket_that_was_used_is_told_of_with_a_code_that_the_page_knows(gateway: Gateway) -> None:
    ticket = (await launch(await gateway.casino()))["ticket"]
    assert (await post(gateway.client, "/v1/auth/exchange", {"ticket": ticket})).status_code == 200
    assert problem(await post(gateway.client, "/v1/auth/exchange", {"ticket": ticket})) == (401, "ticket_invalid")


async def test_a_player_sees_the_open_rooms_that_are_shared_or_the_operators(gateway: Gateway) -> None:
    ours, theirs = await gateway.casino(), await gateway.casino()
    shared, own = await gateway.room(), await gateway.room(operator_id=ours.operator.id)
    await gateway.room(operator_id=theirs.operator.id)
    closed = await gateway.room()
    await gateway.platform.rooms.close(closed.name, actor="test")
    rooms = (await (await play(ours)).get("/v1/player/rooms")).json()["rooms"]
    assert {room["room"] for room in rooms} == {str(shared.id), str(own.id)}
    assert problem(await gateway.client.get("/v1/player/rooms")) == (401, "token_missing")


async def test_texts_of_pages_are_changed_on_the_command_line(gateway: Gateway, keno: Keno) -> None:
    await become(gateway, "/play", "Keno")
    await told(keno, "text", "set", "de", "Keno", "Keno <& mehr>")
    await become(gateway, "/play", "Keno &lt;&amp; mehr&gt;")
    changed = await told(keno, "text", "list", "de", "--changed", "--json")
    assert json.loads(changed) == {"language": "de", "text_id": "Keno", "content": "Keno <& mehr>", "changed": True}
    await told(keno, "text", "reset", "de", "Keno")
    await become(gateway, "/play", "Keno")
    assert await told(keno, "text", "list", "--changed") == ""
    assert "room_closed.title  Raum geschlossen\n" in await told(keno, "text", "list", "de")


async def test_the_commands_say_what_is_wrong_with_a_text(keno: Keno) -> None:
    assert "one of en, de, es, pt, ja" in await told(keno, "text", "set", "fr", "Keno", "x", code=1)
    assert "no text 'nothing'" in await told(keno, "text", "set", "de", "nothing", "x", code=1)
    assert "placeholders of the English: {number}" in await told(
        keno, "text", "set", "de", "Round {number}", "x", code=1
    )
    assert "no text" in await told(keno, "text", "reset", "de", "nothing", code=1)


async def test_the_verifying_page_is_in_the_language_of_the_browser(gateway: Gateway) -> None:
    assert await heading(gateway, "/verify") == "Eine Runde prüfen"
    page = await gateway.client.get("/verify", headers={"Accept-Language": "fr"})
    assert '<html lang="en">' in page.text
    assert page.headers["vary"] == "Accept-Language"
    offline = (await gateway.client.get("/verify/keno-verify.html", headers={"Accept-Language": "de"})).text
    assert '<h1 data-text="Verify a round">Verify a round</h1>' in offline
