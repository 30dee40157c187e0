"""Bets and payouts in partitions: made ahead, filled by round, and one bet an id across their boundaries."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import asyncpg
import pytest
from support.databases import Database, Databases
from support.money import Floor

from keno.bets import read_store, store
from keno.bets.outcome import Outcome
from keno.bets.store import BetRow
from keno.infra.migrate import MIGRATIONS, migrate
from keno.infra.postgres import create_pool
from keno.rounds.room_store import Room

A, DUPLICATE, CONFLICT = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT
AHEAD = 3
MISSING = "no partition of relation"


@pytest.fixture
async def rooms(floor: Floor) -> list[Room]:
    """Two rooms whose rounds on sale are the last of one partition and the first of the next."""
    boundary = await floor.owner_pool.fetchval("SELECT min(end_round) FROM bet_partitions")
    await next_round(floor, boundary - 1)
    rooms = []
    for _ in range(2):
        rooms.append(await floor.add_room())
        await floor.hall.tick()
    assert [await floor.round_id(room) for room in rooms] == [boundary - 1, boundary]
    return rooms


async def next_round(floor: Floor, round_id: int) -> None:
    """Lets the next round that opens have this id."""
    await floor.owner_pool.execute(f"ALTER SEQUENCE rounds_id_seq RESTART WITH {round_id}")


def the_same_in_both(floor: Floor, rooms: list[Room], transaction_id: str) -> list[BetRow]:
    """A bet as it would be for each of two rooms, alike to the last byte but for the room."""
    return [
        floor.bet(transaction_id=transaction_id, room_id=room.id, fingerprint=b"the same content") for room in rooms
    ]


async def partitions(floor: Floor, table: str) -> list[tuple[str, str]]:
    """(name, bounds) of the attached partitions of a table, in the order of their rounds."""
    rows = await floor.owner_pool.fetch(
        """
        SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = $1::text::regclass
        ORDER BY length(c.relname), c.relname
        """,
        table,
    )
    return [tuple(row) for row in rows]


async def test_partitions_are_there_ahead_of_the_rounds_and_more_are_made_as_these_come(floor: Floor) -> None:
    assert await floor.pool.fetchval("SELECT make_partitions($1)", AHEAD) == 0
    ends = [row[0] for row in await floor.owner_pool.fetch("SELECT end_round FROM bet_partitions ORDER BY 1")]
    assert len(ends) == 1 + AHEAD
    await next_round(floor, ends[1])
    await floor.hall.at_lock(floor.room, 1)
    await floor.hall.tick()
    assert await floor.pool.fetchval("SELECT make_partitions($1)", AHEAD) == 2
    assert await floor.pool.fetchval("SELECT make_partitions($1)", AHEAD) == 0
    spans = await floor.owner_pool.fetch("SELECT first_round, end_round FROM bet_partitions ORDER BY 1")
    for table in ("bets", "payouts"):
        assert await partitions(floor, table) == [
            (f"{table}_{first}", f"FOR VALUES FROM ('{first}') TO ('{end}')") for first, end in spans
        ]


async def test_makers_that_start_together_make_each_partition_once(floor: Floor) -> None:
    made = await asyncio.gather(*(floor.pool.fetchval("SELECT make_partitions($1)", AHEAD + 2) for _ in range(4)))
    assert sorted(made) == [0, 0, 0, 2]


async def test_every_partition_has_the_same_indexes_and_guards(floor: Floor) -> None:
    await floor.pool.fetchval("SELECT make_partitions($1)", AHEAD + 1)
    for table in ("bets", "payouts"):
        kinds = set()
        for name, _ in await partitions(floor, table):
            indexes = await floor.owner_pool.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = $1", name)
            guards = await floor.owner_pool.fetch(
                "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = $1::text::regclass", name
            )
            kinds.add(frozenset(definition.replace(name, table) for (definition,) in [*indexes, *guards]))
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await floor.owner_pool.execute(f"DELETE FROM {name}")  # noqa: S608 - from the catalogue
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await floor.pool.execute(f"SELECT FROM {name}")
        assert len(kinds) == 1


async def test_a_bet_waits_for_no_partition_that_is_made(floor: Floor) -> None:
    async with floor.owner_pool.acquire() as conn, conn.transaction():
        assert await conn.fetchval("SELECT make_partitions($1)", AHEAD + 1) == 1
        async with asyncio.timeout(4):
            assert await floor.outcomes(floor.bet()) == [A]
    async with floor.pool.acquire() as conn, conn.transaction():
        assert [row.outcome for row in await floor.place(floor.bet(), conn=conn)] == [A]
        async with asyncio.timeout(4):
            assert await floor.pool.fetchval("SELECT make_partitions($1)", AHEAD + 2) == 1


async def test_bets_and_payouts_stand_in_the_partition_of_their_round(floor: Floor, rooms: list[Room]) -> None:
    bets = [floor.bet(room_id=room.id, picks=(pick,)) for room in rooms for pick in range(1, 81)]
    placed = await floor.place(*bets)
    assert {row.outcome for row in placed} == {A}
    for room in rooms:
        await floor.settle(room=room)
    for table, count in (("bets", 80), ("payouts", 20)):
        stored = await floor.owner_pool.fetch(
            f"SELECT tableoid::regclass::text, round_id, count(*) FROM {table} GROUP BY 1, 2 ORDER BY 2"  # noqa: S608
        )
        ids = [await floor.round_id(room) for room in rooms]
        first = [0, ids[1]]
        assert [tuple(row) for row in stored] == [
            (f"{table}_{begin}", round_id, count) for begin, round_id in zip(first, ids, strict=True)
        ]
    for row in placed:
        assert row.bet_id is not None
        assert row.stand is not None
        found = await read_store.bet_by_id(floor.pool, floor.operator_id, row.bet_id)
        assert found is not None
        assert found.round_id == row.stand.round_id


async def test_an_id_of_the_partition_before_is_found_in_the_next(floor: Floor, rooms: list[Room]) -> None:
    early, late = the_same_in_both(floor, rooms, "twice")
    [first] = await floor.place(early)
    [again] = await floor.place(late)
    assert (first.outcome, again.outcome) == (A, DUPLICATE)
    assert first.stand is not None
    assert again.stand is not None
    assert again.bet_id == first.bet_id
    assert asdict(again.stand) == asdict(first.stand)
    other = floor.bet(transaction_id="twice", room_id=rooms[1].id, stake_minor=200)
    assert await floor.outcomes(other) == [CONFLICT]


@pytest.mark.parametrize("first", [0, 1])
async def test_an_id_on_its_way_into_one_partition_is_waited_for_by_the_other(
    floor: Floor, rooms: list[Room], first: int
) -> None:
    pair = the_same_in_both(floor, rooms, "twice")
    async with floor.pool.acquire() as one, floor.pool.acquire() as other:
        pid = await other.fetchval("SELECT pg_backend_pid()")
        trial = one.transaction()
        await trial.start()
        [placed] = await floor.place(pair[first], conn=one)
        waiting = asyncio.create_task(floor.place(pair[1 - first], conn=other))
        await floor.until_waiting(pid)
        await trial.commit()
        [again] = await waiting
    assert (placed.outcome, again.outcome, again.bet_id) == (A, DUPLICATE, placed.bet_id)


async def test_however_an_id_is_raced_over_a_boundary_it_is_one_bet(
    floor: Floor, rooms: list[Room], database: Database
) -> None:
    ids = [f"raced {n}" for n in range(200)]
    told: Counter[str] = Counter()

    async def place_all(seed: int) -> None:
        chance = random.Random(seed)
        async with await create_pool(database.app_url, connections_max=1) as pool:
            todo = chance.sample(ids, len(ids))
            while todo:
                batch = [chance.choice(the_same_in_both(floor, rooms, todo.pop())) for _ in range(min(7, len(todo)))]
                try:
                    rows = await store.place_bets(pool, batch)
                except asyncpg.UniqueViolationError:
                    todo += [bet.transaction_id for bet in batch]
                    continue
                assert {row.outcome for row in rows} <= {A, DUPLICATE}
                told.update(bet.transaction_id for bet, row in zip(batch, rows, strict=True) if row.outcome is A)

    await asyncio.gather(*(place_all(seed) for seed in range(6)))
    assert told == dict.fromkeys(ids, 1)
    assert await floor.stored_bets(ids) == sorted((each, 1, 1) for each in ids)
    used = await floor.owner_pool.fetchval("SELECT count(DISTINCT round_id) FROM bets")
    assert used == len(rooms)


async def test_batches_of_an_operator_take_turns_only_while_a_partition_is_new(floor: Floor, rooms: list[Room]) -> None:
    is_new = "SELECT partition_is_new()"
    assert await floor.pool.fetchval(is_new)
    await floor.hall.tamper(
        "UPDATE rounds SET opened_ms = opened_ms - 300000 WHERE id = $1", await floor.round_id(rooms[1])
    )
    assert not await floor.pool.fetchval(is_new)
    async with floor.pool.acquire() as one, floor.pool.acquire() as other, one.transaction():
        await floor.fund("bob", 1_000)
        assert [row.outcome for row in await floor.place(floor.bet(), conn=one)] == [A]
        assert [row.outcome for row in await floor.place(floor.bet("bob"), conn=other)] == [A]


async def test_the_first_partition_is_new_to_nobody(floor: Floor) -> None:
    assert not await floor.pool.fetchval("SELECT partition_is_new()")


async def test_a_bet_on_a_round_without_partition_fails_aloud_and_can_be_placed_once_there_is_one(floor: Floor) -> None:
    await next_round(floor, await floor.owner_pool.fetchval("SELECT max(end_round) FROM bet_partitions"))
    room = await floor.add_room()
    await floor.hall.tick()
    bet = floor.bet(room_id=room.id)
    before = await floor.books()
    with pytest.raises(asyncpg.CheckViolationError, match=MISSING):
        await floor.place(bet)
    assert await floor.books() == before
    assert await floor.pool.fetchval("SELECT make_partitions($1)", 1) == 2
    assert await floor.outcomes(bet) == [A]


@pytest.fixture
def empty(databases: Databases) -> Iterator[Database]:
    """A database without a schema."""
    made = databases.create_empty()
    yield made
    databases.drop(made)


@pytest.mark.parametrize(("last_round", "end"), [(3, 4_194_304), (4_194_303, 4_194_304), (4_194_304, 8_388_608)])
async def test_what_was_stored_before_is_the_first_partition(
    empty: Database, tmp_path: Path, last_round: int, end: int
) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        if path.stem < "0012":
            shutil.copy(path, tmp_path)
    await migrate(empty.owner_url, tmp_path)
    conn = await asyncpg.connect(empty.owner_url)
    try:
        await conn.execute(f"ALTER SEQUENCE rounds_id_seq RESTART WITH {last_round}")
        await conn.execute("SELECT nextval('rounds_id_seq')")
        await conn.execute(
            """
            INSERT INTO bets (operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint,
                transaction_id)
            SELECT gen_random_uuid(), $1 - n % 3, n, 100 + n, n, 0, decode('00000000000000000001', 'hex'),
                decode(repeat('00', 16), 'hex'), 'bet ' || n
            FROM generate_series(1, 50) AS n
            """,
            last_round,
        )
        await conn.execute("INSERT INTO payouts SELECT id, round_id, account_id, 7, 1, 1 FROM bets WHERE id % 5 = 0")
        tables = ["SELECT * FROM bets ORDER BY id", "SELECT * FROM payouts ORDER BY bet_id"]
        before = [await conn.fetch(table) for table in tables]
        await migrate(empty.owner_url)
        assert [await conn.fetch(table) for table in tables] == before
        spans = await conn.fetch("SELECT first_round, end_round FROM bet_partitions ORDER BY 1")
        assert tuple(spans[0]) == (0, end)
        assert len(spans) == 1 + AHEAD
        assert await conn.fetchval("SELECT count(*) FROM bets_0") == 50
        assert await conn.fetchval("SELECT nextval('bets_id_seq')") == 51
    finally:
        await conn.close()
