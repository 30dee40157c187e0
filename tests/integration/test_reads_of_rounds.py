"""Whoever looks for the rounds that are due reads those under way, however many have ended."""

from collections.abc import Awaitable, Callable

import pytest
from support.rounds import Hall

from keno.bets import store as bets_store
from keno.fairness import vault_store
from keno.infra.postgres import Connection
from keno.rounds import store

_ENDED_ROUNDS = 3_000
_UNDER_WAY = 20

# By the role that reads.
_READERS: dict[str, tuple[str, Callable[[Connection, int], Awaitable[object]]]] = {
    "lock_due_rounds": ("app", lambda conn, epoch: store.lock_due_rounds(conn, 0, epoch)),
    "next_due": ("app", lambda conn, _: store.next_due(conn, 0)),
    "unsealed_rounds": ("app", lambda conn, _: store.unsealed_rounds(conn, 0)),
    "drawable_rounds": ("app", lambda conn, _: store.drawable_rounds(conn, 0)),
    "open_due_rounds": ("app", lambda conn, epoch: store.open_due_rounds(conn, 0, epoch)),
    "open_next_rounds": ("app", lambda conn, epoch: store.open_next_rounds(conn, 0, epoch, [2**40])),
    "bets_of_open_rounds": ("app", lambda conn, _: store.bets_of_open_rounds(conn, 0, 0, 9, 9)),
    "beacons_wanted": ("app", lambda conn, _: conn.fetch("SELECT * FROM beacons_wanted()")),
    "give_up_beacons": ("app", lambda conn, epoch: conn.fetch("SELECT give_up_beacons(0, $1, 0)", epoch)),
    "rounds_to_void": ("app", lambda conn, _: conn.fetch("SELECT * FROM rounds_to_void(0, 9)")),
    "hold_small_rounds": ("app", lambda conn, _: bets_store.hold_small_rounds(conn, 9, 9)),
    "hold_large_round": ("app", lambda conn, _: bets_store.hold_large_round(conn, 1)),
    "rounds_awaiting_release": ("vault", lambda conn, _: conn.fetch("SELECT * FROM rounds_awaiting_release(9)")),
    "second_locks": ("vault", lambda conn, _: vault_store.second_locks(conn)),
}


async def has_ended_rounds(hall: Hall) -> None:
    """A room with one round on sale and many that have ended."""
    room = await hall.add_room()
    await hall.play(room, [1])
    await hall.owner_pool.execute(
        """
        INSERT INTO rounds (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms,
            lease_epoch)
        SELECT $1, 1000000 + n, 'skipped', $2, 0, 1, 2, 3, 1 FROM generate_series(1, $3) AS n
        """,
        room.id,
        room.rules_hash,
        _ENDED_ROUNDS,
    )


_OPEN = """
    INSERT INTO rounds (room_id, number, rules_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch, phase, epoch_id,
        commit_hash)
    SELECT $1, n, $2, 1, 2, 3, 1, 'open', 1, sha256('a') FROM generate_series(10, $3) AS n
"""
_WAYS = [
    "phase = 'locked', locked_ms = 4",
    "bets_count = 1, bets_root = sha256('a'), beacon_round = 0, prev_lock = sha256('a'), lock_hash = sha256('a')",
    "phase = 'void', seed = sha256('a'), drawn_ms = 5, ended_ms = 5, void_reason = 1",
]


@pytest.mark.parametrize("reader", ["hold_small_rounds", "open_due_rounds"])
async def test_a_reader_whose_plan_was_made_while_all_rounds_were_under_way_reads_none_that_ended(
    hall: Hall, reader: str
) -> None:
    role, read = _READERS[reader]
    room = await hall.add_room()
    async with (hall.app_pool if role == "app" else hall.vault_pool).acquire() as conn:
        await hall.owner_pool.execute("INSERT INTO leases VALUES (0, 1, 'a test', clock_timestamp())")
        await hall.owner_pool.execute(_OPEN, room.id, room.rules_hash, _ENDED_ROUNDS // 3)
        await hall.owner_pool.execute("ANALYZE rounds")
        transaction = conn.transaction()
        await transaction.start()
        await read(conn, 1)  # what is planned now stays
        await transaction.rollback()
        await conn.execute("SELECT pg_stat_force_next_flush()")  # else what it counted stays among what is counted next
        for way in _WAYS:
            await hall.owner_pool.execute(f"UPDATE rounds SET {way}")  # noqa: S608
        async with conn.transaction():
            await read(conn, 1)
            counted = await conn.fetchrow(
                "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'rounds'"
            )
    assert counted is not None
    assert counted["seq_scan"] == 0
    assert counted["idx_tup_fetch"] <= _UNDER_WAY


@pytest.mark.parametrize("reader", _READERS)
@pytest.mark.parametrize("analyzed", [False, True], ids=["as it grew", "analyzed"])
async def test_a_reader_of_due_rounds_reads_none_that_ended(hall: Hall, reader: str, analyzed: bool) -> None:
    role, read = _READERS[reader]
    async with (hall.app_pool if role == "app" else hall.vault_pool).acquire() as conn:
        async with conn.transaction():
            await read(conn, 1)  # what is planned now stays
        await has_ended_rounds(hall)
        if analyzed:
            await hall.owner_pool.execute("ANALYZE rounds")
        epoch = await hall.owner_pool.fetchval("SELECT epoch FROM leases WHERE shard = 0")
        async with conn.transaction():
            await read(conn, epoch)
            counted = await conn.fetchrow(
                "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'rounds'"
            )
    assert counted is not None
    assert counted["seq_scan"] == 0
    assert counted["idx_tup_fetch"] <= _UNDER_WAY
