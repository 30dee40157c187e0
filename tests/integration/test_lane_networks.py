"""Whoever calls the bet lane or the gateway's route, an operator is held to the networks that it set."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest
from support.answers import check_answer
from support.gateway import ORIGIN, Gateway
from support.lanes import LaneTransport

from gateway.app import create_app, create_lane
from keno.infra.cache import AGE_MS


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "route"])
async def test_bets_come_only_from_the_networks_of_their_operator(gateway: Gateway, lane: bool) -> None:
    casino = await gateway.casino()
    await gateway.owner_pool.execute("UPDATE operators SET networks = '{203.0.113.0/24}'")
    await asyncio.sleep(AGE_MS / 1000)
    platform = replace(gateway.platform, config=replace(gateway.platform.config, proxies_count=1))
    transport: httpx.AsyncBaseTransport = httpx.ASGITransport(app=create_app(platform))  # type: ignore[arg-type]
    if lane:
        transport = LaneTransport(create_lane(platform), transport)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        there = replace(casino, client=client)
        for forwarded_for, code in [
            ("203.0.113.9", "unsupported_media_type"),
            ("203.0.113.9, 198.51.100.1", "address_not_allowed"),
            ("", "address_not_allowed"),
        ]:
            answer = await there.send("POST", "/v1/bets", b"{}", {"X-Forwarded-For": forwarded_for})
            assert answer.json()["code"] == code, forwarded_for
            check_answer(answer, casino.key_id, casino.key, {})
