"""SQL of what the scheduler of a shard does: leases, and the moves of rounds. The transitions themselves are functions
of the database (migrations/0006_transitions.sql and later ones). Rooms, and rounds as others see them: room_store.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from keno.fairness.keno1 import Lock
from keno.infra import columns
from keno.infra.postgres import Executor
from keno.rounds.lease import Seen, Sharer

FREED_CHANNEL = "keno_leases"
"""Where PostgreSQL tells the candidates that a lease is free."""

# ---- leases ----


@dataclass(frozen=True, slots=True)
class RollCall:
    """What is led, and who is there to share it, the caller included."""

    leases: list[Seen]
    sharers: list[Sharer]


async def call_roll(conn: Executor, holder: str) -> RollCall:
    """Says that `holder` lives, and reads the leases of all shards that have rooms."""
    await conn.execute(
        """
        INSERT INTO schedulers (holder, beat) VALUES ($1, clock_timestamp())
        ON CONFLICT (holder) DO UPDATE SET beat = excluded.beat
        """,
        holder,
    )
    rows = await conn.fetch(
        """
        SELECT shard, coalesce(l.epoch, 0), l.holder,
            extract(epoch FROM clock_timestamp() - CASE WHEN l.holder IS NULL THEN l.since ELSE s.beat END)::float8
        FROM (SELECT DISTINCT room.shard FROM rooms AS room) AS used
        LEFT JOIN leases AS l USING (shard) LEFT JOIN schedulers AS s ON s.holder = l.holder
        ORDER BY shard
        """
    )
    sharers = await conn.fetch(
        """
        SELECT extract(epoch FROM clock_timestamp() - beat)::float8,
            extract(epoch FROM clock_timestamp() - since)::float8
        FROM schedulers WHERE NOT leaving
        """
    )
    return RollCall([Seen(*row.values()) for row in rows], [Sharer(*row.values()) for row in sharers])


async def take_lease(conn: Executor, shard: int, holder: str, seen_epoch: int) -> int | None:
    """Makes `holder` the leader of a shard whose epoch is still the one it saw (0: none); returns the new epoch,
    else None. Waits for the transition under way.
    """
    epoch: int | None = await conn.fetchval("SELECT take_lease($1, $2, $3)", shard, holder, seen_epoch)
    return epoch


async def give_up_lease(conn: Executor, shard: int, lease_epoch: int) -> None:
    """Lets a successor take the lease at once, and wakes the candidates; nothing where it was lost."""
    await conn.execute(
        """
        WITH free AS (
            UPDATE leases SET holder = NULL, since = clock_timestamp() WHERE shard = $1 AND epoch = $2 RETURNING shard
        )
        SELECT pg_notify($3, shard::text) FROM free
        """,
        shard,
        lease_epoch,
        FREED_CHANNEL,
    )


async def start_to_leave(conn: Executor, holder: str) -> None:
    """Takes a scheduler out of those that share the shards."""
    await conn.execute("UPDATE schedulers SET leaving = true WHERE holder = $1", holder)


async def leave(conn: Executor, holder: str) -> None:
    """Forgets a scheduler, and those that died long ago."""
    await conn.execute("SELECT forget_scheduler($1)", holder)


# ---- transitions: the rounds moved or their number, None where the lease was lost ----


@dataclass(frozen=True, slots=True)
class UnsealedRound:
    """A locked round whose bets are not committed to yet. `prev_lock` is None where the round before is unsealed
    too, or none was.
    """

    round_id: int
    room_id: UUID
    number: int
    commit: bytes
    rules: bytes
    lock_ms: int
    prev_lock: bytes | None


class DrawableRound(NamedTuple):
    """A sealed round that is due, with its released seed and the lock it was released against."""

    round_id: int
    lock: Lock
    lock_hash: bytes
    released_lock_hash: bytes
    seed: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What `open_due_rounds` did. `late_ms` has an element for each round that it opened: how long after its time.

    `stopped_count` is how many rooms open no slot because a round of theirs has not been drawn for three minutes.
    """

    late_ms: list[int]
    skipped_count: int
    stopped_count: int


@dataclass(frozen=True, slots=True)
class Locked:
    """What `lock_due_rounds` did. `late_ms` and `round_ids` have an element for each round that it locked: how long
    after its time, and which.
    """

    late_ms: list[int]
    round_ids: list[int]


async def open_due_rounds(conn: Executor, shard: int, lease_epoch: int) -> Opened | None:
    """Opens the slots on sale in all rooms; records missed slots as skipped, after a long absence some of them at a
    time.
    """
    row = await conn.fetchrow("SELECT * FROM open_due_rounds($1, $2)", shard, lease_epoch)
    assert row is not None, "it returns one row"  # noqa: S101
    return None if row["late_ms"] is None else Opened(*row.values())


async def undrawn_rooms(conn: Executor, shard: int, rooms_max: int) -> list[str]:
    """The names of rooms that open no slot because a round of theirs has not been drawn."""
    # A query of its own within the other is evaluated once, and not for each room.
    rows = await conn.fetch(
        """
        SELECT name FROM rooms WHERE id = ANY ((SELECT undrawn_rooms($1, now_ms()))::uuid[])
        ORDER BY name LIMIT $2
        """,
        shard,
        rooms_max,
    )
    return [name for (name,) in rows]


async def open_next_rounds(conn: Executor, shard: int, lease_epoch: int, round_ids: Sequence[int]) -> list[int] | None:
    """Opens the slots behind rounds that were just locked; an element for each that it opened: how long after its
    time, in milliseconds. Where anything is unusual a room is left to `open_due_rounds`.
    """
    late_ms: list[int] | None = await conn.fetchval(
        "SELECT open_next_rounds($1, $2, $3::text::bigint[])", shard, lease_epoch, columns.integers(round_ids)
    )
    return late_ms


async def lock_due_rounds(conn: Executor, shard: int, lease_epoch: int, rounds_max: int = 1_000) -> Locked | None:
    """Locks the rounds whose sales are over, at most `rounds_max` and those that are due longest first, and seals those
    without bets.
    """
    row = await conn.fetchrow(
        "SELECT late_ms, round_ids FROM lock_due_rounds($1, $2, $3)", shard, lease_epoch, rounds_max
    )
    assert row is not None, "it returns one row"  # noqa: S101
    return None if row["late_ms"] is None else Locked(*row.values())


async def next_due(conn: Executor, shard: int) -> tuple[int | None, int | None]:
    """In how many milliseconds of the database clock the next lock and the next draw are due; below 0: overdue."""
    row = await conn.fetchrow("SELECT lock_in_ms, draw_in_ms FROM next_due($1)", shard)
    assert row is not None, "it returns one row"  # noqa: S101
    return row["lock_in_ms"], row["draw_in_ms"]


async def unsealed_rounds(conn: Executor, shard: int, limit: int = 1_000) -> list[UnsealedRound]:
    """The locked rounds to seal, the oldest, by room and number."""
    rows = await conn.fetch("SELECT * FROM rounds_to_seal($1, $2)", shard, limit)
    return [UnsealedRound(*row.values()) for row in rows]


@dataclass(frozen=True, slots=True)
class Leaves:
    """The first bets of a round after one, as leaves without their salts (keno/fairness/leaves.py)."""

    round_id: int
    bets_count: int
    last_bet_id: int | None
    unsalted: bytes


async def unsalted_leaves(conn: Executor, round_ids: Sequence[int], after_bet_id: int, bets_max: int) -> list[Leaves]:
    """The bets of each round, by ascending id and at most so many a round, from behind a bet on."""
    rows = await conn.fetch("SELECT * FROM unsalted_leaves($1, $2, $3)", round_ids, after_bet_id, bets_max)
    return [Leaves(*row.values()) for row in rows]


@dataclass(frozen=True, slots=True)
class Horizon:
    """The latest id that was given to a bet, of any round, committed or not, 0 before the first; and the server that
    gave it, by the moment at which it was started.
    """

    server: datetime
    bet_id: int


async def horizon(conn: Executor) -> Horizon:
    """How far ids of bets were given out."""
    row = await conn.fetchrow("SELECT pg_postmaster_start_time(), coalesce(pg_sequence_last_value('bets_id_seq'), 0)")
    assert row is not None, "it returns one row"  # noqa: S101
    return Horizon(*row.values())


async def bets_of_open_rounds(
    conn: Executor, shard: int, after_bet_id: int, up_to_bet_id: int, bets_max: int
) -> dict[int, int]:
    """How many bets with ids behind one and up to another each open round of a shard has, counted to `bets_max`."""
    # The index is of rounds that have not ended.
    rows = await conn.fetch(
        """
        SELECT r.id, (
            SELECT count(*) FROM (
                SELECT FROM bets AS b WHERE b.round_id = r.id AND b.id > $2 AND b.id <= $3 LIMIT $4
            ) AS counted
        )
        FROM rounds AS r WHERE r.ended_ms IS NULL AND r.shard = $1 AND r.phase = 'open'
        """,
        shard,
        after_bet_id,
        up_to_bet_id,
        bets_max,
    )
    return {row["id"]: row["count"] for row in rows}


async def sealed_among(conn: Executor, round_ids: Sequence[int]) -> list[int]:
    """Those of the rounds that have their lock."""
    rows = await conn.fetch("SELECT id FROM rounds WHERE id = ANY ($1) AND lock_hash IS NOT NULL", round_ids)
    return [row["id"] for row in rows]


async def transactions_placing(conn: Executor, round_ids: Sequence[int]) -> set[str]:
    """The transactions that hold the lock of `place_bets()` on one of the rounds."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT virtualtransaction FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND (classid::bigint << 32 | objid::bigint) = ANY ($1::bigint[])
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """,
        round_ids,
    )
    return {row["virtualtransaction"] for row in rows}


async def seal_rounds(conn: Executor, shard: int, lease_epoch: int, sealed: Sequence[tuple[int, Lock]]) -> int | None:
    """Fixes the locks of (round id, lock)."""
    locks = [lock for _, lock in sealed]
    moved: int | None = await conn.fetchval(
        f"""
        SELECT seal_rounds($1, $2, $3::text::bigint[], $4::text::integer[], {columns.bytes_of("$5", 32)},
            $6::text::bigint[], {columns.bytes_of("$7", 32)}, {columns.bytes_of("$8", 32)})
        """,
        shard,
        lease_epoch,
        columns.integers(round_id for round_id, _ in sealed),
        columns.integers(lock.bets_count for lock in locks),
        columns.packed([lock.bets_root for lock in locks], 32),
        columns.integers(lock.beacon_round for lock in locks),
        columns.packed([lock.prev_lock for lock in locks], 32),
        columns.packed([lock.hash for lock in locks], 32),
    )
    return moved


async def drawable_rounds(conn: Executor, shard: int, limit: int = 1_000) -> list[DrawableRound]:
    """The sealed rounds whose slot time has come and whose seed the vault has released, the longest due first."""
    rows = await conn.fetch("SELECT * FROM rounds_to_draw($1, $2)", shard, limit)
    return [DrawableRound(round_id, Lock.from_bytes(lock), *rest) for round_id, lock, *rest in rows]


async def draw_rounds(
    conn: Executor, shard: int, lease_epoch: int, drawn: Sequence[tuple[int, bytes, bytes, bytes, bytes]]
) -> int | None:
    """Stores the draws of (round id, seed, beacon signature, numbers, result)."""
    round_ids, seeds, beacon_sigs, numbers, results = zip(*drawn, strict=True)
    moved: int | None = await conn.fetchval(
        f"""
        SELECT draw_rounds($1, $2, $3::text::bigint[], {columns.bytes_of("$4", 32)},
            coalesce($5::bytea[], array_fill(''::bytea, ARRAY[$8::integer])),
            {columns.bytes_of("$6", 20)}, {columns.bytes_of("$7", 32)})
        """,
        shard,
        lease_epoch,
        columns.integers(round_ids),
        columns.packed(seeds, 32),
        beacon_sigs if any(beacon_sigs) else None,
        columns.packed(numbers, 20),
        columns.packed(results, 32),
        len(drawn),
    )
    return moved


async def void_rounds(
    conn: Executor, shard: int, lease_epoch: int, voided: Sequence[tuple[int, bytes, int]]
) -> int | None:
    """Ends the sealed rounds of (round id, released seed, reason) without a draw; a reason is in 0..255."""
    moved: int | None = await conn.fetchval(
        "SELECT void_rounds($1, $2, $3, $4, $5)",
        shard,
        lease_epoch,
        [round_id for round_id, _, _ in voided],
        [seed for _, seed, _ in voided],
        [reason for _, _, reason in voided],
    )
    return moved
