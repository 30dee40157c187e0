"""The engine's tick: what it costs nobody to wait for, what it rests for, and what it measures."""

import asyncio
import io
from collections.abc import AsyncIterator
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest
from prometheus_client import REGISTRY
from rich.console import Console
from support.rounds import PRIVACY_KEY, START_MS, Hall, check_chain, schedule

from keno import verifier
from keno.fairness import evidence, leaves
from keno.fairness import store as fairness_store
from keno.rounds import board, room_store, store
from keno.rounds.engine import Engine, LeaseLostError
from keno.rounds.service import RoomError
from keno.wallet import store as wallet_store
from workers import health

LARGE_BETS = 3


@pytest.fixture
async def engine(hall: Hall) -> AsyncIterator[Engine]:
    """One that leads under epoch 1, and for which more than three bets are many."""
    assert await store.take_lease(hall.app_pool, 0, "a test", 0) == 1
    made = Engine(hall.app_pool, PRIVACY_KEY, large_bets=LARGE_BETS)
    yield made
    await made.close()


async def tick(hall: Hall, engine: Engine) -> float:
    async with hall.app_pool.acquire() as conn:
        return await engine.tick(conn, 0, 1)


# ---- full statements ----


@pytest.mark.parametrize(("rooms", "is_at_once"), [(2, False), (3, True)])
async def test_a_full_statement_is_followed_by_another_tick_where_rounds_are_left(
    hall: Hall, engine: Engine, monkeypatch: pytest.MonkeyPatch, rooms: int, is_at_once: bool
) -> None:
    monkeypatch.setattr("keno.rounds.engine._ROUNDS_MAX", 2)
    ids = [await hall.add_room(f"room {n}") for n in range(rooms)]
    await hall.vault.step()
    await tick(hall, engine)
    await hall.at_lock(ids[0], 1)
    assert (await tick(hall, engine) == 0) is is_at_once
    await tick(hall, engine)
    assert [(await hall.phases(room))[0] for room in ids] == ["locked"] * rooms
    await hall.vault.step()
    await hall.at_draw(ids[0], 1)
    assert (await tick(hall, engine) == 0) is is_at_once
    await tick(hall, engine)
    assert [(await hall.phases(room))[0] for room in ids] == ["settled"] * rooms


# ---- leaves and large rounds ----


async def test_the_leaves_from_the_database_are_those_of_the_evidence(hall: Hall) -> None:
    room = await hall.add_room()
    operators = [await hall.add_operator(name) for name in ("acme", "other")]
    await hall.tick()
    placed = [await hall.bet(operators[n % 2], room, range(1, 2 + n), stake_minor=100 * (n + 1)) for n in range(10)]
    round_id = (await hall.row(room, 1))["id"]
    bets = await fairness_store.round_bets(hall.app_pool, round_id)
    expected = evidence.bet_leaves(PRIVACY_KEY, bets)
    (read,) = await store.unsalted_leaves(hall.app_pool, [round_id], 0, 1_000)
    assert leaves.salted(PRIVACY_KEY, read.unsalted) == expected
    assert [each.receipt.leaf for each in placed if each.receipt] == leaves.split(expected)
    assert (read.bets_count, read.last_bet_id) == (10, bets[-1].bet_id)
    (first,) = await store.unsalted_leaves(hall.app_pool, [round_id], 0, 4)
    (rest,) = await store.unsalted_leaves(hall.app_pool, [round_id], first.last_bet_id or 0, 1_000)
    assert first.unsalted + rest.unsalted == read.unsalted


async def test_a_large_round_is_read_beside_and_holds_up_no_other_room(
    hall: Hall, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keno.rounds.lock_trees._CHUNK_BETS", 3)
    large, small = await hall.add_room("large"), await hall.add_room("small")
    operator_id = await hall.add_operator("acme")
    await hall.vault.step()
    await tick(hall, engine)
    placed = [await hall.bet(operator_id, large, [n]) for n in range(1, 9)]
    await hall.bet(operator_id, small, [1])
    await hall.at_lock(large, 1)
    await tick(hall, engine)
    assert (await hall.row(large, 1))["lock_hash"] is None
    assert (await hall.row(small, 1))["lock_hash"] is not None
    assert [(await hall.phases(room)) for room in (large, small)] == [["locked", "open"]] * 2
    await hall.at_lock(large, 2)
    for _ in range(200):
        await tick(hall, engine)
        if (await hall.row(large, 2))["lock_hash"] is not None:
            break
        await asyncio.sleep(0.01)
    row = await hall.row(large, 1)
    assert row["bets_count"] == 8
    assert row["bets_root"] == verifier.merkle_root([each.receipt.leaf for each in placed if each.receipt])
    await check_chain(hall, large)
    await check_chain(hall, small)


async def test_an_engine_that_is_closed_leaves_a_large_round_to_its_successor(hall: Hall, engine: Engine) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.vault.step()
    await tick(hall, engine)
    for n in range(1, 6):
        await hall.bet(operator_id, room, [n])
    await hall.at_lock(room, 1)
    await tick(hall, engine)
    await engine.close()
    assert (await hall.row(room, 1))["lock_hash"] is None
    await hall.free_lease()
    await hall.tick()
    assert (await hall.row(room, 1))["bets_count"] == 5


async def test_an_engine_whose_lease_was_lost_says_so_and_moves_nothing(hall: Hall, engine: Engine) -> None:
    await hall.add_room()
    await hall.vault.step()
    await hall.free_lease()
    assert await store.take_lease(hall.app_pool, 0, "another", 1) == 2
    before = await hall.written()
    with pytest.raises(LeaseLostError):
        await tick(hall, engine)
    assert await hall.written() == before


# ---- rest ----


async def test_the_engine_rests_until_something_is_due_and_not_past_a_quarter_of_a_second(
    hall: Hall, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_s = 1_000.0
    monkeypatch.setattr("keno.rounds.engine.time", SimpleNamespace(monotonic=lambda: at_s))
    room = await hall.add_room()
    assert await tick(hall, engine) == pytest.approx(0.25)
    await hall.vault.step()
    at_s += 0.15
    assert await tick(hall, engine) == pytest.approx(0.1), "all rooms are looked at then"
    at_s += 0.1
    assert await tick(hall, engine) == pytest.approx(0.25)
    assert await hall.phases(room) == ["open"]
    await hall.clock.set(schedule(room).lock_due_ms(1) - 40)
    assert await tick(hall, engine) == pytest.approx(0.04)
    await hall.at_lock(room, 1)
    await tick(hall, engine)
    await hall.clock.set(schedule(room).draw_due_ms(1) - 1)
    assert await tick(hall, engine) == pytest.approx(0.005)
    await hall.at_draw(room, 1)
    assert await tick(hall, engine) == pytest.approx(0.02), "its seed has not come"


async def test_while_rounds_are_locked_all_the_time_a_new_room_waits_a_quarter_of_a_second_at_most(
    hall: Hall, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_s = 1_000.0
    monkeypatch.setattr("keno.rounds.engine.time", SimpleNamespace(monotonic=lambda: at_s))
    room = await hall.add_room("old")
    await hall.vault.step()
    await tick(hall, engine)
    new = await hall.add_room("new")
    await hall.vault.step()
    await hall.at_lock(room, 1)
    at_s += 0.2
    await tick(hall, engine)
    assert await hall.phases(room) == ["locked", "open"], "its next round opens with the lock"
    assert await hall.phases(new) == []
    await hall.at_lock(room, 2)
    at_s += 0.05
    await tick(hall, engine)
    assert (await hall.phases(room))[-1] == "open"
    assert (await hall.phases(new))[-1] == "open"


async def test_a_tick_after_one_that_failed_behind_its_locks_looks_at_all_rooms(
    hall: Hall, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await hall.add_room()
    await hall.vault.step()
    await tick(hall, engine)
    await hall.at_lock(room, 1)
    with monkeypatch.context() as patched:
        patched.setattr("keno.rounds.store.open_next_rounds", _failing)
        with pytest.raises(OSError, match="away"):
            await tick(hall, engine)
    assert await hall.phases(room) == ["locked"]
    await tick(hall, engine)
    assert await hall.phases(room) == ["locked", "open"]


async def _failing(*_: object) -> None:
    raise OSError("away")


# ---- the outage of many rooms ----


async def test_after_an_outage_locks_come_first_and_rooms_come_back_one_after_the_other(
    hall: Hall, engine: Engine
) -> None:
    rooms = [await hall.add_room(f"room {n}", period_ms=2_000, lock_lead_ms=500) for n in range(4)]
    await hall.vault.step()
    await tick(hall, engine)
    await hall.clock.set(START_MS + 2_000 * 900 + 1)
    await hall.vault.step()
    opened = []
    for _ in range(20):
        rest_s = await tick(hall, engine)
        phases = [await hall.phases(room) for room in rooms]
        assert all(each[0] == "locked" for each in phases)
        opened.append(sum(each[-1] == "open" for each in phases))
        if rest_s:
            break
    assert opened == sorted(opened)
    assert opened[0] < len(rooms) == opened[-1]
    for room in rooms:
        assert await hall.phases(room) == ["locked", *["skipped"] * 899, "open"]


# ---- what is measured and shown ----


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_lateness_by_the_database_clock_and_what_became_of_rounds_are_served(hall: Hall, engine: Engine) -> None:
    names = ("keno_round_open_late_seconds", "keno_round_lock_late_seconds")
    before = {name: (sample(f"{name}_count"), sample(f"{name}_sum")) for name in names}
    counted = {phase: sample("keno_rounds_total", phase=phase) for phase in ("opened", "locked", "skipped", "void")}
    room = await hall.add_room()
    await hall.vault.step()
    await tick(hall, engine)
    await hall.clock.set(schedule(room).lock_due_ms(1) + 70)
    await tick(hall, engine)
    await hall.clock.set(schedule(room).lock_due_ms(3) + 30)
    await tick(hall, engine)
    after = {name: (sample(f"{name}_count"), sample(f"{name}_sum")) for name in names}
    opened, locked = ([new - old for old, new in zip(before[name], after[name], strict=True)] for name in names)
    assert opened == pytest.approx([3, 0 + 0.07 + 0.03])
    assert locked == pytest.approx([2, 0.07 + (room.period_ms * 2 - 40 - room.period_ms + 70) / 1000])
    await hall.vault.step()
    row = await hall.row(room, 2)
    seed = await hall.app_pool.fetchval("SELECT seed FROM seed_releases WHERE round_id = $1", row["id"])
    async with hall.app_pool.acquire() as conn:
        assert await engine.void(conn, 0, 1, [(row["id"], seed, 7)]) == 1
    moved = {phase: sample("keno_rounds_total", phase=phase) - was for phase, was in counted.items()}
    assert moved == {"opened": 3, "locked": 2, "skipped": 1, "void": 1}


async def test_what_the_engine_measures_is_served_as_openmetrics() -> None:
    with health.serving("127.0.0.1", 0) as port:
        request = Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text"})
        text = await asyncio.to_thread(lambda: urlopen(request).read().decode())  # noqa: S310
    assert 'keno_rounds_total{phase="void"}' in text
    assert text.endswith("# EOF\n")


async def test_the_board_shows_what_stands_in_each_room(hall: Hall) -> None:
    room, closed = await hall.add_room("one"), await hall.add_room("two")
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    await hall.rooms.close("two", actor="a test")
    await hall.play(room, [1])
    await hall.at_lock(room, 3)
    await hall.tick()
    await hall.bet(operator_id, room, [1, 2])
    await hall.clock.set(schedule(room).lock_due_ms(4) - 1_500)
    one, two = await hall.rooms.standings()
    drawn = await hall.row(room, 2)
    assert one == room_store.Standing("one", "open", 4, "open", 1_500, 1, 2, drawn["numbers"], 1, 0)
    assert board.cells(one)[:5] == ("one", "4", "open", "1.5 s", "1")
    assert board.cells(one)[5] == f"2: {' '.join(str(number) for number in drawn['numbers'])}"
    assert board.cells(two)[:4] == (closed.name, "1", "settled (room closed)", "-")
    assert board.as_json(one).startswith('{"room":"one","status":"open","number":4,"phase":"open","locks_in_ms":1500,')
    shown = io.StringIO()
    Console(file=shown, width=200).print(board.table([one, two]))
    assert "1.5 s" in shown.getvalue()
    with pytest.raises(RoomError, match="no room named three"):
        await hall.rooms.standings("three")


# ---- credits of many rounds ----


async def test_many_rounds_are_credited_together_and_each_once(hall: Hall) -> None:
    rooms = [await hall.add_room(name) for name in ("one", "two", "three")]
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    for room in rooms:
        for n in range(1, 40):
            await hall.bet(operator_id, room, [n])
    await hall.play(rooms[0], [1])
    ids = [(await hall.row(room, 1))["id"] for room in rooms]
    balance = "SELECT balance_minor FROM accounts WHERE kind = 'player'"
    before = await hall.owner_pool.fetchval(balance)
    async with hall.app_pool.acquire() as one, hall.app_pool.acquire() as two:
        # One of them by itself, then all of them from both sides at the same time.
        asked = {round_id: str(room.id) for round_id, room in zip(ids, rooms, strict=True)}
        await wallet_store.credit_rounds(one, {ids[0]: asked[ids[0]]})
        await asyncio.gather(
            wallet_store.credit_rounds(one, asked), wallet_store.credit_rounds(two, dict(reversed(asked.items())))
        )
        await wallet_store.credit_rounds(one, asked | {10**9: "no room"})
    paid = await hall.owner_pool.fetchval("SELECT sum(payout_minor)::bigint FROM payouts")
    assert paid > 0
    assert await hall.owner_pool.fetchval(balance) == before + paid
    told = await hall.owner_pool.fetch("SELECT payload->>'round' FROM outbox WHERE routing_key = 'wallet.credited'")
    assert sorted(int(row[0]) for row in told) == sorted(ids)
