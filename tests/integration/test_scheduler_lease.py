"""Only the scheduler that leads can move rounds, and a crash of it anywhere changes nothing that was fixed."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from support.rounds import Hall, check_chain

from keno.bets.outcome import Outcome
from keno.bets.store import BetRow, place_bets
from keno.fairness import keno1
from keno.game.numbers import picks_mask
from keno.rounds import engine, room_store, store

# ---- the fence ----


async def test_a_shard_has_one_leader_and_its_lease_goes_to_one_of_those_who_saw_it_free(hall: Hall) -> None:
    room = await hall.add_room()
    one, two = hall.new_scheduler("one"), hall.new_scheduler("two")
    await asyncio.gather(one.step(), two.step())
    assert one.leads != two.leads
    leader, other = (one, two) if one.leads else (two, one)
    await hall.free_lease()
    await other.step()
    await hall.vault.step()
    before = await hall.written()
    await leader.step()
    assert not leader.leads, "it was told"
    assert await hall.written() == before
    assert await hall.phases(room) == []


async def test_a_lease_is_taken_from_the_epoch_that_was_seen_and_given_up_by_its_own_only(hall: Hall) -> None:
    take = partial(store.take_lease, hall.app_pool, 0)
    assert await take("early", 1) is None, "there is no lease yet"
    assert await take("one", 0) == 1
    assert await take("late", 0) is None
    assert await take("two", 1) == 2
    assert await take("late", 1) is None
    await store.give_up_lease(hall.app_pool, 0, 1)
    assert await hall.owner_pool.fetchrow("SELECT epoch, holder FROM leases") == (2, "two")
    await store.give_up_lease(hall.app_pool, 0, 2)
    assert await hall.owner_pool.fetchrow("SELECT epoch, holder FROM leases") == (2, None)
    assert await take("three", 2) == 3


async def due_for_everything(hall: Hall, room: room_store.Room) -> dict[str, Callable[[int], Awaitable[int | None]]]:
    """Each transition with something to do, to be called with a lease epoch: opens 5, locks 4, seals 3, draws 2."""
    await hall.play(room, [1])
    operator_id = await hall.add_operator("acme")
    await hall.at_lock(room, 2)
    await hall.tick()
    await hall.bet(operator_id, room, [1])  # a round without any is sealed as it is locked
    await hall.at_lock(room, 3)
    await store.lock_due_rounds(hall.app_pool, 0, 1)
    await store.open_due_rounds(hall.app_pool, 0, 1)
    await hall.vault.step()
    await hall.at_lock(room, 4)
    drawable = await store.drawable_rounds(hall.app_pool, 0)
    assert [row.lock.number for row in drawable] == [2]
    row, seed = drawable[0], drawable[0].seed
    draw = keno1.draw("S", row.lock, seed, b"")
    unsealed = await store.unsealed_rounds(hall.app_pool, 0)
    trees = {each.round_id: engine.Tree(bytes(32), 1) for each in unsealed}
    sealed = engine.chain_locks(unsealed, trees, dict.fromkeys(trees, 0))
    pool = hall.app_pool

    async def opened(epoch: int) -> int | None:
        done = await store.open_due_rounds(pool, 0, epoch)
        return None if done is None else len(done.late_ms)

    async def locked(epoch: int) -> int | None:
        done = await store.lock_due_rounds(pool, 0, epoch)
        return None if done is None else len(done.late_ms)

    return {
        "open": opened,
        "lock": locked,
        "seal": lambda epoch: store.seal_rounds(pool, 0, epoch, sealed),
        "draw": lambda epoch: store.draw_rounds(pool, 0, epoch, [(row.round_id, seed, b"", draw.numbers, draw.result)]),
    }


async def test_no_transition_moves_anything_with_a_lease_that_is_not_the_latest(hall: Hall) -> None:
    room = await hall.add_room()
    transitions = await due_for_everything(hall, room)
    await hall.free_lease()
    assert await store.take_lease(hall.app_pool, 0, "successor", 1) == 2
    before = await hall.written()
    for name, transition in transitions.items():
        for wrong in (1, 0, 3):
            assert await transition(wrong) is None, name
    assert await hall.written() == before
    assert {name: await transition(2) for name, transition in transitions.items()} == dict.fromkeys(transitions, 1)
    assert await hall.phases(room) == ["settled", "settled", "locked", "locked", "open"]


async def test_a_transition_repeated_moves_nothing_more(hall: Hall) -> None:
    room = await hall.add_room()
    transitions = await due_for_everything(hall, room)
    for transition in transitions.values():
        assert await transition(1) == 1
    before = await hall.written()
    assert [await transition(1) for transition in transitions.values()] == [0, 0, 0, 0]
    assert await hall.written() == before


async def blocked(hall: Hall, query: str) -> bool:
    """Whether a statement that contains `query` waits for another's lock."""
    found: bool = await hall.owner_pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE $1 AND cardinality(pg_blocking_pids(pid)) > 0)",
        f"%{query}%",
    )
    return found


async def wait_until_blocked(hall: Hall, query: str) -> None:
    for _ in range(2_000):
        if await blocked(hall, query):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"nobody waits in {query}")


async def test_a_take_over_waits_for_the_transition_under_way_and_follows_it(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.vault.step()
    assert await store.take_lease(hall.app_pool, 0, "old", 0) == 1
    async with hall.app_pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        assert await store.open_due_rounds(slow, 0, 1) == store.Opened([0], skipped_count=0, stopped_count=0)
        taking = asyncio.create_task(store.take_lease(hall.app_pool, 0, "new", 1))
        await wait_until_blocked(hall, "take_lease")
        assert not taking.done()
        await transaction.commit()
    assert await taking == 2
    assert await hall.phases(room) == ["open"]
    assert await store.open_due_rounds(hall.app_pool, 0, 1) is None


async def test_a_transition_that_waits_for_a_take_over_does_nothing_after_it(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.vault.step()
    assert await store.take_lease(hall.app_pool, 0, "old", 0) == 1
    async with hall.app_pool.acquire() as successor:
        transaction = successor.transaction()
        await transaction.start()
        assert await store.take_lease(successor, 0, "new", 1) == 2
        stale = asyncio.create_task(store.open_due_rounds(hall.app_pool, 0, 1))
        await wait_until_blocked(hall, "open_due_rounds")
        await transaction.commit()
    assert await stale is None
    assert await hall.phases(room) == []


async def test_a_lock_waits_for_the_bet_in_flight_and_counts_it(hall: Hall) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    round_id = (await hall.row(room, 1))["id"]
    async with hall.app_pool.acquire() as in_flight:
        transaction = in_flight.transaction()
        await transaction.start()
        bet = BetRow(operator_id, "late", bytes(16), None, round_id, "ann", picks_mask([1]), 100, "EUR", None)
        (row,) = await place_bets(in_flight, [bet])
        assert row.outcome is Outcome.ACCEPTED
        await hall.at_lock(room, 1)
        locking = asyncio.create_task(store.lock_due_rounds(hall.app_pool, 0, 1))
        await wait_until_blocked(hall, "lock_due_rounds")
        await transaction.commit()
    assert await locking == store.Locked(late_ms=[0], round_ids=[round_id])
    await hall.tick()
    assert (await hall.row(room, 1))["bets_count"] == 1


# ---- crashes ----


class CrashError(Exception):
    """The process ends here."""


STATEMENTS = ("lock_due_rounds", "open_next_rounds", "open_due_rounds", "seal_rounds", "draw_rounds")


async def crash_in(statement: str, after: bool, step: Callable[[], Awaitable[Any]], patch: pytest.MonkeyPatch) -> bool:
    """Lets a step run into a crash right before or after one of its statements; False where it does not get there."""
    real = getattr(store, statement)

    async def crashing(*arguments: object) -> None:
        if after:
            await real(*arguments)
        raise CrashError

    with patch.context() as patched:
        patched.setattr(store, statement, crashing)
        try:
            await step()
        except CrashError:
            return True
    return False


async def test_a_crash_between_any_two_statements_changes_no_lock_and_no_number(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    await hall.scheduler.close()
    number = 0
    crashed: set[tuple[str, bool]] = set()
    fixed: dict[int, tuple[bytes, ...]] = {}
    for statement in STATEMENTS:
        for after in (False, True):
            number += 1
            await hall.bet(operator_id, room, [number, number + 1])
            for instant in (hall.at_lock, hall.at_draw):
                await instant(room, number)
                await hall.vault.step()
                for successor in ("one", "two"):
                    if await crash_in(statement, after, hall.new_scheduler(successor).step, monkeypatch):
                        crashed.add((statement, after))
                    await remember(hall, fixed)
                    await hall.free_lease()
                hall.scheduler = hall.new_scheduler("healthy")
                await hall.tick()
                await remember(hall, fixed)
                await hall.scheduler.close()
    assert len(crashed) == 2 * len(STATEMENTS), "each crash took place"
    assert await hall.phases(room) == [*["settled"] * number, "open"]
    assert len(fixed) == number
    await check_chain(hall, room)
    await check_seeds(hall, room)


async def remember(hall: Hall, fixed: dict[int, tuple[bytes, ...]]) -> None:
    """Notes what rounds have come to be, and fails where that is not what they were before."""
    for row in await hall.owner_pool.fetch("SELECT * FROM rounds WHERE lock_hash IS NOT NULL"):
        came_to_be = tuple(row[column] for column in ("lock_hash", "numbers", "result") if row[column] is not None)
        earlier = fixed.setdefault(row["number"], came_to_be)
        assert came_to_be[: len(earlier)] == earlier
        fixed[row["number"]] = came_to_be


async def check_seeds(hall: Hall, room: room_store.Room) -> None:
    """Every seed follows from its epoch's key, fixed before the crashes."""
    epochs = await hall.owner_pool.fetch("SELECT * FROM epochs WHERE epoch_key IS NOT NULL")
    assert epochs
    for epoch in epochs:
        key = keno1.EpochKey(bytearray(epoch["epoch_key"]))
        for number in range(epoch["first_round"], epoch["first_round"] + epoch["rounds_count"]):
            assert (await hall.row(room, number))["seed"] == key.seed(room.id.bytes, number)
