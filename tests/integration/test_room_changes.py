"""A room that is set or closed changes at its next slot: no number is left out, and no round on sale is touched."""

import asyncio
from itertools import pairwise

import pytest
from support.rounds import Hall, schedule

from keno.bets.outcome import Outcome
from keno.errors import KenoError
from keno.game import rules
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rules import RulesError
from keno.money import MoneyError
from keno.rounds import room_store
from keno.rounds.room_store import Room
from keno.rounds.schedule import ScheduleError
from keno.rounds.service import Offer, RoomError

WRITTEN = ("rooms", "room_changes", "rules", "paytables", "admin_actions", "audit_logs", "outbox")


async def state(hall: Hall) -> dict[str, list[str]]:
    return {
        table: [row[0] for row in await hall.owner_pool.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1")]  # noqa: S608
        for table in WRITTEN
    }


async def now(hall: Hall, room: Room) -> Room:
    found = await hall.rooms.room(room.id)
    assert found is not None
    return found


async def due(hall: Hall, room: Room, number: int) -> tuple[int, int]:
    row = await hall.row(room, number)
    return row["lock_due_ms"], row["draw_due_ms"]


# ---- the schedule ----


@pytest.mark.parametrize(
    ("period_ms", "lock_lead_ms"), [(4_000, 2_000), (60_000, 2_000), (4_000, 500), (20_000, 15_000), (2_000, 1)]
)
async def test_the_round_after_the_one_on_sale_is_the_first_of_the_new_terms(
    hall: Hall, period_ms: int, lock_lead_ms: int
) -> None:
    room = await hall.add_room()
    await hall.play(room, [1, 2])
    before = await due(hall, room, 3)
    await hall.rooms.set("one", period_ms=period_ms, lock_lead_ms=lock_lead_ms, actor="a test")
    await hall.tick()
    assert await now(hall, room) == room, "nothing changes within a slot"
    assert await due(hall, room, 3) == before
    await hall.at_lock(room, 3)
    await hall.tick()
    changed = await now(hall, room)
    assert (changed.period_ms, changed.lock_lead_ms) == (period_ms, lock_lead_ms)
    after = max(before[0] + lock_lead_ms, before[1]) + period_ms
    slots = schedule(changed)
    if lock_lead_ms < room.lock_lead_ms:
        # The draw of the last round is later than the sales of the next one need to begin: the room rests in between.
        assert (await hall.phases(room))[-1] == "locked"
        await hall.clock.set(slots.lock_due_ms(3))
        await hall.tick()
    assert await due(hall, room, 4) == (after - lock_lead_ms, after)
    assert await due(hall, room, 4) == (slots.lock_due_ms(4), slots.draw_due_ms(4))
    await hall.play(changed, [4, 5])
    assert await hall.phases(room) == [*["settled"] * 5, "open"]
    assert await due(hall, room, 6) == (slots.lock_due_ms(6), slots.draw_due_ms(6))


async def test_slots_missed_before_a_change_keep_the_times_they_had(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_lock(room, 3)
    await hall.rooms.set("one", period_ms=5_000, actor="a test")
    await hall.tick()
    assert await hall.phases(room) == ["settled", "skipped", "skipped", "open"]
    for number in (2, 3, 4):
        assert await due(hall, room, number) == (schedule(room).lock_due_ms(number), schedule(room).draw_due_ms(number))
    await hall.at_lock(room, 4)
    await hall.tick()
    changed = await now(hall, room)
    assert changed.period_ms == 5_000
    assert await due(hall, room, 5) == (schedule(room).lock_due_ms(4) + 5_000, schedule(room).draw_due_ms(4) + 5_000)


async def test_changes_that_wait_for_the_same_slot_are_built_upon_and_made_together(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.set("one", period_ms=5_000, actor="a test")
    await hall.rooms.set("one", lock_lead_ms=300, actor="a test")
    await hall.at_lock(room, 1)
    await hall.tick()
    changed = await now(hall, room)
    assert (changed.period_ms, changed.lock_lead_ms) == (5_000, 300)
    done = await hall.owner_pool.fetch(
        "SELECT actor, subject, detail->>'first' FROM audit_logs WHERE action = 'room.changed'"
    )
    assert [tuple(row) for row in done] == [("scheduler", str(room.id), "2")]
    asked = await hall.owner_pool.fetch(
        "SELECT before->>'period_ms', after->>'period_ms' FROM admin_actions WHERE action = 'room.set' ORDER BY id"
    )
    assert [tuple(row) for row in asked] == [("10000", "5000"), ("5000", "5000")]
    await hall.at_lock(changed, 1)
    await hall.play(changed, [2])
    assert await hall.phases(room) == ["settled", "settled", "open"]


async def test_a_round_on_sale_keeps_its_paytable_and_currencies_and_the_next_has_the_new_ones(hall: Hall) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    offer = Offer(rtp_profile("96").rtp_bounds, [shipped_paytable("96")])
    terms = await hall.rooms.set("one", offer=offer, currencies=["EUR", "GBP"], actor="a test")
    kept = await hall.bet(operator_id, room, [1, 2])
    assert kept.receipt is not None
    assert kept.receipt.paytable == shipped_paytable("94").hash
    await hall.at_lock(room, 1)
    await hall.tick()
    assert ((await hall.row(room, 1))["rules_hash"], (await hall.row(room, 2))["rules_hash"]) == (
        room.rules_hash,
        terms.rules_hash,
    )
    new = await hall.bet(operator_id, room, [1, 2])
    assert new.receipt is not None
    assert new.receipt.paytable == shipped_paytable("96").hash
    document = await room_store.published_rules(hall.app_pool, terms.rules_hash)
    assert document is not None
    parsed = rules.parse(document)
    assert (list(parsed.currencies), parsed.paytables) == (["EUR", "GBP"], (shipped_paytable("96").hash,))
    await hall.play(room, [2])
    assert await hall.phases(room) == ["settled", "settled", "open"]


async def test_setting_what_is_set_already_leaves_nothing_behind(hall: Hall) -> None:
    room = await hall.add_room()
    before = await state(hall)
    await hall.rooms.set("one", period_ms=room.period_ms, currencies=["EUR"], actor="a test")
    assert await state(hall) == before


async def test_a_room_that_has_not_begun_is_set_from_its_first_round_on(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.rooms.set("one", period_ms=5_000, lock_lead_ms=1_000, actor="a test")
    await hall.tick()
    changed = await now(hall, room)
    assert (changed.period_ms, changed.lock_lead_ms) == (5_000, 1_000)
    await hall.at_lock(changed, 0)
    await hall.tick()
    assert await hall.phases(room) == ["open"]
    assert await due(hall, room, 1) == (schedule(changed).lock_due_ms(1), schedule(changed).draw_due_ms(1))


# ---- refusals ----

OUTSIDE = Offer(rtp_profile("96").rtp_bounds, [shipped_paytable("92")])
REFUSED: dict[str, tuple[type[KenoError], dict[str, object]]] = {
    "a period below the least": (ScheduleError, {"period_ms": 1_999, "lock_lead_ms": 1}),
    "a period above the most": (ScheduleError, {"period_ms": 60_001}),
    "a period that the lead fills": (ScheduleError, {"period_ms": 2_000}),
    "a lead as long as the period": (ScheduleError, {"lock_lead_ms": 10_000}),
    "no lead": (ScheduleError, {"lock_lead_ms": 0}),
    "a paytable outside of the promised return": (RulesError, {"offer": OUTSIDE}),
    "no paytable": (RulesError, {"offer": Offer(rtp_profile("94").rtp_bounds, [])}),
    "no currency": (RulesError, {"currencies": []}),
    "an unknown currency": (MoneyError, {"currencies": ["EUR", "XYZ"]}),
    "an unknown room": (RoomError, {"name": "two", "period_ms": 5_000}),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_change_that_is_refused_leaves_nothing_behind(hall: Hall, what: str) -> None:
    await hall.add_room()
    await hall.tick()
    before = await state(hall)
    error, changes = REFUSED[what]
    with pytest.raises(error):
        await hall.rooms.set(**({"name": "one", "actor": "a test"} | changes))  # type: ignore[arg-type]
    assert await state(hall) == before


async def test_a_closed_room_can_be_neither_set_nor_closed(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.set("one", period_ms=5_000, actor="a test")
    await hall.rooms.close("one", actor="a test")
    before = await state(hall)
    for refused in (
        hall.rooms.set("one", period_ms=6_000, actor="a test"),
        hall.rooms.close("one", actor="a test"),
    ):
        with pytest.raises(RoomError, match="closed already"):
            await refused
    assert await state(hall) == before
    await hall.at_draw(room, 2)
    await hall.tick()
    assert await hall.phases(room) == ["settled"], "the change that waited has gone with the room"


# ---- against the scheduler ----


async def waiting(hall: Hall, statement: str) -> None:
    """Returns once a statement with these words waits for a lock."""
    for _ in range(2_000):
        if await hall.owner_pool.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%' || $1 || '%' AND cardinality(pg_blocking_pids(pid)) > 0 AND pid <> pg_backend_pid())",
            statement,
        ):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nothing waits in {statement}")


@pytest.mark.parametrize(
    ("blocker", "closer_waits_in"),
    [
        ("SELECT FROM rooms WHERE name = 'one' FOR NO KEY UPDATE", "FROM rooms WHERE name = $1 FOR"),
        ("SELECT pg_advisory_xact_lock(-7302)", "INSERT INTO audit_logs"),
    ],
)
async def test_a_room_can_be_closed_at_the_instant_at_which_its_change_is_made(
    hall: Hall, blocker: str, closer_waits_in: str
) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.set("one", period_ms=5_000, actor="a test")
    await hall.at_lock(room, 1)
    async with hall.owner_pool.acquire() as conn, conn.transaction():
        await conn.execute(blocker)
        closing = asyncio.create_task(hall.rooms.close("one", actor="a test"))
        await waiting(hall, closer_waits_in)
        stepping = asyncio.create_task(hall.scheduler.step())
        await waiting(hall, "open_%_rounds")
    await asyncio.gather(closing, stepping)
    await hall.at_draw(room, 2)
    await hall.tick()
    assert await hall.phases(room) == ["settled"]


async def test_a_room_can_be_set_at_the_instant_at_which_an_earlier_change_is_made(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.set("one", period_ms=5_000, actor="a test")
    await hall.at_lock(room, 1)
    async with hall.app_pool.acquire() as setting, setting.transaction():
        held = await room_store.hold_room(setting, "one")
        stepping = asyncio.create_task(hall.scheduler.step())
        await waiting(hall, "open_due_rounds")
        assert held is not None
        await room_store.set_room(setting, room.id, room_store.Terms(6_000, held.lock_lead_ms, held.rules_hash))
    await stepping
    assert (await now(hall, room)).period_ms == 6_000
    assert await hall.phases(room) == ["locked", "open"]


@pytest.mark.parametrize("statement", ["open_next_rounds", "open_due_rounds"])
async def test_once_a_room_has_closed_no_round_of_it_opens_even_in_a_statement_under_way(
    hall: Hall, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    placed = await hall.bet(operator_id, room, [1])
    await hall.at_lock(room, 1)
    if statement == "open_due_rounds":

        async def none_followed(*_: object) -> list[int]:
            return []

        monkeypatch.setattr("keno.rounds.store.open_next_rounds", none_followed)
    async with hall.app_pool.acquire() as closing, closing.transaction():
        assert await closing.fetchval("SELECT close_room($1)", room.id)
        stepping = asyncio.create_task(hall.scheduler.step())
        await waiting(hall, statement)
    await stepping
    await hall.at_draw(room, 3)
    await hall.tick()
    assert placed.outcome is Outcome.ACCEPTED
    assert await hall.phases(room) == ["settled"]
    assert (await hall.row(room, 1))["bets_count"] == 1


async def test_rooms_that_are_set_all_the_time_miss_no_number(hall: Hall) -> None:
    rooms = [await hall.add_room(f"room {n}", period_ms=2_000, lock_lead_ms=500) for n in range(6)]
    await hall.tick()
    at_ms = schedule(rooms[0]).lock_due_ms(0)
    for step in range(40):
        each = rooms[step % len(rooms)]
        await hall.rooms.set(
            each.name, period_ms=2_000 + 500 * (step % 5), lock_lead_ms=100 + 300 * (step % 4), actor="a test"
        )
        at_ms += 700
        await hall.clock.set(at_ms)
        await hall.tick()
    for each in rooms:
        phases = await hall.phases(each)
        assert len(phases) > 5
        assert "skipped" not in phases
        rows = await hall.owner_pool.fetch(
            "SELECT lock_due_ms, draw_due_ms FROM rounds WHERE room_id = $1 ORDER BY number", each.id
        )
        for earlier, later in pairwise(rows):
            assert later["lock_due_ms"] >= earlier["lock_due_ms"] + 2_000
            assert later["draw_due_ms"] >= earlier["draw_due_ms"] + 2_000
