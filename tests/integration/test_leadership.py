"""Several schedulers share the shards, and each shard has one leader, with Redis or without."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis
from support.rounds import Hall

from keno.infra.redis import create_redis
from keno.rounds import store
from keno.rounds.election import RedisElection
from keno.rounds.leadership import Leadership, Lease
from keno.rounds.lease import RENEW_S, STALE_S, TRUST_MARGIN_S, TTL_S

SHARDS = 6


@pytest.fixture
async def hall(hall: Hall) -> Hall:
    for shard in range(SHARDS):
        await hall.add_room(f"room {shard}", shard=shard)
    return hall


@dataclass
class Candidate:
    """A scheduler's leadership, a roll call at a time, with a clock that stands until it is set."""

    hall: Hall
    redis: Redis
    name: str
    now_s: float = 0.0
    leadership: Leadership = field(init=False)

    def __post_init__(self) -> None:
        election = RedisElection(self.redis)
        self.leadership = Leadership(self.hall.app_pool, election, self.name, lambda: self.now_s)

    async def call_roll(self) -> float:
        """A roll call; then what it began is taken, and what it ended is released."""
        async with self.hall.app_pool.acquire() as conn:
            rest_s = await self.leadership.call_roll(conn)
        for lease in self.leadership.leases:
            if lease.epoch is None and not lease.over.is_set():
                await self.leadership.take(lease)
            if lease.over.is_set():
                await self.leadership.release(lease)
        return rest_s

    async def leave(self) -> None:
        await self.leadership.start_to_leave()
        for lease in self.leadership.leases:
            await self.leadership.release(lease)
        await self.leadership.leave()

    @property
    def leads(self) -> set[int]:
        return {lease.shard for lease in self.leadership.leases if self.leadership.leads(lease)}

    def lease(self, shard: int) -> Lease:
        (found,) = (lease for lease in self.leadership.leases if lease.shard == shard)
        return found


@pytest.fixture
def candidates(hall: Hall, redis: Redis) -> list[Candidate]:
    return [Candidate(hall, redis, name) for name in ("one", "two", "three")]


async def die(candidate: Candidate) -> None:
    """What the others see of a process that was killed, once its lease has run out in Redis and in PostgreSQL."""
    for lease in candidate.leadership.leases:
        await candidate.redis.delete(f"{{keno:lease}}:{lease.shard}")
    await fall_silent(candidate, TTL_S)


async def fall_silent(candidate: Candidate, for_s: float) -> None:
    await candidate.hall.owner_pool.execute(
        "UPDATE schedulers SET beat = beat - make_interval(secs => $2) WHERE holder = $1", candidate.name, for_s
    )


async def grow_older(hall: Hall) -> None:
    """Lets all who have called the roll count where the shards are shared."""
    await hall.owner_pool.execute("UPDATE schedulers SET since = since - make_interval(secs => $1)", TTL_S)


async def share(*candidates: Candidate) -> None:
    """Brings the candidates to where each leads its part."""
    for each in candidates:
        await each.call_roll()
    await grow_older(candidates[0].hall)
    for each in candidates * 2:
        await each.call_roll()


async def epochs(hall: Hall) -> dict[int, int]:
    return {shard: epoch for shard, epoch in await hall.owner_pool.fetch("SELECT shard, epoch FROM leases")}


# ---- sharing ----


async def test_the_first_leads_all_and_shares_with_those_who_join_until_each_has_its_part(
    hall: Hall, candidates: list[Candidate]
) -> None:
    one, two, three = candidates
    await one.call_roll()
    assert one.leads == set(range(SHARDS))
    await two.call_roll()
    assert two.leads == set()
    await grow_older(hall)
    await one.call_roll()
    await two.call_roll()
    assert (len(one.leads), len(two.leads)) == (3, 3)
    for each in (three, one, two, three):
        await each.call_roll()
    assert three.leads == set(), "it does not count yet"
    await grow_older(hall)
    for each in (one, two, three):
        await each.call_roll()
    assert [len(each.leads) for each in candidates] == [2, 2, 2]
    assert one.leads | two.leads | three.leads == set(range(SHARDS))
    before = await epochs(hall)
    for _ in range(3):
        for each in candidates:
            await each.call_roll()
    assert await epochs(hall) == before, "a shard stays where it is"


async def test_the_shards_of_the_dead_go_to_the_living_and_no_others_move(
    hall: Hall, candidates: list[Candidate]
) -> None:
    one, two, three = candidates
    await share(*candidates)
    kept = {shard: epoch for shard, epoch in (await epochs(hall)).items() if shard not in one.leads}
    orphans = one.leads
    await die(one)
    for each in (two, three):
        await each.call_roll()
    assert two.leads | three.leads == set(range(SHARDS))
    after = await epochs(hall)
    assert {shard: after[shard] for shard in kept} == kept
    await one.call_roll()
    assert one.leads & orphans == set(), "who wakes up finds that it was replaced"


async def test_those_who_start_together_lead_all_at_once_and_later_each_its_part(
    hall: Hall, candidates: list[Candidate]
) -> None:
    for each in candidates:
        await each.call_roll()
    assert [len(each.leads) for each in candidates] == [SHARDS, 0, 0]
    await grow_older(hall)
    for each in candidates:
        await each.call_roll()
    assert [len(each.leads) for each in candidates] == [2, 2, 2]
    assert sum((await epochs(hall)).values()) == SHARDS + 4, "no shard changes hands twice"


async def test_those_who_keep_dying_young_take_no_shard_from_those_who_live(
    hall: Hall, candidates: list[Candidate]
) -> None:
    one, two, _ = candidates
    await share(one, two)
    before = await epochs(hall)
    for number in range(SHARDS):
        await Candidate(hall, one.redis, f"one that dies {number}").call_roll()
        for each in (one, two):
            await each.call_roll()
    assert await epochs(hall) == before


async def test_those_who_died_young_leave_no_shard_without_a_leader(hall: Hall, candidates: list[Candidate]) -> None:
    one, two, _ = candidates
    await share(one, two)
    for number in range(SHARDS):
        await Candidate(hall, one.redis, f"one that dies {number}").call_roll()
    await die(one)
    await two.call_roll()
    assert two.leads == set(range(SHARDS))


async def test_who_has_just_come_leads_what_all_others_have_left(hall: Hall, candidates: list[Candidate]) -> None:
    one, two, _ = candidates
    await share(one)
    await two.call_roll()
    await one.leave()
    await two.call_roll()
    assert two.leads == set(range(SHARDS))


async def test_who_leaves_hands_over_at_once_and_wakes_the_others(hall: Hall, candidates: list[Candidate]) -> None:
    one, two, _ = candidates
    await share(one, two)
    heard = asyncio.Event()
    async with hall.app_pool.acquire() as listening:
        await listening.add_listener(store.FREED_CHANNEL, lambda *_: heard.set())
        await one.leave()
        async with asyncio.timeout(60):
            await heard.wait()
        await listening.reset()
    await two.call_roll()
    assert two.leads == set(range(SHARDS))
    assert [holder for (holder,) in await hall.owner_pool.fetch("SELECT holder FROM schedulers")] == ["two"]


async def test_a_room_in_a_new_shard_gets_a_leader(hall: Hall, candidates: list[Candidate]) -> None:
    one, *_ = candidates
    await one.call_roll()
    await hall.add_room("late", shard=700)
    await one.call_roll()
    assert 700 in one.leads


# ---- Redis ----


async def test_redis_that_forgot_everything_moves_no_shard(hall: Hall, candidates: list[Candidate]) -> None:
    one, two, _ = candidates
    await share(one, two)
    before, led = await epochs(hall), one.leads
    await one.redis.flushdb()
    await one.call_roll()
    await two.call_roll()
    assert one.leads == led
    assert await epochs(hall) == before


@pytest.fixture
async def unreachable() -> AsyncIterator[Redis]:
    client = create_redis("redis://127.0.0.1:1", timeout_s=0.5)
    yield client
    await client.aclose()


async def test_without_redis_postgresql_elects_and_takes_nothing_from_the_living(
    hall: Hall, unreachable: Redis
) -> None:
    one, two = Candidate(hall, unreachable, "one"), Candidate(hall, unreachable, "two")
    await share(one, two)
    assert (len(one.leads), len(two.leads)) == (3, 3)
    await fall_silent(one, TTL_S)
    await two.call_roll()
    assert two.leads == set(range(SHARDS))


async def test_a_leader_that_redis_has_forgotten_for_another_steps_down(
    hall: Hall, candidates: list[Candidate]
) -> None:
    one, *_ = candidates
    await one.call_roll()
    await one.redis.set("{keno:lease}:2", "two", px=60_000)
    await one.call_roll()
    assert one.leads == {0, 1, 3, 4, 5}
    assert (await hall.owner_pool.fetchrow("SELECT epoch, holder FROM leases WHERE shard = 2")) == (1, None)


async def test_a_vote_that_does_not_run_out_does_not_keep_a_dead_leader(
    hall: Hall, candidates: list[Candidate]
) -> None:
    """The clock of Redis was set back, say."""
    one, two, _ = candidates
    await one.call_roll()
    for shard in range(SHARDS):
        await one.redis.persist(f"{{keno:lease}}:{shard}")
    await fall_silent(one, TTL_S)
    assert 0 < await two.call_roll() < STALE_S - TTL_S + RENEW_S / 10
    assert two.leads == set()
    await fall_silent(one, STALE_S - TTL_S)
    await two.call_roll()
    assert two.leads == set(range(SHARDS))
    assert await one.redis.get("{keno:lease}:0") == b"two"
    assert await one.redis.pttl("{keno:lease}:0") > 0


async def test_a_vote_that_does_not_run_out_does_not_keep_a_shard_without_a_leader(
    hall: Hall, candidates: list[Candidate]
) -> None:
    one, *_ = candidates
    await one.call_roll()
    await one.redis.set("{keno:lease}:2", "one that died")
    await one.call_roll()
    await one.call_roll()
    assert 2 not in one.leads, "the other may be about to take it"
    await hall.owner_pool.execute("UPDATE leases SET since = since - interval '10 s' WHERE shard = 2")
    await one.call_roll()
    assert 2 in one.leads


# ---- trust ----


async def test_a_leader_works_on_no_longer_than_its_vote_is_good_for(candidates: list[Candidate]) -> None:
    one, *_ = candidates
    await one.call_roll()
    one.now_s = TTL_S - TRUST_MARGIN_S - 0.001
    assert one.leads == set(range(SHARDS))
    assert one.leadership.current
    one.now_s = TTL_S - TRUST_MARGIN_S
    assert one.leads == set()
    await one.call_roll()
    assert one.leads == set(range(SHARDS)), "nobody took them meanwhile"
    one.now_s += TTL_S
    assert not one.leadership.current


async def test_a_roll_call_is_due_in_time_to_renew_and_when_anothers_silence_becomes_too_long(
    candidates: list[Candidate],
) -> None:
    one, two, _ = candidates
    assert await one.call_roll() == RENEW_S
    assert await two.call_roll() == RENEW_S
    await fall_silent(one, TTL_S - RENEW_S / 2)
    assert 0 < await two.call_roll() < RENEW_S


async def test_a_lease_lost_in_postgresql_is_over_at_the_next_roll_call(
    hall: Hall, candidates: list[Candidate]
) -> None:
    one, *_ = candidates
    await one.call_roll()
    lease = one.lease(3)
    await hall.owner_pool.execute("UPDATE leases SET epoch = epoch + 1, holder = 'a stranger' WHERE shard = 3")
    async with hall.app_pool.acquire() as conn:
        await one.leadership.call_roll(conn)
    assert lease.over.is_set()
    assert one.leads == {0, 1, 2, 4, 5}


# ---- take-overs ----


async def waiters(hall: Hall) -> int:
    """How many sessions of this database wait for another's lock."""
    count: int = await hall.owner_pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return count


async def until_waiting(hall: Hall, count: int) -> None:
    for _ in range(2_000):
        if await waiters(hall) >= count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"no {count} sessions wait")


async def test_a_transition_that_comes_after_a_take_over_cannot_overtake_it(hall: Hall) -> None:
    """Row locks alone would let it in, and the next one, and a take-over could wait for ever."""
    assert await store.take_lease(hall.app_pool, 0, "old", 0) == 1
    async with hall.app_pool.acquire() as first:
        transaction = first.transaction()
        await transaction.start()
        assert await first.fetchval("SELECT lease_held(0, 1)")
        taking = asyncio.create_task(store.take_lease(hall.app_pool, 0, "new", 1))
        await until_waiting(hall, 1)
        late = asyncio.create_task(hall.app_pool.fetchval("SELECT lease_held(0, 1)"))
        await until_waiting(hall, 2)
        assert not taking.done()
        await transaction.commit()
    assert await taking == 2
    assert await late is False
