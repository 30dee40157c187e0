"""SQL of rooms, rounds and leases. The transitions themselves are functions of the database
(migrations/0006_transitions.sql, 0008_wallet_movements.sql and 0020_engine.sql).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from keno.fairness.keno1 import Lock, Profile
from keno.fairness.store import lock_from
from keno.game.paytable import Paytable
from keno.infra.postgres import Connection, Executor
from keno.rounds.lease import Seen

FREED_CHANNEL = "keno_leases"
"""Where PostgreSQL tells the candidates that a lease is free."""

# ---- leases ----


@dataclass(frozen=True, slots=True)
class RollCall:
    """Who is there: `silences_s` is for how long each candidate, the caller left out, has given no sign of life."""

    leases: list[Seen]
    silences_s: list[float]


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
    others = await conn.fetch(
        """
        SELECT extract(epoch FROM clock_timestamp() - beat)::float8 FROM schedulers
        WHERE holder <> $1 AND NOT leaving
        """,
        holder,
    )
    return RollCall([Seen(*row.values()) for row in rows], [silent_s for (silent_s,) in others])


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


# ---- transitions: the number of rounds moved, None where the lease was lost ----


@dataclass(frozen=True, slots=True)
class UnsealedRound:
    """A locked round whose bets are not committed to yet. `prev_lock` is None where the round before is unsealed
    too, or none was; `late_ms` is how long after its time it was locked.
    """

    round_id: int
    room_id: UUID
    number: int
    commit: bytes
    rules: bytes
    lock_ms: int
    late_ms: int
    prev_lock: bytes | None


@dataclass(frozen=True, slots=True)
class DrawableRound:
    """A sealed round that is due, with its released seed and the lock it was released against."""

    round_id: int
    lock: Lock
    lock_hash: bytes
    released_lock_hash: bytes
    profile: Profile
    seed: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What `open_due_rounds` did. `late_ms` has an element for each round that it opened: how long after its time."""

    late_ms: list[int]
    skipped_count: int


async def open_due_rounds(conn: Executor, shard: int, lease_epoch: int) -> Opened | None:
    """Opens the slots on sale; records missed slots as skipped, after a long absence some of them at a time."""
    row = await conn.fetchrow("SELECT late_ms, skipped_count FROM open_due_rounds($1, $2)", shard, lease_epoch)
    assert row is not None, "it returns one row"  # noqa: S101
    return None if row["late_ms"] is None else Opened(*row.values())


async def lock_due_rounds(conn: Executor, shard: int, lease_epoch: int, rounds_max: int = 1_000) -> int | None:
    """Locks the rounds whose sales are over, at most `rounds_max` and those that are due longest first."""
    moved: int | None = await conn.fetchval("SELECT lock_due_rounds($1, $2, $3)", shard, lease_epoch, rounds_max)
    return moved


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
        FROM rounds AS r JOIN rooms AS room ON room.id = r.room_id
        WHERE r.ended_ms IS NULL AND r.phase = 'open' AND room.shard = $1
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
        "SELECT seal_rounds($1, $2, $3, $4, $5, $6, $7, $8)",
        shard,
        lease_epoch,
        [round_id for round_id, _ in sealed],
        [lock.bets_count for lock in locks],
        [lock.bets_root for lock in locks],
        [lock.beacon_round for lock in locks],
        [lock.prev_lock for lock in locks],
        [lock.hash for lock in locks],
    )
    return moved


async def drawable_rounds(conn: Executor, shard: int, limit: int = 1_000) -> list[DrawableRound]:
    """The sealed rounds whose slot time has come and whose seed the vault has released, the longest due first."""
    rows = await conn.fetch("SELECT * FROM rounds_to_draw($1, $2)", shard, limit)
    return [
        DrawableRound(
            row["round_id"], lock_from(row), row["lock_hash"], row["released_lock_hash"], row["profile"], row["seed"]
        )
        for row in rows
    ]


async def draw_rounds(
    conn: Executor, shard: int, lease_epoch: int, drawn: Sequence[tuple[int, bytes, bytes, bytes, bytes]]
) -> int | None:
    """Stores the draws of (round id, seed, beacon signature, numbers, result)."""
    moved: int | None = await conn.fetchval(
        "SELECT draw_rounds($1, $2, $3, $4, $5, $6, $7)",
        shard,
        lease_epoch,
        *(list(column) for column in zip(*drawn, strict=True)),
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


# ---- rooms and what they publish ----


@dataclass(frozen=True, slots=True)
class Room:
    """A room as its operators see it. `operator_id` is null where it is shared by all."""

    id: UUID
    name: str
    operator_id: UUID | None
    status: str
    profile: Profile
    period_ms: int
    lock_lead_ms: int
    slot_epoch_ms: int
    rules_hash: bytes


@dataclass(frozen=True, slots=True)
class Round:
    """A round as anyone may see it at this moment: what is not public yet is null."""

    id: int
    room_id: UUID
    number: int
    phase: str
    rules_hash: bytes
    commit_hash: bytes | None
    opened_ms: int
    lock_due_ms: int
    draw_due_ms: int
    locked_ms: int | None
    bets_count: int | None
    bets_root: bytes | None
    lock_hash: bytes | None
    drawn_ms: int | None
    numbers: bytes | None
    result: bytes | None
    seed: bytes | None
    ended_ms: int | None
    void_reason: int | None


_ROOM = "id, name, operator_id, status, profile, period_ms, lock_lead_ms, slot_epoch_ms, rules_hash"
_ROUND = """id, room_id, number, phase, rules_hash, commit_hash, opened_ms, lock_due_ms, draw_due_ms, locked_ms,
    bets_count, bets_root, lock_hash, drawn_ms, numbers, result, seed, ended_ms, void_reason"""


async def insert_room(conn: Executor, room: Room, shards: int) -> None:
    """Adds a room to that of the shards which has the fewest open ones; raises asyncpg.UniqueViolationError where the
    name is taken.
    """
    await conn.execute(
        f"""
        INSERT INTO rooms ({_ROOM}, shard)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, (
            SELECT each FROM generate_series(0, $10::integer - 1) AS each
            LEFT JOIN rooms AS there ON there.shard = each AND there.status = 'open'
            GROUP BY each ORDER BY count(there.id), each LIMIT 1
        )
        """,  # noqa: S608 - a constant
        room.id,
        room.name,
        room.operator_id,
        room.status,
        room.profile,
        room.period_ms,
        room.lock_lead_ms,
        room.slot_epoch_ms,
        room.rules_hash,
        shards,
    )


async def close_room(conn: Connection, room_id: UUID) -> bool:
    """Takes a room out of sale; its open round is still played, and no other opens.

    Until the transaction ends no round of the room's shard opens: to be called last in it.
    """
    closed: bool = await conn.fetchval("SELECT close_room($1)", room_id)
    return closed


@dataclass(frozen=True, slots=True)
class Terms:
    """What can be changed of a room."""

    period_ms: int
    lock_lead_ms: int
    rules_hash: bytes


async def hold_room(conn: Connection, name: str) -> Room | None:
    """A room that nobody else changes until the transaction ends."""
    row = await conn.fetchrow(f"SELECT {_ROOM} FROM rooms WHERE name = $1 FOR NO KEY UPDATE", name)  # noqa: S608 - a constant
    return Room(*row.values()) if row else None


async def pending_terms(conn: Executor, room_id: UUID) -> Terms | None:
    """What a room has been set to from its next slot on."""
    row = await conn.fetchrow(
        "SELECT period_ms, lock_lead_ms, rules_hash FROM room_changes WHERE room_id = $1 AND waiting", room_id
    )
    return Terms(*row.values()) if row else None


async def set_room(conn: Connection, room_id: UUID, terms: Terms) -> None:
    """Has the scheduler give a room these terms at its next slot, in place of others that wait for it."""
    await conn.execute(
        """
        INSERT INTO room_changes (room_id, period_ms, lock_lead_ms, rules_hash) VALUES ($1, $2, $3, $4)
        ON CONFLICT (room_id) DO UPDATE SET period_ms = excluded.period_ms, lock_lead_ms = excluded.lock_lead_ms,
            rules_hash = excluded.rules_hash, asked_ms = now_ms(), waiting = true
        """,
        room_id,
        terms.period_ms,
        terms.lock_lead_ms,
        terms.rules_hash,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in a room at this moment: its newest round, its last draw, and how many slots had none.

    `locks_in_ms` is None where no round is on sale, `bets_count` counts the newest round's bets up to a limit,
    `numbers` are the 20 of the last draw in draw order.
    """

    room: str
    status: str
    number: int | None
    phase: str | None
    locks_in_ms: int | None
    bets_count: int
    drawn_number: int | None
    numbers: bytes | None
    skipped_count: int
    void_count: int


async def standings(conn: Executor, name: str | None, bets_max: int) -> list[Standing]:
    """What stands in every room, or in the one of a name, by name; no more than `bets_max` bets are counted in each."""
    rows = await conn.fetch(
        """
        SELECT room.name, room.status, newest.number, newest.phase,
            CASE WHEN newest.phase = 'open' THEN newest.lock_due_ms - now_ms() END,
            (SELECT count(*) FROM (SELECT FROM bets AS b WHERE b.round_id = newest.id LIMIT $2) AS counted),
            drawn.number, drawn.numbers, ended.skipped_count, ended.void_count
        FROM rooms AS room
        LEFT JOIN LATERAL (
            SELECT r.id, r.number, r.phase, r.lock_due_ms FROM rounds AS r WHERE r.room_id = room.id
            ORDER BY r.number DESC LIMIT 1
        ) AS newest ON true
        LEFT JOIN LATERAL (
            SELECT r.number, r.numbers FROM rounds AS r WHERE r.room_id = room.id AND r.numbers IS NOT NULL
            ORDER BY r.number DESC LIMIT 1
        ) AS drawn ON true
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE r.phase = 'skipped') AS skipped_count,
                count(*) FILTER (WHERE r.phase = 'void') AS void_count
            FROM rounds AS r
            WHERE r.room_id = room.id AND (r.commit_hash IS NULL OR r.void_reason IS NOT NULL)
        ) AS ended
        WHERE $1::text IS NULL OR room.name = $1
        ORDER BY room.name
        """,
        name,
        bets_max,
    )
    return [Standing(*row.values()) for row in rows]


async def visible_rooms(conn: Executor, operator_id: UUID | None) -> list[Room]:
    """The rooms an operator may use, or with None all rooms, by name."""
    rows = await conn.fetch(
        f"SELECT {_ROOM} FROM rooms WHERE $1::uuid IS NULL OR operator_id IS NULL OR operator_id = $1 ORDER BY name",  # noqa: S608 - a constant
        operator_id,
    )
    return [Room(*row.values()) for row in rows]


async def room_by_id(conn: Executor, room_id: UUID) -> Room | None:
    """A room."""
    row = await conn.fetchrow(f"SELECT {_ROOM} FROM rooms WHERE id = $1", room_id)  # noqa: S608 - a constant
    return Room(*row.values()) if row else None


async def room_by_name(conn: Executor, name: str) -> Room | None:
    """A room."""
    row = await conn.fetchrow(f"SELECT {_ROOM} FROM rooms WHERE name = $1", name)  # noqa: S608 - a constant
    return Room(*row.values()) if row else None


async def rounds_before(conn: Executor, room_id: UUID, before: int | None, limit: int) -> list[Round]:
    """The rounds of a room, newest first, from below number `before` on."""
    rows = await conn.fetch(
        f"""
        SELECT {_ROUND} FROM rounds WHERE room_id = $1 AND ($2::bigint IS NULL OR number < $2)
        ORDER BY number DESC LIMIT $3
        """,  # noqa: S608 - a constant
        room_id,
        before,
        limit,
    )
    return [Round(*row.values()) for row in rows]


async def round_by_id(conn: Executor, round_id: int) -> Round | None:
    """A round."""
    row = await conn.fetchrow(f"SELECT {_ROUND} FROM rounds WHERE id = $1", round_id)  # noqa: S608 - a constant
    return Round(*row.values()) if row else None


async def database_now_ms(conn: Executor) -> int:
    """The database clock, UTC milliseconds."""
    now_ms: int = await conn.fetchval("SELECT now_ms()")
    return now_ms


async def publish_paytable(conn: Connection, paytable: Paytable) -> None:
    """Stores a paytable's document under its hash, and the highest multipliers in it; harmless where it is there."""
    await conn.execute(
        "INSERT INTO paytables (hash, document) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        paytable.hash,
        paytable.document,
    )
    await conn.execute(
        "INSERT INTO paytable_tops (paytable_hash, scale, tops) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        paytable.hash,
        paytable.scale,
        [max(row) for row in paytable.multipliers[1:]],
    )


async def published_paytable(conn: Executor, digest: bytes) -> bytes | None:
    """The exact bytes of a paytable document."""
    document: bytes | None = await conn.fetchval("SELECT document FROM paytables WHERE hash = $1", digest)
    return document


async def published_rules(conn: Executor, digest: bytes) -> bytes | None:
    """The exact bytes of a rules document."""
    document: bytes | None = await conn.fetchval("SELECT document FROM rules WHERE hash = $1", digest)
    return document


async def publish_rules(
    conn: Connection,
    digest: bytes,
    document: bytes,
    paytables: Sequence[bytes],
    limits: Sequence[tuple[str, int, int, int, int, int | None]],
) -> None:
    """Stores a rules document with what the acceptance of bets needs of it; harmless where it is there.

    `paytables` are the hashes it offers, in order; `limits` are (currency, stake min, max, step, maximum win of a bet
    and of a player in a round) in minor units, the last None where there is none.
    """
    async with conn.transaction():
        inserted = await conn.execute(
            "INSERT INTO rules (hash, document) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest, document
        )
        if inserted == "INSERT 0 0":
            return
        await conn.executemany(
            "INSERT INTO rules_paytables (rules_hash, position, paytable_hash, terms_base) VALUES ($1, $2, $3, $4)",
            [(digest, position, paytable, position * len(limits)) for position, paytable in enumerate(paytables)],
        )
        await conn.executemany(
            """
            INSERT INTO rules_currencies
                (rules_hash, position, currency, stake_min_minor, stake_max_minor, stake_step_minor, win_max_minor,
                round_win_max_minor)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            [(digest, position, *row) for position, row in enumerate(limits)],
        )
