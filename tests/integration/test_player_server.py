"""Players on two gateways of one installation, over real sockets; and who may call which route at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx
import pytest
from support.databases import Database
from support.gateway import Casino, Gateway, open_gateway
from support.players import Player, enter, launch, post, problem
from support.ports import free_ports

from gateway.app import create_app
from gateway.server import serve

HOST = "127.0.0.1"

"""What needs neither signature nor token; the calls of /v1/auth and the login have their proof in the body."""


@pytest.fixture
async def gateways(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Gateway, list[httpx.AsyncClient]]]:
    """Two servers with platforms of their own, behind one origin as behind one proxy."""
    ports = free_ports(2)
    origin = f"http://{HOST}:{ports[0]}"
    stop = asyncio.Event()
    async with (
        open_gateway(database, owner_pool, redis_url, tmp_path, origin) as first,
        open_gateway(database, owner_pool, redis_url, tmp_path, origin) as second,
        # The origin's Host header whatever the port is, as a proxy passes it on.
        httpx.AsyncClient(base_url=origin) as near,
        httpx.AsyncClient(base_url=f"http://{HOST}:{ports[1]}", headers={"Host": f"{HOST}:{ports[0]}"}) as far,
    ):
        serving = [
            asyncio.create_task(serve(create_app(each.platform), HOST, port, stop))
            for each, port in zip((first, second), ports, strict=True)
        ]
        clients = [near, far]
        for client in clients:
            while True:
                try:
                    await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
        yield first, clients
        stop.set()
        await asyncio.gather(*serving)


async def test_a_session_is_one_on_all_gateways_from_its_launch_to_its_end(
    gateways: tuple[Gateway, list[httpx.AsyncClient]],
) -> None:
    gateway, (near, far) = gateways
    made, room = await gateway.casino(ed25519=True), await gateway.room()
    casino = Casino(made.operator, made.key_id, made.key, near, str(near.base_url).rstrip("/"))
    deposit = {"transaction_id": "d-1", "amount_minor": 300, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201

    player = await enter(far, (await launch(casino, room=str(room.id)))["ticket"])
    bet = {"transaction_id": "t-1", "room": str(room.id), "picks": [1], "stake_minor": 100}
    for client, number in ((near, 1), (far, 2)):
        placed = await replace(player, client=client).post("/v1/player/bets", bet | {"transaction_id": f"t-{number}"})
        assert placed.status_code == 201, placed.text
    here = Player(near, player.access_token, player.refresh_token, player.session)
    assert (await here.get("/v1/player/me")).json()["balance_minor"] == 100
    assert (await here.refresh()).status_code == 200

    await gateway.platform.signing_keys.rotate("player-token", actor="test")
    assert (await here.refresh()).status_code == 200
    assert (await replace(here, client=far).get("/v1/player/history")).status_code == 200
    assert (await post(far, "/v1/auth/logout", {"refresh_token": here.refresh_token})).status_code == 200
    for client in (near, far):
        assert problem(await replace(here, client=client).get("/v1/player/me")) == (401, "session_ended")
