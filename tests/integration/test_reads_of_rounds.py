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
