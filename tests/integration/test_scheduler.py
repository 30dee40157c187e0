"""The scheduler on a real database: what it opens, skips, locks and draws, and when."""

import asyncpg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.rounds import EPOCH_ROUNDS, START_MS, Hall, check_chain, refused_by, schedule

from keno import verifier
from keno.bets.outcome import Outcome
from keno.rounds import engine, store

NOBODYS_SHARD = 7
SKIPS_MAX = 1_000
"""The most slots that open_due_rounds() records as skipped in one statement."""
UNDRAWN_MS = 180_000
"""How long a round waits for its draw before its room stops selling."""


# ---- opening and skipping ----


async def test_a_round_opens_only_once_its_commitment_is_public(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.scheduler.step()
    assert await hall.phases(room) == []
    await hall.vault.step()
    await hall.scheduler.step()
    assert await hall.phases(room) == ["open"]
    opened = await hall.row(room, 1)
    epoch = await hall.owner_pool.fetchrow("SELECT * FROM epochs")
    assert epoch is not None
    assert opened["epoch_id"] == epoch["id"]
    assert opened["commit_hash"] == epoch["commits"][:32]
    assert epoch["opened_ms"] <= opened["opened_ms"]


async def test_every_round_of_an_epoch_opens_with_its_own_commitment(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.play(room, range(1, 7))
    commits = {
        row["first_round"] + at: row["commits"][32 * at :][:32]
        for row in await hall.owner_pool.fetch("SELECT first_round, rounds_count, commits FROM epochs")
        for at in range(row["rounds_count"])
    }
    assert len(set(commits.values())) == len(commits)
    for number in range(1, 8):
        assert (await hall.row(room, number))["commit_hash"] == commits[number]


async def test_slots_that_nobody_opened_are_skipped_without_a_gap_and_audited(hall: Hall) -> None:
    rooms = [await hall.add_room(name) for name in ("one", "two")]
    await hall.tick()
    await hall.at_draw(rooms[0], 4)
    await hall.tick()
    for room in rooms:
        assert await hall.phases(room) == ["settled", "skipped", "skipped", "skipped", "open"]
        assert [(await hall.row(room, number))["lock_due_ms"] for number in range(1, 6)] == [
            schedule(room).lock_due_ms(number) for number in range(1, 6)
        ]
    audited = await hall.owner_pool.fetch(
        "SELECT subject, actor, detail->>'first' AS first, detail->>'last' AS last FROM audit_logs "
        "WHERE action = 'round.skipped' ORDER BY subject"
    )
    expected = sorted((str(room.id), "scheduler", "2", "4") for room in rooms)
    assert [tuple(row) for row in audited] == expected
    told = await hall.owner_pool.fetch("SELECT payload->>'number' FROM outbox WHERE routing_key = 'round.skipped'")
    assert sorted(row[0] for row in told) == ["2", "2", "3", "3", "4", "4"]


async def test_a_room_without_commitments_skips_its_slots_and_goes_on_when_the_vault_is_back(hall: Hall) -> None:
    room = await hall.add_room()
    for number in (1, 2, 3):
        await hall.at_lock(room, number)
        await hall.scheduler.step()
    assert await hall.phases(room) == ["skipped", "skipped", "skipped"]
    await hall.tick()
    assert await hall.phases(room) == ["skipped", "skipped", "skipped", "open"]
    await hall.play(room, [4])
    assert (await hall.phases(room))[3:] == ["settled", "open"]


async def test_a_room_sells_nothing_behind_a_round_that_is_not_drawn_until_it_is(hall: Hall) -> None:
    broken, sound = [await hall.add_room(name, period_ms=30_000, lock_lead_ms=1_000) for name in ("broken", "sound")]
    await hall.tick()
    kept = await hall.owner_pool.fetchrow(
        "SELECT s.* FROM rng_seeds AS s JOIN epochs AS e ON e.id = s.epoch_id WHERE e.room_id = $1", broken.id
    )
    assert kept is not None
    await hall.tamper("DELETE FROM rng_seeds WHERE epoch_id = $1", kept["epoch_id"])
    slots = schedule(broken)
    sold = 1
    while slots.lock_due_ms(sold) < slots.draw_due_ms(1) + UNDRAWN_MS:
        sold += 1
    with capture_logs() as logged:
        for number in range(1, sold + 3):
            await hall.at_lock(sound, number)
            await hall.tick()
            assert stopped() == (number >= sold)
            await hall.at_draw(sound, number)
            await hall.tick()
    assert await hall.phases(sound) == [*["settled"] * (sold + 2), "open"]
    assert (await hall.phases(broken))[sold:] == ["skipped"] * 2
    assert (await hall.phases(broken))[:EPOCH_ROUNDS] == ["locked"] * EPOCH_ROUNDS
    await hall.tamper("INSERT INTO rng_seeds SELECT ($1::rng_seeds).*", kept)
    with capture_logs() as logged_after:
        await hall.tick()
    assert not stopped()
    told = [
        (each["log_level"], each["count"], each["rooms"])
        for each in [*logged, *logged_after]
        if each["event"] == "rooms.stopped"
    ]
    assert told == [("warning", 1, ["broken"]), ("info", 0, [])]
    assert await hall.phases(broken) == [*["settled"] * sold, "skipped", "skipped", "open"]
    await check_chain(hall, broken)


async def test_rounds_are_drawn_where_the_stopped_rooms_cannot_be_named(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> list[str]:
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    rooms = [await hall.add_room(name, period_ms=30_000, lock_lead_ms=1_000) for name in ("one", "other")]
    await hall.tick()
    await hall.at_lock(rooms[0], 1)
    await hall.scheduler.step()
    await hall.clock.set(schedule(rooms[0]).draw_due_ms(1) + UNDRAWN_MS)
    monkeypatch.setattr(store, "undrawn_rooms", fail)
    with pytest.raises(asyncpg.QueryCanceledError):
        await hall.scheduler.step()
    await hall.tick()
    assert [(await hall.phases(room))[0] for room in rooms] == ["settled"] * 2


async def test_which_rooms_are_stopped_is_asked_once_and_not_of_each_room(hall: Hall) -> None:
    async with hall.app_pool.acquire() as conn:
        plans = []

        class Explaining:
            async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
                plans.extend(await conn.fetch(f"EXPLAIN (VERBOSE) {query}", *args))
                return []

        assert await store.undrawn_rooms(Explaining(), 0, 5) == []  # type: ignore[arg-type]
    lines = [line for (line,) in plans]
    assert any("InitPlan" in line for line in lines), lines
    assert not any("Filter" in line and "undrawn_rooms" in line for line in lines), lines


def stopped() -> float | None:
    return REGISTRY.get_sample_value("keno_rooms_stopped", {"shard": "0"})


async def test_after_a_long_absence_slots_are_skipped_a_part_at_a_time_and_then_the_room_opens(hall: Hall) -> None:
    """One statement for all of them would run into its timeout, again and again."""
    absent, slower = await hall.add_room("absent", period_ms=2_000, lock_lead_ms=500), await hall.add_room("slower")
    await hall.tick()
    slots = SKIPS_MAX + 10
    await hall.at_lock(absent, slots - 1)
    await hall.vault.step()
    recorded = [0]
    while (await hall.phases(absent))[1:].count("open") == 0:
        rest_s = await hall.scheduler.step()
        recorded.append(await hall.owner_pool.fetchval("SELECT count(*) FROM rounds WHERE phase = 'skipped'"))
        assert 0 < recorded[-1] - recorded[-2] <= SKIPS_MAX
        # It is looked again at once where there are more, and only there.
        assert (rest_s == 0) == (recorded[-1] - recorded[-2] == SKIPS_MAX)
    assert len(recorded) > 2
    assert (await hall.phases(absent))[1:] == [*["skipped"] * (slots - 2), "open"]
    slower_slots = schedule(slower).on_sale(schedule(absent).lock_due_ms(slots - 1))
    assert (await hall.phases(slower))[1:] == [*["skipped"] * (slower_slots - 2), "open"]


async def test_a_scheduler_leaves_the_rooms_of_other_shards_alone(hall: Hall) -> None:
    ours, theirs = await hall.add_room("ours"), await hall.add_room("theirs", shard=NOBODYS_SHARD)
    await hall.play(ours, [1, 2])
    assert await hall.phases(ours) == ["settled", "settled", "open"]
    assert await hall.phases(theirs) == []
    other = hall.new_scheduler("other", NOBODYS_SHARD)
    await other.step()
    assert await hall.phases(theirs) == ["skipped", "skipped", "open"]
    await hall.at_lock(theirs, 3)
    await hall.scheduler.step()
    assert (await hall.phases(theirs))[-1] == "open"


# ---- locks, draws and the chain ----


async def test_a_late_lock_keeps_the_bets_accepted_in_time_and_no_later_ones(hall: Hall) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    in_time = [await hall.bet(operator_id, room, [n]) for n in (1, 2, 3)]
    await hall.at_lock(room, 1)
    late = await hall.bet(operator_id, room, [4])
    await hall.clock.set(START_MS + 3 * room.period_ms)
    later = await hall.bet(operator_id, room, [5])
    await hall.tick()
    assert [placed.outcome for placed in in_time] == [Outcome.ACCEPTED] * 3
    assert (late.outcome, later.outcome) == (Outcome.ROUND_NOT_OPEN, Outcome.ROUND_NOT_OPEN)
    row = await hall.row(room, 1)
    assert (row["phase"], row["bets_count"]) == ("settled", 3)
    leaves = [placed.receipt.leaf for placed in in_time if placed.receipt]
    assert row["bets_root"] == verifier.merkle_root(leaves)


async def test_a_round_is_not_locked_before_its_sales_close_nor_drawn_before_its_slot(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.clock.set(schedule(room).lock_due_ms(1) - 1)
    await hall.tick()
    assert await hall.phases(room) == ["open"]
    await hall.at_lock(room, 1)
    await hall.tick()
    assert await hall.phases(room) == ["locked", "open"]
    await hall.clock.set(schedule(room).draw_due_ms(1) - 1)
    await hall.tick()
    assert await hall.phases(room) == ["locked", "open"]
    await hall.at_draw(room, 1)
    await hall.tick()
    assert await hall.phases(room) == ["settled", "open"]


async def test_a_round_is_not_drawn_before_the_vault_has_released_its_seed(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_draw(room, 1)
    for _ in range(3):
        await hall.scheduler.step()
    sealed = await hall.row(room, 1)
    assert (sealed["phase"], sealed["seed"], sealed["numbers"]) == ("locked", None, None)
    assert sealed["lock_hash"] is not None


async def test_locks_are_chained_from_round_to_round_and_over_skipped_and_void_ones(hall: Hall) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    await hall.bet(operator_id, room, [1])
    await hall.play(room, [1, 2])
    await hall.at_lock(room, 4)
    await hall.tick()
    await hall.play(room, [5])
    await hall.at_lock(room, 6)
    await hall.tick()
    await hall.void(room, 6, reason=1)
    await hall.play(room, [7])
    assert await hall.phases(room) == [*["settled"] * 3, "skipped", "settled", "void", "settled", "open"]
    await check_chain(hall, room)


async def test_rounds_that_were_locked_long_ago_are_sealed_together_in_their_order(hall: Hall) -> None:
    rooms = [await hall.add_room(name) for name in ("one", "two", "without bets")]
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    for number in (1, 2, 3):
        for room in rooms[: 3 - number]:
            await hall.bet(operator_id, room, [number])
        await hall.at_lock(rooms[0], number)
        await store.lock_due_rounds(hall.app_pool, 0, 1)
        await store.open_due_rounds(hall.app_pool, 0, 1)
    sealed = "SELECT lock_hash IS NOT NULL FROM rounds WHERE room_id = $1 AND phase = 'locked' ORDER BY number"
    assert [[row[0] for row in await hall.owner_pool.fetch(sealed, room.id)] for room in rooms] == [
        [False] * 3,  # without bets, the last would name a lock that is not there yet
        [False] * 3,
        [True] * 3,
    ]
    await hall.at_draw(rooms[0], 3)
    await hall.tick()
    for room in rooms:
        assert await hall.phases(room) == ["settled", "settled", "settled", "open"]
        await check_chain(hall, room)
    told = "SELECT count(*), count(DISTINCT payload->>'lock') FROM outbox WHERE routing_key = 'round.locked'"
    assert tuple(await hall.owner_pool.fetchrow(told) or ()) == (9, 9)


@pytest.mark.parametrize("bets", [False, True])
async def test_two_rounds_of_a_room_that_are_locked_at_once_are_chained(hall: Hall, *, bets: bool) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    if bets:
        await hall.bet(operator_id, room, [1])
    await hall.at_lock(room, 1)
    await store.open_due_rounds(hall.app_pool, 0, 1)
    await hall.at_lock(room, 2)
    locked = await store.lock_due_rounds(hall.app_pool, 0, 1)
    assert locked is not None
    assert locked.round_ids == [(await hall.row(room, number))["id"] for number in (1, 2)]
    sealed = "SELECT lock_hash IS NOT NULL FROM rounds WHERE phase = 'locked' ORDER BY number"
    # The second would name a lock that is made in the same statement, or is not there yet.
    assert [row[0] for row in await hall.owner_pool.fetch(sealed)] == [not bets, False]
    await hall.at_draw(room, 2)
    await hall.tick()
    assert (await hall.phases(room))[:2] == ["settled", "settled"]
    await check_chain(hall, room)


async def test_a_round_that_waited_for_months_is_locked(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    months_ms = 90 * 86_400_000
    await hall.at_lock(room, 1)
    await hall.clock.set(await hall.app_pool.fetchval("SELECT now_ms()") + months_ms)
    locked = await store.lock_due_rounds(hall.app_pool, 0, 1)
    assert locked is not None
    assert locked.late_ms == [months_ms]


async def test_a_room_that_has_rounds_keeps_its_shard(hall: Hall) -> None:
    room, new = await hall.add_room("old"), await hall.add_room("new")
    await hall.vault.step()
    await hall.owner_pool.execute("UPDATE rooms SET shard = 1 WHERE id = $1", new.id)
    await hall.tick()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="keeps its shard"):
        await hall.owner_pool.execute("UPDATE rooms SET shard = 1 WHERE id = $1", room.id)
    await hall.owner_pool.execute("UPDATE rooms SET shard = shard")
    assert (await hall.row(room, 1))["shard"] == 0


async def test_a_draw_whose_seed_was_released_against_another_lock_is_refused(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_lock(room, 1)
    await hall.tick()
    await hall.tamper("UPDATE rounds SET lock_hash = sha256('another'), bets_count = 5 WHERE number = 1")
    await hall.at_draw(room, 1)
    (reason,) = await refused_by(hall.scheduler.step())
    assert "another lock" in reason
    assert (await hall.phases(room))[0] == "locked"


async def test_a_draw_whose_seed_does_not_open_the_commitment_is_refused(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_lock(room, 1)
    await hall.tick()
    await hall.tamper("UPDATE seed_releases SET seed = sha256('another')")
    await hall.at_draw(room, 1)
    (reason,) = await refused_by(hall.scheduler.step())
    assert "does not open its commitment" in reason
    assert (await hall.phases(room))[0] == "locked"


async def test_rounds_that_are_refused_hold_up_no_others_however_many_they_are_and_are_told_of_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_ROUNDS_MAX", 2)
    broken, sound = await hall.add_room("broken"), await hall.add_room("sound")
    await hall.tick()
    told = []
    for number in range(1, 4):
        await hall.at_lock(broken, number)
        await hall.tick()
        await hall.tamper(
            "UPDATE seed_releases SET seed = sha256('another') WHERE round_id = $1",
            (await hall.row(broken, number))["id"],
        )
        await hall.at_draw(broken, number)
        told.append(len(await refused_by(hall.scheduler.step()) + await refused_by(hall.scheduler.step())))
    assert told == [1, 1, 1]
    assert (await hall.phases(broken))[:3] == ["locked"] * 3
    assert (await hall.phases(sound))[:3] == ["settled"] * 3
