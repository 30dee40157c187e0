"""Limits of players, devices and addresses: exact over all gateways, told to the limited, closed where money moves."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from redis.asyncio import Redis
from support.gateway import Casino, Gateway
from support.players import play, problem

from keno.risk import rates
from keno.risk.rates import Bucket, Rate
from keno.risk.service import LimitError, Limits

ME = "/v1/player/me"


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


def bucket(kind: str = "player", name: str = "", rate: Rate = Rate(1, 3)) -> Bucket:  # noqa: B008 - a constant
    return Bucket(kind, name or uuid.uuid4().hex, rate)


async def test_gateways_that_ask_at_once_share_a_bucket(redis_url: str) -> None:
    shared = bucket(rate=Rate(1, 50))
    async with Redis.from_url(redis_url) as first, Redis.from_url(redis_url) as second:
        gateways = [Limits(first), Limits(second)]
        standings = await asyncio.gather(*(gateways[n % 2].take([shared]) for n in range(100)))
        for each in gateways:
            await each.close()
    assert sum(not standing.wait_us for (standing,) in standings) in (50, 51)


async def test_a_request_takes_from_all_of_its_buckets_or_from_none(redis_url: str) -> None:
    full, empty = bucket(rate=Rate(1, 10)), bucket("device", rate=Rate(1, 1))
    async with Redis.from_url(redis_url) as redis:
        limits = Limits(redis)
        both = [await limits.take([full, empty]) for _ in range(3)]
        (alone,) = await limits.take([full], 9)
        await limits.close()
    assert [[standing.wait_us > 0 for standing in pair] for pair in both] == [
        [False, False],
        [False, True],
        [False, True],
    ]
    assert [pair[0].remaining for pair in both] == [9, 9, 9]
    assert alone.wait_us == 0


async def test_what_costs_more_takes_more_and_waits_as_long_as_it_must(redis_url: str) -> None:
    limited = bucket(rate=Rate(10, 100))
    async with Redis.from_url(redis_url) as redis:
        limits = Limits(redis)
        (first,), (second,) = await limits.take([limited], 90), await limits.take([limited], 30)
        await limits.close()
    assert (first.remaining, first.wait_us) == (10, 0)
    assert 1_500_000 < second.wait_us <= 2_000_000


async def test_a_redis_that_is_away_raises_and_the_next_call_tries_again(redis_url: str) -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as nowhere:
        limits = Limits(nowhere)
        for _ in range(2):
            with pytest.raises(LimitError):
                await limits.take([bucket()])
        await limits.close()


@pytest.mark.parametrize("kind", ["PLAYER", "DEVICE"])
async def test_a_player_beyond_a_limit_waits_and_is_told_how_long(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(rates, kind, Rate(1, 3))
    player, other = await play(casino, "p-1"), await play(casino, "p-2")
    answers = [await player.get(ME) for _ in range(5)]
    assert [answer.status_code for answer in answers][:3] == [200] * 3
    assert problem(answers[-1]) == (429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3
    assert f'"{kind.lower()}";r=0;' in answers[-1].headers["ratelimit"]
    assert f'"{kind.lower()}";q=3;w=3' in answers[-1].headers["ratelimit-policy"]
    assert '"address";r=' in answers[0].headers["ratelimit"]
    assert (await other.get(ME)).status_code == 200


async def test_an_address_beyond_its_limit_is_refused_before_its_ticket_is_looked_at(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "ADDRESS", Rate(1, 2))
    answers: list[Any] = [await gateway.client.post("/v1/auth/exchange", json={"ticket": "x" * 56}) for _ in range(4)]
    assert [problem(answer)[1] for answer in answers] == ["ticket_invalid"] * 2 + ["rate_limited"] * 2
    assert problem(await gateway.client.get("/v1/rounds/1/evidence")) == (429, "rate_limited")


async def test_operators_are_not_held_to_the_limit_of_their_address(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "ADDRESS", Rate(1, 1))
    assert [(await casino.get("/v1/rooms")).status_code for _ in range(4)] == [200] * 4


async def test_without_redis_reading_goes_on_and_what_moves_money_does_not(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise LimitError("Redis does not answer")

    player = await play(casino)
    monkeypatch.setattr(gateway.platform.limits, "take", away)
    assert (await player.get(ME)).status_code == 200
    assert problem(await player.post("/v1/player/bets", {})) == (503, "unavailable")
    assert problem(await gateway.client.post("/v1/auth/exchange", json={"ticket": "x" * 56})) == (503, "unavailable")
