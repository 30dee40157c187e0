"""Everything that must be in the log is in it once, in order and for good, whoever dies meanwhile."""

import asyncio
from itertools import pairwise

import asyncpg
import pytest
from support.rounds import EPOCH_ROUNDS, Hall
from support.transparency import Note, check_signed, mth

from keno import verifier
from keno.fairness.log import store
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.service import LogService
from keno.fairness.log.witnesses import Witnesses
from keno.infra.keywrap import UnwrapError
from keno.rounds.room_store import Room

PLATFORM_KEY = bytes(range(64, 96))
ORIGIN = "keno.test/log"


def sequencer(hall: Hall, batch: int = 1_000) -> Sequencer:
    return Sequencer(hall.app_pool, LogKeys(hall.app_pool, PLATFORM_KEY, ORIGIN), Witnesses(()), batch)


async def rows(hall: Hall) -> list[asyncpg.Record]:
    return await hall.owner_pool.fetch("SELECT * FROM log_entries ORDER BY index")


async def told(hall: Hall, room: Room) -> list[tuple[int, int]]:
    return [(row["kind"], row["number"]) for row in await rows(hall) if row["room_id"] == room.id]


async def drain(worker: Sequencer) -> None:
    while await worker.append():
        pass
    await worker.publish()


async def test_epochs_locks_results_and_voids_become_entries_in_an_order_that_can_be_followed(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    await hall.tick()
    await drain(worker)
    assert await told(hall, room) == [(1, 1)]
    await hall.at_lock(room, 1)
    await hall.tick()
    await drain(worker)
    assert await told(hall, room) == [(1, 1), (2, 1)]
    await hall.at_lock(room, 2)
    await hall.tick()
    await hall.void(room, 2, reason=9)
    await drain(worker)
    assert await told(hall, room) == [(1, 1), (2, 1), (2, 2), (3, 1), (4, 2)]
    await drain(worker)
    assert len(await rows(hall)) == 5


async def test_an_entry_states_the_hash_of_the_protocol_and_what_it_is_made_of(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    await hall.play(room, [1, 2])
    await hall.at_lock(room, 3)
    await hall.tick()
    await hall.void(room, 3, reason=7)
    await drain(worker)
    entries = {(row["kind"], row["number"]): row["entry"] for row in await rows(hall)}
    for (kind, number), data in entries.items():
        context = room.id.bytes + number.to_bytes(8, "big")
        assert data.startswith(b"keno1:log" + bytes([kind]) + context)
        digest, rest = data[34:66], data[66:]
        if kind == 1:
            count, roots, opened_ms = rest[:4], rest[4:68], rest[68:]
            assert int.from_bytes(count, "big") == EPOCH_ROUNDS
            assert digest == verifier.sha256(b"keno1:epoch", context, count, roots, opened_ms)
            continue
        row = await hall.row(room, number)
        if kind == 2:
            parts, prev_number = rest[:-8], rest[-8:]
            assert digest == verifier.sha256(b"keno1:lock", context, parts) == row["lock_hash"]
            assert int.from_bytes(prev_number, "big") == number - 1
        elif kind == 3:
            assert digest == verifier.sha256(b"keno1:result", rest[:-8]) == row["result"]
            assert rest[:64] == row["lock_hash"] + row["seed"]
            assert rest[-28:] == row["numbers"] + row["drawn_ms"].to_bytes(8, "big")
        else:
            assert digest == verifier.sha256(b"keno1:void", rest[:-8])
            assert rest == row["lock_hash"] + row["seed"] + b"\x07" + row["ended_ms"].to_bytes(8, "big")
    assert len(entries) == 8


async def test_a_lock_names_the_locked_round_before_it_across_skipped_slots(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    await hall.play(room, [1])
    await hall.at_lock(room, 9)
    await hall.tick()
    await hall.play(room, [10])
    await drain(worker)
    locks = [row for row in await rows(hall) if row["kind"] == 2]
    assert "skipped" in await hall.phases(room)
    numbers = [row["number"] for row in locks]
    assert [int.from_bytes(row["entry"][-8:], "big") for row in locks] == [0, *numbers[:-1]]
    for before, after in pairwise(locks):
        assert after["entry"][-40:-8] == before["entry"][34:66]


@pytest.mark.parametrize("batch", [1, 2, 7])
async def test_the_tree_and_the_checkpoint_are_right_whatever_the_batches_are(hall: Hall, batch: int) -> None:
    worker = sequencer(hall, batch)
    rooms = [await hall.add_room(str(n)) for n in range(3)]
    await hall.play(rooms[0], range(1, 4))
    sizes = []
    while await worker.append():
        await worker.publish()
        sizes.append(await store.size(hall.app_pool))
    entries = [bytes(row["entry"]) for row in await rows(hall)]
    assert [row["index"] for row in await rows(hall)] == list(range(len(entries)))
    key = await LogKeys(hall.app_pool, PLATFORM_KEY, "another.test").public()
    assert key is not None
    published = await hall.owner_pool.fetch("SELECT * FROM log_checkpoints ORDER BY size")
    assert [row["size"] for row in published] == sizes
    for row in published:
        note = Note.read(row["note"].encode())
        assert note.head() == (ORIGIN, row["size"], mth(entries[: row["size"]]))
        check_signed(note, key.text)


async def test_workers_at_once_fork_nothing(hall: Hall) -> None:
    rooms = [await hall.add_room(str(n)) for n in range(4)]
    workers = [sequencer(hall, 3) for _ in range(4)]
    for number in range(1, 4):
        await hall.play(rooms[0], [number])
        await asyncio.gather(*(worker.step() for worker in workers for _ in range(3)))
    await drain(workers[0])
    entries = await rows(hall)
    assert [row["index"] for row in entries] == list(range(len(entries)))
    assert len({(row["room_id"], row["series"], row["number"]) for row in entries}) == len(entries)
    locked = await hall.owner_pool.fetchval("SELECT count(*) FROM rounds WHERE lock_hash IS NOT NULL")
    assert sum(row["kind"] == 2 for row in entries) == locked
    for row in await hall.owner_pool.fetch("SELECT * FROM log_checkpoints"):
        assert row["root"] == mth([bytes(each["entry"]) for each in entries[: row["size"]]])


async def test_a_worker_that_was_paused_at_the_end_of_the_log_keeps_others_out_and_loses_nothing(hall: Hall) -> None:
    room, other = await hall.add_room(), sequencer(hall)
    await hall.play(room, [1])
    async with hall.app_pool.acquire() as paused, paused.transaction():
        assert await store.hold_end(paused)
        assert await other.append() == 0
    assert await other.append() == 3


async def test_a_room_whose_round_waits_for_its_outcome_holds_up_no_later_one(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    await hall.play(room, [1, 2])
    await hall.owner_pool.execute("ALTER TABLE rounds DISABLE TRIGGER guard_round")
    was = await hall.row(room, 1)
    await hall.owner_pool.execute(
        "UPDATE rounds SET phase = 'locked', seed = NULL, beacon_sig = NULL, drawn_ms = NULL, numbers = NULL, "
        "result = NULL, ended_ms = NULL WHERE id = $1",
        was["id"],
    )
    await drain(worker)
    assert await told(hall, room) == [(1, 1), (2, 1), (2, 2), (3, 2)]
    await hall.owner_pool.execute(
        "UPDATE rounds SET phase = 'drawn', seed = $2, drawn_ms = $3, numbers = $4, result = $5 WHERE id = $1",
        *(was[name] for name in ("id", "seed", "drawn_ms", "numbers", "result")),
    )
    await drain(worker)
    assert (await told(hall, room))[-1] == (3, 1)


async def test_holes_second_entries_and_shrunk_checkpoints_are_refused_by_the_database(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    await hall.play(room, [1])
    await drain(worker)
    again = """
        INSERT INTO log_entries (index, kind, room_id, number, entry, leaf_hash)
        SELECT $1, $2, $3, $4, $5, sha256('\\x00'::bytea || $5)
    """
    for index in (1, 3 + 1, -1):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await hall.owner_pool.execute(again, index, 2, room.id, 2, b"an entry")
    for kind, number in ((2, 1), (3, 1), (4, 1), (3, 5)):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await hall.owner_pool.execute(again, 3, kind, room.id, number, b"an entry")
    for size in (2, 3, 4):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await hall.owner_pool.execute("INSERT INTO log_checkpoints VALUES ($1, $2, '')", size, bytes(32))
    for level, index in ((1, 1), (2, 3)):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await hall.owner_pool.execute("INSERT INTO log_nodes VALUES ($1, $2, $3)", level, index, bytes(32))
    assert len(await rows(hall)) == 3


async def test_the_log_keeps_its_key_and_name_and_only_the_platform_key_opens_it(hall: Hall) -> None:
    keys = [LogKeys(hall.app_pool, PLATFORM_KEY, f"{n}.test/log") for n in range(3)]
    loaded = await asyncio.gather(*(each.load() for each in keys))
    assert len({(origin, private.private_bytes_raw()) for origin, private in loaded}) == 1
    with pytest.raises(UnwrapError):
        await LogKeys(hall.app_pool, bytes(32), "x").load()


async def test_proofs_lead_from_a_rounds_entries_to_the_newest_checkpoint(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall, 2)
    await hall.play(room, range(1, 6))
    await drain(worker)
    log = LogService(hall.app_pool, LogKeys(hall.app_pool, PLATFORM_KEY, ORIGIN))
    for number in range(1, 6):
        proof = await log.round_proof((await hall.row(room, number))["id"])
        assert proof is not None
        assert [each.kind for each in proof.entries] == [1, 2, 3]
        for each in proof.entries:
            root = verifier.root_from_path(verifier.leaf_hash(each.data), each.index, proof.checkpoint.size, each.path)
            assert root == proof.checkpoint.root


async def test_nothing_is_told_that_no_published_checkpoint_covers(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    await hall.play(room, [1])
    log = LogService(hall.app_pool, LogKeys(hall.app_pool, PLATFORM_KEY, ORIGIN))
    await worker.append()
    round_id = (await hall.row(room, 1))["id"]
    assert await log.checkpoint() is None
    assert await log.round_proof(round_id) is None
    assert await log.tile(0, 0, 1) is None
    assert await log.entry_bundle(0, 1) is None
    assert await log.consistency(0, 1) is None
    await worker.publish()
    assert await log.tile(0, 0, 3) is not None
    assert await log.tile(0, 0, 4) is None
    assert await log.entry_bundle(0, 4) is None
    assert await log.consistency(1, 4) is None
    assert await log.entry_proof(3) is None


async def test_the_newest_checkpoint_beyond_the_one_last_anchored_is_found(hall: Hall) -> None:
    room, worker = await hall.add_room(), sequencer(hall)
    assert await store.checkpoint_beyond(hall.app_pool, 0) is None
    for number in (1, 2, 3):
        await hall.play(room, [number])
        await drain(worker)
    newest = await store.checkpoint_beyond(hall.app_pool, 0)
    assert newest is not None
    assert newest == await store.latest_checkpoint(hall.app_pool)
    assert await store.checkpoint_beyond(hall.app_pool, newest.size) is None
