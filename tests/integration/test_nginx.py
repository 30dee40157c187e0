"""Gateway, lane and live stream as one origin behind nginx, with the configuration that is deployed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx
import pytest
from support.databases import Database
from support.gateway import JSON, Casino, Gateway, open_gateway
from support.live import Client, room_channel
from support.players import launch, play, problem
from support.ports import free_port
from support.proxies import HOST, NGINX, proxied
from websockets.asyncio.client import connect

from keno.infra.cache import AGE_MS
from keno.up import run_gateway, run_lane, run_live

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")


class Front(NamedTuple):
    """The one origin, and the platform behind it. `clients` call from 127.0.0.1 and from 127.0.0.2."""

    origin: str
    gateway: Gateway
    clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
    live: Client

    async def casino(self) -> Casino:
        return replace(await self.gateway.casino(), client=self.clients[0], origin=self.origin)


@pytest.fixture
async def front(database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    port, gateway_port, live_port, lane_port = (free_port() for _ in range(4))
    origin, stop = f"https://{HOST}:{port}", asyncio.Event()
    behind = {8080: gateway_port, 8081: live_port, 8082: lane_port}
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path / "platform", origin) as gateway,
        proxied(tmp_path, port, behind) as trusted,
    ):
        ports = {"port": gateway_port, "live_port": live_port, "lane_port": lane_port}
        served = replace(gateway.platform, config=replace(gateway.platform.config, proxies_count=1, **ports))
        serving = [asyncio.create_task(run(served, stop)) for run in (run_gateway, run_lane, run_live)]
        try:
            for each in behind.values():
                await _listens(each, serving)
            lines = [httpx.AsyncHTTPTransport(verify=trusted, local_address=each) for each in (HOST, "127.0.0.2")]
            async with (
                httpx.AsyncClient(base_url=origin, transport=lines[0]) as here,
                httpx.AsyncClient(base_url=origin, transport=lines[1]) as there,
                connect(f"wss://{HOST}:{port}/v1/live", ssl=trusted, proxy=None) as socket,
            ):
                yield Front(origin, gateway, (here, there), Client(socket))
        finally:
            stop.set()
            await asyncio.gather(*serving)


async def _listens(port: int, serving: Sequence[asyncio.Task[None]]) -> None:
    while not any(each.done() for each in serving):
        try:
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.02)


async def test_bets_reads_and_the_live_stream_share_one_origin(front: Front) -> None:
    casino, room = await front.casino(), await front.gateway.room()
    deposit = {"transaction_id": "d-1", "amount_minor": 1_000, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p%2D1/deposits", deposit)).status_code == 201
    bet = {"transaction_id": "t-1", "player": "p-1", "room": str(room.id), "picks": [1, 2], "stake_minor": 100}
    placed = await casino.post("/v1/bets", bet | {"currency": "EUR"})
    assert placed.status_code == 201, placed.text
    batch = await casino.post("/v1/bets/batch", {"bets": [bet | {"currency": "EUR", "transaction_id": "t-2"}]})
    assert [each["status"] for each in batch.json()["results"]] == [201]
    assert (await casino.get(f"/v1/bets/{placed.json()['bet_id']}")).status_code == 200
    listed = await casino.get(f"/v1/bets?player=p%2D1&round={placed.json()['round']['id']}")
    assert [each["transaction_id"] for each in listed.json()["bets"]] == ["t-2", "t-1"]
    assert (await casino.send("OPTIONS", "/v1/bets")).headers["allow"] == "GET, OPTIONS, POST"
    assert (await casino.get(f"/v1/rooms/{room.id}/rounds?limit=%31")).status_code == 200
    player = await play(casino)
    live = front.live
    assert (await live.ask("authenticate", token=player.access_token))["type"] == "welcome"
    assert (await live.ask("subscribe", channels=[room_channel(room.id), "player"]))["type"] == "subscribed"
    own = {"transaction_id": "t-3", "room": str(room.id), "picks": [3], "stake_minor": 100}
    assert (await live.ask("bet", bet=own))["status"] == 201
    assert (await live.until("bet.accepted"))["bet"]["transaction_id"] == "t-3"


async def test_the_lane_answers_bets_and_the_gateway_the_rest(front: Front) -> None:
    (here, _) = front.clients
    assert problem(await here.post("/v1/bets", json={}))[0] == 401
    assert (await here.get("/.well-known/jwks.json")).status_code == 200
    assert (await here.get("/docs")).status_code == 200
    assert problem(await here.get("/v1/live/other"))[0] == 404


async def test_what_a_client_says_of_its_address_is_not_believed(front: Front) -> None:
    casino = await front.casino()
    assert (await casino.put("/v1/networks", {"networks": [f"{HOST}/32"]})).status_code == 200
    await asyncio.sleep(AGE_MS / 1000)
    elsewhere = replace(casino, client=front.clients[1])
    for method, path in (("GET", "/v1/rooms"), ("POST", "/v1/bets")):
        for claimed in ({}, {"X-Forwarded-For": HOST}, {"X-Forwarded-For": f"{HOST}, {HOST}"}):
            body = json.dumps({}).encode() if method == "POST" else b""
            refused = await elsewhere.send(method, path, body, JSON | claimed)
            assert problem(refused) == (403, "address_not_allowed"), (path, claimed)
    assert (await casino.get("/v1/rooms")).status_code == 200


async def test_a_ticket_is_exchanged_over_the_socket_once(front: Front) -> None:
    casino = await front.casino()
    ticket = (await launch(casino))["ticket"]
    assert (await front.live.ask("authenticate", ticket=ticket))["type"] == "welcome"
    again = await casino.client.post("/v1/auth/exchange", json={"ticket": ticket})
    assert problem(again) == (401, "ticket_invalid")
