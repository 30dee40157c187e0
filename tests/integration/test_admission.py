"""Nonces and rates in Redis: exact against a model, shared by gateways, and closed when Redis is away."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.cables import laid_cable
from support.loop_thread import LoopThread

from keno.identity.admission import Admission, AdmissionError, Admissions
from keno.infra.redis import ScriptCaller, create_redis
from keno.risk.rates import PER_SECOND_MAX, Rate

KEY = "k"


@asynccontextmanager
async def opened(redis_url: str) -> AsyncIterator[Admissions]:
    redis = create_redis(redis_url)
    admissions = Admissions(redis)
    yield admissions
    await admissions.close()
    await redis.aclose()


async def ask(admissions: Admissions, operator_id: UUID, per_second: int, cost: int, nonce: str = "") -> Admission:
    now_ms = time.time_ns() // 1_000_000
    nonce = nonce or uuid4().hex
    return await admissions.ask(
        KEY, nonce, operator_id, Rate(per_second), cost, created_s=now_ms // 1_000, now_ms=now_ms
    )


@pytest.fixture
async def admissions(redis_url: str) -> AsyncIterator[Admissions]:
    async with opened(redis_url) as made:
        yield made


async def test_two_gateways_share_nonces_and_rates(redis_url: str, admissions: Admissions) -> None:
    operator_id = uuid4()
    async with opened(redis_url) as other:
        assert not (await ask(admissions, operator_id, 1, 600, "n")).replayed
        assert (await ask(other, operator_id, 1, 1, "n")).replayed
        assert (await ask(other, operator_id, 1, 600)).limited
        assert not (await ask(other, operator_id, 1, 400)).limited
        assert (await ask(admissions, operator_id, 1, 10)).limited


async def test_however_many_gateways_ask_at_once_no_more_is_let_in_than_fits(redis_url: str) -> None:
    operator_id = uuid4()
    async with opened(redis_url) as one, opened(redis_url) as other:
        asked = [ask(each, operator_id, 1, 7) for _ in range(150) for each in (one, other)]
        answers = await asyncio.gather(*asked)
    assert sum(not answer.limited for answer in answers) == 1_000 // 7
    assert {answer.standing.remaining for answer in answers if answer.limited} == {1_000 % 7}


async def test_a_change_of_the_rate_holds_from_the_next_request_on(admissions: Admissions) -> None:
    operator_id = uuid4()
    assert not (await ask(admissions, operator_id, 1, 1_000)).limited
    assert (await ask(admissions, operator_id, 1, 1_000)).limited
    assert (await ask(admissions, operator_id, PER_SECOND_MAX, 1)).limited
    assert not (await ask(admissions, uuid4(), PER_SECOND_MAX, PER_SECOND_MAX)).limited


async def test_what_is_owed_at_a_low_rate_keeps_no_raised_one_waiting(admissions: Admissions) -> None:
    operator_id = uuid4()
    assert not (await ask(admissions, operator_id, 1, 1_000)).limited
    raised = await ask(admissions, operator_id, 10_000, 1_000)
    assert raised.limited
    assert raised.standing.remaining == 0
    assert raised.standing.full_us <= 1_000_000
    await asyncio.sleep(raised.standing.wait_us / 1_000_000 + 0.01)
    assert not (await ask(admissions, operator_id, 10_000, 1_000)).limited


async def test_a_bucket_that_is_full_again_takes_no_memory(redis: Redis, admissions: Admissions) -> None:
    operator_id = uuid4()
    await ask(admissions, operator_id, PER_SECOND_MAX, 1_000)
    await ask(admissions, operator_id, 1, 5)
    left_ms = await redis.pttl(f"keno:bets:{operator_id}")
    assert 4_000 < left_ms <= 5_002


async def test_redis_cut_off_refuses_everybody_who_waits_and_takes_requests_when_it_is_back(redis_url: str) -> None:
    async with laid_cable(redis_url) as (cable, url), opened(url) as admissions:
        operator_id = uuid4()
        await ask(admissions, operator_id, 10, 1)
        cable.pull()
        answers = await asyncio.gather(
            *(ask(admissions, operator_id, 10, 1) for _ in range(20)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {AdmissionError}
        cable.plug()
        assert not (await ask(admissions, operator_id, 10, 1)).replayed


async def test_a_redis_that_says_nothing_is_waited_for_no_longer_than_the_timeout() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        redis = create_redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        caller = ScriptCaller(redis, "return 1", timeout_s=0.05)
        with pytest.raises(TimeoutError):
            await caller.call([], [])
        await redis.aclose()
        await ended.wait()


async def test_a_redis_that_has_forgotten_the_script_is_given_it_again(redis: Redis, admissions: Admissions) -> None:
    await ask(admissions, uuid4(), 10, 1)
    await redis.script_flush()
    assert not (await ask(admissions, uuid4(), 10, 1)).limited


def exact(per_second: int, full: Fraction, now: int, costs: Sequence[int]) -> tuple[list[bool], list[int], Fraction]:
    """GCRA in fractions: of requests at one instant, which are let in and what remains, and when the bucket is full."""
    burst = max(per_second, 1_000)
    interval = Fraction(1_000_000, per_second)
    let_in, remains = [], []
    full = max(full, Fraction(now))
    for cost in costs:
        fits = full + cost * interval - now <= burst * interval
        full += cost * interval if fits else 0
        let_in.append(fits)
        remains.append(math.floor((burst * interval - (full - now)) / interval))
    return let_in, remains, full


RATES = st.sampled_from([1, 2, 5, 10, 1_000, 1_250, 10_000, 100_000, 1_000_000])
"""Rates whose intervals have no more than three decimals of a microsecond, so that the script too is exact."""


@settings(max_examples=60, deadline=None)
@given(
    per_second=RATES,
    exchanges=st.lists(st.lists(st.integers(1, 1_000), min_size=1, max_size=12), min_size=1, max_size=4),
)
def test_the_script_is_the_generic_cell_rate_algorithm(
    services_redis: tuple[LoopThread, str], per_second: int, exchanges: list[list[int]]
) -> None:
    loop, url = services_redis

    async def run() -> None:
        redis = create_redis(url)
        operator_id, full = uuid4(), Fraction(0)
        async with redis.client() as client, opened(url) as admissions:
            for costs in exchanges:
                answers = await asyncio.gather(*(ask(admissions, operator_id, per_second, cost) for cost in costs))
                # The script's own clock, from what it says: the bucket is full at now + full_us.
                stored = await client.get(f"keno:bets:{operator_id}")
                if all(answer.limited for answer in answers) or stored is None:
                    continue
                now = round(Fraction(stored.decode()) - answers[-1].standing.full_us)
                let_in, remains, full = exact(per_second, full, now, costs)
                assert [not answer.limited for answer in answers] == let_in
                assert [answer.standing.remaining for answer in answers] == remains
                assert Fraction(stored.decode()) == full
        await redis.aclose()

    loop.run(run())


@pytest.fixture(scope="module")
def services_redis(session_loop: LoopThread, request: pytest.FixtureRequest) -> tuple[LoopThread, str]:
    return session_loop, request.getfixturevalue("services").redis_url
