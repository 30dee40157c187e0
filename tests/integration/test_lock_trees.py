"""Large rounds are followed while bets come, so that their locks wait for the last bets only; no bet is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg
import pytest
from support.rounds import PRIVACY_KEY, Hall, open_hall

from keno import verifier
from keno.bets import store as bets_store
from keno.bets.outcome import Outcome
from keno.bets.store import BetRow
from keno.fairness import leaves
from keno.infra.store import Executor
from keno.rounds import store
from keno.rounds.lock_trees import LockTrees
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
async def hall(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Hall]:
    async with open_hall(pool, vault_pool, owner_pool) as opened:
        yield opened


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


def test_leaves_are_cut_behind_an_id() -> None:
    unsalted = b"".join(
        leaves.unsalted_leaf(n, bytes(16), bytes(32), bytes(10), 1, "EUR", bytes(32)) for n in (3, 5, 2**40)
    )
    for bet_id, count, last in [(0, 0, None), (2, 0, None), (3, 1, 3), (4, 1, 3), (5, 2, 5), (2**63, 3, 2**40)]:
        assert leaves.up_to(unsalted, bet_id) == (unsalted[: count * leaves.UNSALTED_BYTES], last)
    assert leaves.up_to(b"", 7) == (b"", None)
