"""Large rounds are followed while bets come, so that their locks wait for the last bets only; no bet is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from support.rounds import PRIVACY_KEY, Hall

from keno import verifier
from keno.bets import store as bets_store
from keno.bets.outcome import Outcome
from keno.bets.store import BetRow
from keno.fairness import leaves
from keno.infra.store import Executor
from keno.rounds import lock_trees, store
from keno.rounds.lock_trees import LockTrees, Tree
from keno.rounds.room_store import Room

LARGE_BETS = 3


class Reads:
    """What was read, by the bet behind which each reading began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.after: list[int] = []
        self._real = store.unsalted_leaves
        monkeypatch.setattr(store, "unsalted_leaves", self._read)

    async def _read(
        self, conn: Executor, round_ids: Sequence[int], after_bet_id: int, bets_max: int
    ) -> list[store.Leaves]:
        self.after += [after_bet_id] * len(round_ids)
        return await self._real(conn, round_ids, after_bet_id, bets_max)

    async def until(self, bet_id: int) -> None:
        """Waits until the bets up to this one have been read."""
        async with asyncio.timeout(20):
            while bet_id not in self.after:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@pytest.fixture
async def trees(hall: Hall) -> AsyncIterator[LockTrees]:
    made = LockTrees(hall.app_pool, PRIVACY_KEY, LARGE_BETS)
    yield made
    await made.close()


async def bet(hall: Hall, operator_id: UUID, room: Room, conn: Executor, name: str) -> int:
    """Places a bet on a connection; returns its id."""
    row = BetRow(
        operator_id=operator_id,
        room_id=room.id,
        round_id=None,
        currency="EUR",
        paytable=None,
        transaction_id=name,
        fingerprint=bytes(16),
        player="ann",
        picks=bytes(9) + b"\x01",
        stake_minor=100,
    )
    (placed,) = await bets_store.place_bets(conn, [row])
    assert placed.outcome is Outcome.ACCEPTED
    assert placed.bet_id is not None
    return placed.bet_id


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def root_of(hall: Hall, round_id: int) -> bytes:
    (read,) = await store.unsalted_leaves(hall.app_pool, [round_id], 0, 1_000)
    return verifier.merkle_root(leaves.split(leaves.salted(PRIVACY_KEY, read.unsalted)))


async def test_the_lock_of_a_followed_round_reads_its_last_bets_only(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, operator_id = await hall.add_room(), await hall.add_operator("acme")
    await hall.tick()
    round_id = (await hall.row(room, 1))["id"]
    early = [await bet(hall, operator_id, room, hall.app_pool, f"early {n}") for n in range(15)]
    reads = Reads(monkeypatch)
    trees.follow(0)
    await reads.until(early[-1])
    for n in range(2):
        await bet(hall, operator_id, room, hall.app_pool, f"late {n}")
    await hall.at_lock(room, 1)
    reads.after.clear()
    async with hall.app_pool.acquire() as conn:
        tree = (await trees.of_locked(conn, [round_id]))[round_id]
    assert 0 not in reads.after
    assert (tree.bets_count, tree.root) == (17, await root_of(hall, round_id))


async def test_a_bet_that_is_committed_after_later_ones_is_not_passed_over(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, operator_id = await hall.add_room(), await hall.add_operator("acme")
    other_id = await hall.add_operator("other")
    await hall.tick()
    round_id = (await hall.row(room, 1))["id"]
    before = await bet(hall, operator_id, room, hall.app_pool, "before")
    reads = Reads(monkeypatch)
    async with hall.app_pool.acquire() as conn:
        slow = conn.transaction()
        await slow.start()
        held = await bet(hall, other_id, room, conn, "slow")
        later = [await bet(hall, operator_id, room, hall.app_pool, f"later {n}") for n in range(15)]
        trees.follow(0)
        await asyncio.sleep(0.3)
        assert reads.after == [], "what is read while a bet is being placed could leave it out"
        await slow.commit()
    await reads.until(later[-1])
    assert before < held < later[0]
    async with hall.app_pool.acquire() as conn:
        await hall.at_lock(room, 1)
        tree = (await trees.of_locked(conn, [round_id]))[round_id]
    assert (tree.bets_count, tree.root) == (17, await root_of(hall, round_id))


async def test_rounds_that_stay_small_are_not_followed(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, operator_id = [await hall.add_room(f"room {n}") for n in range(5)], await hall.add_operator("acme")
    await hall.tick()
    reads = Reads(monkeypatch)
    for n in range(15):
        await bet(hall, operator_id, rooms[n % 5], hall.app_pool, f"bet {n}")
    trees.follow(0)
    await asyncio.sleep(0.3)
    assert reads.after == []


async def test_a_look_for_large_rounds_counts_only_the_bets_that_came_since_the_last(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, operator_id = [await hall.add_room(f"room {n}") for n in range(8)], await hall.add_operator("acme")
    await hall.tick()
    looks: list[tuple[int, int]] = []
    real = store.bets_of_open_rounds

    async def counted(conn: Executor, shard: int, after: int, up_to: int, bets_max: int) -> dict[int, int]:
        found = await real(conn, shard, after, up_to, bets_max)
        looks.append((after, sum(found.values())))
        return found

    monkeypatch.setattr(store, "bets_of_open_rounds", counted)
    many = lock_trees._LOOK_LARGE * LARGE_BETS
    placed = [await bet(hall, operator_id, rooms[n % 6], hall.app_pool, f"first {n}") for n in range(many)]
    trees.follow(0)
    await until(lambda: trees._following is not None and trees._following.done())
    assert trees.followed == {}
    placed += [await bet(hall, operator_id, rooms[n % 6], hall.app_pool, f"second {n}") for n in range(many)]
    trees._look_at = 0
    trees.follow(0)
    await until(lambda: bool(trees.followed))
    assert looks == [(0, many), (placed[many - 1], many)]
    assert sorted(trees.followed) == sorted([(await hall.row(room, 1))["id"] for room in rooms[:6]])


async def test_a_round_that_is_sealed_while_it_is_found_to_be_large_is_not_followed(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, operator_id = await hall.add_room(), await hall.add_operator("acme")
    await hall.tick()
    for n in range(15):
        await bet(hall, operator_id, room, hall.app_pool, f"bet {n}")
    real = store.bets_of_open_rounds

    async def late(conn: Executor, shard: int, after: int, up_to: int, bets_max: int) -> dict[int, int]:
        found = await real(conn, shard, after, up_to, bets_max)
        await hall.at_lock(room, 1)
        await hall.tick()
        return found

    monkeypatch.setattr(store, "bets_of_open_rounds", late)
    trees.follow(0)
    await until(lambda: trees._following is not None and trees._following.done())
    assert (await hall.row(room, 1))["lock_hash"] is not None
    assert trees.followed == {}


async def follows_wrongly(hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Reads]:
    """A round that is followed, of which a bet has been read that is none of its; and what is read from now on."""
    room, operator_id = await hall.add_room(), await hall.add_operator("acme")
    await hall.tick()
    placed = [await bet(hall, operator_id, room, hall.app_pool, f"bet {n}") for n in range(15)]
    reads = Reads(monkeypatch)
    trees.follow(0)
    await reads.until(placed[-1])
    round_id: int = (await hall.row(room, 1))["id"]
    trees._growing[round_id].add(bytes(32), 1, placed[-1])
    reads.after.clear()
    return round_id, reads


async def tree_of_locked(hall: Hall, trees: LockTrees, round_id: int) -> Tree:
    async with hall.app_pool.acquire() as conn, asyncio.timeout(20):
        while round_id not in (found := await trees.of_locked(conn, [round_id])):  # noqa: ASYNC110 - as ticks do
            await asyncio.sleep(0.01)
    return found[round_id]


async def test_what_was_read_of_another_server_is_read_again(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_id, reads = await follows_wrongly(hall, trees, monkeypatch)

    async def after_a_failover(conn: Executor) -> store.Horizon:
        return replace(await real(conn), server=datetime(2020, 1, 1, tzinfo=UTC))

    real = store.horizon
    monkeypatch.setattr(store, "horizon", after_a_failover)
    tree = await tree_of_locked(hall, trees, round_id)
    assert 0 in reads.after
    assert (tree.bets_count, tree.root) == (15, await root_of(hall, round_id))


@pytest.mark.parametrize("failing", ["horizon", "sealed_among", "transactions_placing", "unsalted_leaves"])
async def test_what_was_read_before_following_failed_is_read_again(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    round_id, _ = await follows_wrongly(hall, trees, monkeypatch)
    with monkeypatch.context() as broken:

        async def fail(*_: object) -> None:
            raise ConnectionError

        broken.setattr(store, failing, fail)
        await until(lambda: trees._following is not None and trees._following.done())
    assert trees.followed == {}
    tree = await tree_of_locked(hall, trees, round_id)
    assert (tree.bets_count, tree.root) == (15, await root_of(hall, round_id))


async def test_what_was_read_before_the_ids_went_back_is_read_again(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_id, _ = await follows_wrongly(hall, trees, monkeypatch)

    async def gone_back(conn: Executor) -> store.Horizon:
        return replace(await real(conn), bet_id=3)

    real = store.horizon
    monkeypatch.setattr(store, "horizon", gone_back)
    await until(lambda: trees._following is not None and trees._following.done())
    assert trees.followed == {}
    tree = await tree_of_locked(hall, trees, round_id)
    assert (tree.bets_count, tree.root) == (15, await root_of(hall, round_id))


async def test_a_followed_round_with_much_left_at_its_lock_is_read_beside(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, operator_id = await hall.add_room(), await hall.add_operator("acme")
    await hall.tick()
    round_id = (await hall.row(room, 1))["id"]
    early = [await bet(hall, operator_id, room, hall.app_pool, f"early {n}") for n in range(15)]
    reads = Reads(monkeypatch)
    trees.follow(0)
    await reads.until(early[-1])
    async with hall.app_pool.acquire() as conn, conn.transaction():
        # One transaction: until it has ended nothing of it is read, and then the round is locked.
        for n in range(LARGE_BETS + 2):
            await bet(hall, operator_id, room, conn, f"late {n}")
        reads.after.clear()
    async with hall.app_pool.acquire() as conn:
        trees_of_locked = await trees.of_locked(conn, [round_id])
        async with asyncio.timeout(20):
            while round_id not in trees_of_locked:
                await asyncio.sleep(0.01)
                trees_of_locked = await trees.of_locked(conn, [round_id])
    assert 0 not in reads.after
    tree = trees_of_locked[round_id]
    assert (tree.bets_count, tree.root) == (15 + LARGE_BETS + 2, await root_of(hall, round_id))


async def test_a_statement_reads_a_bounded_number_of_bets_and_a_tick_leaves_to_the_next_what_it_has_no_time_for(
    hall: Hall, trees: LockTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, operator_id = [await hall.add_room(f"room {n}") for n in range(6)], await hall.add_operator("acme")
    await hall.tick()
    for n, room in enumerate(rooms):
        for bet_number in range(n % (LARGE_BETS + 1)):
            await bet(hall, operator_id, room, hall.app_pool, f"bet {n} {bet_number}")
    await hall.at_lock(rooms[0], 1)
    round_ids = [(await hall.row(room, 1))["id"] for room in rooms]
    monkeypatch.setattr(lock_trees, "_CHUNK_BETS", 4)
    monkeypatch.setattr(lock_trees, "_FIRST_BETS", (1,))
    monkeypatch.setattr(lock_trees, "_TICK_S", 0)
    read_at_most: list[int] = []
    real = store.unsalted_leaves

    async def counted(conn: Executor, of_rounds: Sequence[int], after: int, bets_max: int) -> list[store.Leaves]:
        read_at_most.append(len(of_rounds) * bets_max)
        return await real(conn, of_rounds, after, bets_max)

    monkeypatch.setattr(store, "unsalted_leaves", counted)
    found: dict[int, Tree] = {}
    ticks = []
    async with hall.app_pool.acquire() as conn:
        while len(found) < len(rooms):
            some = await trees.of_locked(conn, [each for each in round_ids if each not in found])
            ticks.append((sorted(round_ids.index(each) for each in some), trees.is_behind))
            found |= some
    assert max(read_at_most) == 4
    assert ticks == [([0, 1], True), ([2], True), ([4], True), ([5], True), ([3], False)]
    assert [found[each].bets_count for each in round_ids] == [0, 1, 2, 3, 0, 1]
    assert [found[each].root for each in round_ids] == [await root_of(hall, each) for each in round_ids]


def test_leaves_are_cut_behind_an_id() -> None:
    unsalted = b"".join(
        leaves.unsalted_leaf(n, bytes(16), bytes(32), bytes(10), 1, "EUR", bytes(32)) for n in (3, 5, 2**40)
    )
    for bet_id, count, last in [(0, 0, None), (2, 0, None), (3, 1, 3), (4, 1, 3), (5, 2, 5), (2**63, 3, 2**40)]:
        assert leaves.up_to(unsalted, bet_id) == (unsalted[: count * leaves.UNSALTED_BYTES], last)
    assert leaves.up_to(b"", 7) == (b"", None)
