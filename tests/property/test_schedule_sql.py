"""The database repeats the rules of rounds that stand in code, and refuses what they do not allow.

`open_due_rounds` and the vault compute slots as `Schedule` does; `phase_edge_allowed` is `phases.EDGES`; the triggers
of `rounds` hold for every role, the schema's owner included. Random rooms come from a fixed seed.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import product
from uuid import UUID, uuid4

import asyncpg
import pytest
from support.rounds import PERIOD_MS, START_MS, Hall

from keno.fairness import vault_store
from keno.rounds.phases import EDGES, FINAL, Phase
from keno.rounds.schedule import PERIOD_MAX_MS, PERIOD_MIN_MS, Schedule
from keno.rounds.store import lock_due_rounds, open_due_rounds, open_next_rounds, take_lease

ROOMS = 150
CLOCKS = 6
SLOTS_MAX = 25
COMMITS = 300


@dataclass(frozen=True)
class RandomRoom:
    id: UUID
    schedule: Schedule


def random_room(rng: random.Random) -> RandomRoom:
    """A room whose clock reads anything from two slots before its start to `SLOTS_MAX`, often a slot's very edge."""
    period_ms = rng.choice([PERIOD_MIN_MS, PERIOD_MAX_MS, rng.randint(PERIOD_MIN_MS, PERIOD_MAX_MS)])
    lock_lead_ms = rng.choice([1, period_ms - 1, rng.randint(1, period_ms - 1)])
    past_ms = rng.choice([rng.randint(-2 * period_ms, SLOTS_MAX * period_ms), rng.randint(-2, SLOTS_MAX) * period_ms])
    started = Schedule.starting_at(START_MS - past_ms + rng.choice([-1, 0, 0, 1]), period_ms, lock_lead_ms)
    return RandomRoom(uuid4(), started)


async def add(hall: Hall, rooms: list[RandomRoom]) -> None:
    """Stores rooms, without commitments."""
    seller = await hall.add_room("seller of rules")
    await hall.rooms.close("seller of rules", actor="a test")
    await hall.owner_pool.executemany(
        "INSERT INTO rooms (id, name, profile, period_ms, lock_lead_ms, slot_epoch_ms, rules_hash) "
        "VALUES ($1, $2, 'S', $3, $4, $5, $6)",
        [
            (
                r.id,
                str(r.id),
                r.schedule.period_ms,
                r.schedule.lock_lead_ms,
                r.schedule.slot_epoch_ms,
                seller.rules_hash,
            )
            for r in rooms
        ],
    )


def expected_rounds(room: RandomRoom, opened: set[int], last: int) -> list[tuple[int, str, int, int]]:
    """(number, phase, lock_due_ms, draw_due_ms) of rounds 1 to `last`, of which only `opened` were opened."""
    return [
        (
            number,
            "open" if number in opened else "skipped",
            room.schedule.lock_due_ms(number),
            room.schedule.draw_due_ms(number),
        )
        for number in range(1, last + 1)
    ]


async def test_the_database_opens_and_skips_the_slots_that_the_schedule_says(hall: Hall) -> None:
    rng = random.Random("slots")
    rooms = [random_room(rng) for _ in range(ROOMS)]
    await add(hall, rooms)
    await hall.owner_pool.executemany(
        "INSERT INTO epochs (room_id, first_round, rounds_count, key_commit, commits, commits_root, opened_ms, hash) "
        "VALUES ($1, 1, $2, $3, $4, $3, 0, $3)",
        [(room.id, COMMITS, bytes(32), rng.randbytes(32 * COMMITS)) for room in rooms],
    )
    on_sale = [room.schedule.on_sale(START_MS) for room in rooms]
    assert min(on_sale) < 0, "some rooms have not started"
    assert {0, 1, 2, SLOTS_MAX} < set(on_sale)
    lease_epoch = await take_lease(hall.app_pool, 0, "a test", 0)
    assert lease_epoch == 1
    opened: dict[UUID, set[int]] = {room.id: set() for room in rooms}
    last = {room.id: 0 for room in rooms}
    at_ms = START_MS
    for _ in range(CLOCKS):
        await hall.clock.set(at_ms)
        late_ms: list[int] = []
        while (moved := await open_due_rounds(hall.app_pool, 0, lease_epoch)) and (
            moved.late_ms or moved.skipped_count
        ):
            late_ms += moved.late_ms
        due = {room.id: room.schedule.on_sale(at_ms) for room in rooms}
        newly = {room_id for room_id, number in due.items() if number > last[room_id]}
        schedules = {room.id: room.schedule for room in rooms}
        assert sorted(late_ms) == sorted(at_ms - schedules[room_id].lock_due_ms(due[room_id] - 1) for room_id in newly)
        for room_id in newly:
            last[room_id] = due[room_id]
            opened[room_id].add(due[room_id])
        at_ms += rng.choice([1, 500, PERIOD_MIN_MS, 3 * PERIOD_MIN_MS, PERIOD_MAX_MS])
    for room in rooms:
        rows = await hall.owner_pool.fetch(
            "SELECT number, phase, lock_due_ms, draw_due_ms FROM rounds WHERE room_id = $1 ORDER BY number", room.id
        )
        assert [tuple(row) for row in rows] == expected_rounds(room, opened[room.id], last[room.id])


async def test_the_slots_behind_locked_rounds_open_as_they_would_among_all_rooms(hall: Hall) -> None:
    rng = random.Random("next slots")
    rooms = [random_room(rng) for _ in range(ROOMS)]
    await add(hall, rooms)
    await hall.owner_pool.executemany(
        "INSERT INTO epochs (room_id, first_round, rounds_count, key_commit, commits, commits_root, opened_ms, hash) "
        "VALUES ($1, $2, $3, $4, $5, $4, 0, $4)",
        [
            (room.id, first, count, bytes(32), rng.randbytes(32 * count))
            for room in rooms
            for first, count in [(1, 30), (31, 3), (34, rng.choice([1, 5, COMMITS]))]
        ],
    )
    assert await take_lease(hall.app_pool, 0, "a test", 0) == 1
    at_ms, opened_next = START_MS, 0
    for step in range(20):
        await hall.clock.set(at_ms)
        if step % 5 == 4:
            closed = await hall.owner_pool.fetchval("SELECT id FROM rooms WHERE status = 'open' ORDER BY id LIMIT 1")
            await hall.owner_pool.execute("UPDATE rooms SET status = 'closed' WHERE id = $1", closed)
        if step % 7 == 6:
            # As where more are due than one statement locks: their next slot is on sale already.
            await open_due_rounds(hall.app_pool, 0, 1)
        locked = await lock_due_rounds(hall.app_pool, 0, 1)
        assert locked is not None
        found = "SELECT room_id, number FROM rounds WHERE id = ANY ($1)"
        behind = {(row[0], row[1] + 1) for row in await hall.owner_pool.fetch(found, locked.round_ids)}
        by_look = await opened_by(hall, lambda conn: open_due_rounds(conn, 0, 1))
        by_next = await opened_by(hall, lambda conn: open_next_rounds(conn, 0, 1, locked.round_ids))  # noqa: B023
        assert by_next == {row for row in by_look if row[:2] in behind}
        late_ms = await open_next_rounds(hall.app_pool, 0, 1, locked.round_ids)
        assert late_ms is not None
        lock_due_ms = {room.id: room.schedule.lock_due_ms for room in rooms}
        assert sorted(late_ms) == sorted(at_ms - lock_due_ms[room_id](number - 1) for room_id, number, *_ in by_next)
        opened_next += len(late_ms)
        while (moved := await open_due_rounds(hall.app_pool, 0, 1)) and (moved.late_ms or moved.skipped_count):
            pass
        at_ms += rng.choice([1, 500, PERIOD_MIN_MS, PERIOD_MIN_MS, 3 * PERIOD_MIN_MS, PERIOD_MAX_MS])
    assert opened_next > ROOMS
    assert await open_next_rounds(hall.app_pool, 0, 2, []) is None, "another leads"


async def opened_by(hall: Hall, opening: Callable[[asyncpg.Connection], Awaitable[object]]) -> set[tuple[object, ...]]:
    """The rounds that a statement opens, room and number first, without its effects."""
    columns = (
        "room_id, number, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch, shard"
    )
    async with hall.app_pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        last_id = await conn.fetchval("SELECT coalesce(max(id), 0) FROM rounds")
        await opening(conn)
        rows = await conn.fetch(f"SELECT {columns} FROM rounds WHERE id > $1 AND phase = 'open'", last_id)  # noqa: S608
        told = await conn.fetch("SELECT payload->>'commit' FROM outbox WHERE routing_key = 'round.opened'")
        assert {row["commit_hash"].hex() for row in rows} <= {row[0] for row in told}
        await transaction.rollback()
    return {tuple(row) for row in rows}


async def test_a_clock_that_steps_back_opens_nothing_twice(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_draw(room, 3)
    await hall.tick()
    rounds_before = await hall.phases(room)
    await hall.at_lock(room, 1)
    await hall.tick()
    assert await hall.phases(room) == rounds_before == ["settled", "skipped", "skipped", "open"]


async def test_the_vault_begins_an_epoch_at_the_slot_that_the_schedule_says(hall: Hall) -> None:
    rng = random.Random("first rounds")
    rooms = [random_room(rng) for _ in range(ROOMS)]
    await add(hall, rooms)
    short = await vault_store.rooms_short_of_epochs(hall.vault_pool, 1)
    assert {each.room_id: each.first_round for each in short} == {
        room.id: max(room.schedule.on_sale(START_MS), 1) for room in rooms
    }


async def test_the_database_allows_the_edges_of_the_code_and_no_other(owner_pool: asyncpg.Pool) -> None:
    for origin, to in product(Phase, repeat=2):
        allowed = await owner_pool.fetchval("SELECT phase_edge_allowed($1, $2)", origin, to)
        assert allowed == ((origin, to) in EDGES), (origin, to)


async def rounds_in_every_phase(hall: Hall) -> dict[str, int]:
    """The id of a round in each phase, and of one that is sealed; all got there in the usual way."""
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    await hall.bet(operator_id, room, [1, 2, 3])
    await hall.play(room, [1])
    await hall.at_lock(room, 2)
    await hall.tick(settle=False)
    await hall.void(room, 2, reason=3)
    await hall.bet(operator_id, room, [4, 5])  # a round without any is settled as it is drawn
    await hall.at_draw(room, 3)
    await hall.tick(settle=False)
    await hall.at_lock(room, 5)
    await hall.tick(settle=False)
    await hall.bet(operator_id, room, [6, 7])
    await hall.at_lock(room, 6)
    await hall.tick(settle=False)
    await hall.bet(operator_id, room, [8])  # one without any is sealed as it is locked
    await hall.clock.set(START_MS + 7 * PERIOD_MS)
    await lock_due_rounds(hall.app_pool, 0, 1)
    await open_due_rounds(hall.app_pool, 0, 1)
    numbers = {"settled": 1, "void": 2, "drawn": 3, "skipped": 5, "sealed": 6, "locked": 7, "open": 8}
    rows = {name: await hall.row(room, number) for name, number in numbers.items()}
    assert {name: row["phase"] for name, row in rows.items()} == {name: name for name in numbers} | {"sealed": "locked"}
    assert rows["sealed"]["lock_hash"] is not None
    assert rows["locked"]["lock_hash"] is None
    return {name: row["id"] for name, row in rows.items()}


async def stored(hall: Hall, round_id: int) -> asyncpg.Record:
    row = await hall.owner_pool.fetchrow("SELECT * FROM rounds WHERE id = $1", round_id)
    assert row is not None
    return row


async def test_the_owner_too_is_refused_every_phase_that_no_edge_leads_to(hall: Hall) -> None:
    for name, round_id in (await rounds_in_every_phase(hall)).items():
        before = await stored(hall, round_id)
        for to in Phase:
            if to == before["phase"] or (before["phase"], to) in EDGES:
                continue
            if (before["phase"], to, before["bets_count"]) == (Phase.LOCKED, Phase.SETTLED, 0):
                continue  # without bets both edges are taken at once; the values are asked for below
            for pool in (hall.owner_pool, hall.app_pool):
                with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=r"no way from|it is immutable"):
                    await pool.execute("UPDATE rounds SET phase = $2 WHERE id = $1", round_id, to)
        assert await stored(hall, round_id) == before, name


async def test_an_edge_without_the_values_of_its_phase_is_refused(hall: Hall) -> None:
    for round_id in (await rounds_in_every_phase(hall)).values():
        before = await stored(hall, round_id)
        both_at_once = {(Phase.LOCKED, Phase.SETTLED)} if before["bets_count"] == 0 else set()
        for origin, to in EDGES | both_at_once:
            if origin == before["phase"]:
                with pytest.raises(asyncpg.CheckViolationError):
                    await hall.owner_pool.execute("UPDATE rounds SET phase = $2 WHERE id = $1", round_id, to)
        assert await stored(hall, round_id) == before


def another(value: object) -> object:
    """A value of the same kind and length that is not this one."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else b"x"
    if isinstance(value, int):
        return value + 1
    assert isinstance(value, UUID)
    return uuid4()


async def test_what_was_written_of_a_round_can_be_neither_changed_nor_taken_away(hall: Hall) -> None:
    ids = await rounds_in_every_phase(hall)
    for name, round_id in ids.items():
        before = await stored(hall, round_id)
        written = {
            column: value
            for column, value in before.items()
            if value is not None and column not in {"id", "phase", "lease_epoch"}
        }
        for column, value in written.items():
            for changed in (another(value), None):
                with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="immutable"):
                    await hall.owner_pool.execute(
                        f"UPDATE rounds SET {column} = $2 WHERE id = $1",  # noqa: S608
                        round_id,
                        changed,
                    )
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="immutable"):
            await hall.owner_pool.execute("UPDATE rounds SET id = DEFAULT WHERE id = $1", round_id)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=r"immutable|is older"):
            await hall.owner_pool.execute("UPDATE rounds SET lease_epoch = 0 WHERE id = $1", round_id)
        assert await stored(hall, round_id) == before, name


async def test_a_round_that_has_ended_is_immutable_for_the_owner_even_where_nothing_would_change(hall: Hall) -> None:
    ids = await rounds_in_every_phase(hall)
    for phase in FINAL:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=f"is {phase}: it is immutable"):
            await hall.owner_pool.execute("UPDATE rounds SET phase = phase WHERE id = $1", ids[phase])


async def test_nothing_of_a_later_phase_can_be_written_ahead_of_it(hall: Hall) -> None:
    ids = await rounds_in_every_phase(hall)
    drawn = dict(await stored(hall, ids["drawn"]))
    sealing = ("locked_ms", "lock_hash", "bets_root", "bets_count", "beacon_round", "prev_lock")
    drawing = ("drawn_ms", "seed", "numbers", "result", "beacon_sig", "ended_ms", "void_reason")
    for name in ("open", "locked", "sealed"):
        before = await stored(hall, ids[name])
        for column in [column for column in (*sealing, *drawing) if before[column] is None]:
            with pytest.raises(asyncpg.CheckViolationError):
                await hall.owner_pool.execute(
                    f"UPDATE rounds SET {column} = $2 WHERE id = $1",  # noqa: S608
                    ids[name],
                    1 if drawn[column] is None else drawn[column],
                )
        assert await stored(hall, ids[name]) == before


async def test_a_round_is_born_open_or_skipped_and_never_further(hall: Hall) -> None:
    for name, round_id in (await rounds_in_every_phase(hall)).items():
        copy = dict(await stored(hall, round_id)) | {"number": 1_000_000 + round_id}
        del copy["id"]
        insert = (
            f"INSERT INTO rounds ({', '.join(copy)}) VALUES ({', '.join(f'${n}' for n in range(1, len(copy) + 1))})"  # noqa: S608
        )
        if name in {"open", "skipped"}:
            await hall.app_pool.execute(insert, *copy.values())
            continue
        for pool in (hall.app_pool, hall.owner_pool):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="begins open or skipped"):
                await pool.execute(insert, *copy.values())


async def test_rounds_cannot_be_deleted_and_a_number_cannot_be_used_twice(hall: Hall) -> None:
    ids = await rounds_in_every_phase(hall)
    for statement in ("DELETE FROM rounds WHERE id = 0", "TRUNCATE rounds CASCADE"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="refused"):
            await hall.owner_pool.execute(statement)
    copy = dict(await stored(hall, ids["skipped"]))
    del copy["id"]
    columns = ", ".join(copy)
    with pytest.raises(asyncpg.UniqueViolationError):
        await hall.owner_pool.execute(
            f"INSERT INTO rounds ({columns}) SELECT {columns} FROM rounds WHERE id = $1",  # noqa: S608
            ids["skipped"],
        )


async def test_the_condition_of_the_guard_names_every_column_of_a_round(owner_pool: asyncpg.Pool) -> None:
    guard = await owner_pool.fetchval("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'guard_round'")
    columns = await owner_pool.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'rounds'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    assert {name for (name,) in columns if f"new.{name}" not in guard.lower()} == set()
