"""SQL of rooms, rounds and leases. The transitions themselves are functions of the database
(migrations/0006_transitions.sql and 0008_wallet_movements.sql).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.fairness.keno1 import Lock, Profile
from keno.fairness.store import LOCK_COLUMNS, lock_from
from keno.infra.postgres import Connection, Executor

# ---- leases ----


async def take_lease(conn: Executor, shard: int, holder: str, ttl_s: float) -> int | None:
    """Takes the lease of a shard that is free or whose holder has not been heard of for `ttl_s`; returns its epoch,
    else None.
    """
    epoch: int | None = await conn.fetchval(
        """
        INSERT INTO leases AS held (shard, epoch, holder, beat) VALUES ($1, 1, $2, clock_timestamp())
        ON CONFLICT (shard) DO UPDATE SET epoch = held.epoch + 1, holder = excluded.holder, beat = clock_timestamp()
        WHERE held.beat < clock_timestamp() - make_interval(secs => $3)
        RETURNING epoch
        """,
        shard,
        holder,
        ttl_s,
    )
    return epoch


async def beat_lease(conn: Executor, shard: int, lease_epoch: int) -> bool:
    """Says that the holder lives; False where the lease was lost."""
    status = await conn.execute(
        "UPDATE leases SET beat = clock_timestamp() WHERE shard = $1 AND epoch = $2", shard, lease_epoch
    )
    return status == "UPDATE 1"


async def give_up_lease(conn: Executor, shard: int, lease_epoch: int) -> None:
    """Lets a successor take the lease at once."""
    await conn.execute("UPDATE leases SET beat = '-infinity' WHERE shard = $1 AND epoch = $2", shard, lease_epoch)


# ---- transitions: the number of rounds moved, None where the lease was lost ----


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


@dataclass(frozen=True, slots=True)
class DrawableRound:
    """A sealed round that is due, with its released seed and the lock it was released against."""

    round_id: int
    lock: Lock
    lock_hash: bytes
    released_lock_hash: bytes
    profile: Profile
    seed: bytes


async def open_due_rounds(conn: Executor, shard: int, lease_epoch: int) -> int | None:
    """Opens the slots on sale; records missed slots as skipped."""
    moved: int | None = await conn.fetchval("SELECT open_due_rounds($1, $2)", shard, lease_epoch)
    return moved


async def lock_due_rounds(conn: Executor, shard: int, lease_epoch: int) -> int | None:
    """Locks the rounds whose sales are over."""
    moved: int | None = await conn.fetchval("SELECT lock_due_rounds($1, $2)", shard, lease_epoch)
    return moved


async def unsealed_rounds(conn: Executor, shard: int) -> list[UnsealedRound]:
    """The locked rounds to seal, by room and number."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.locked_ms, before.lock_hash
        FROM rounds AS r
        JOIN rooms AS room ON room.id = r.room_id
        LEFT JOIN LATERAL (
            SELECT b.lock_hash FROM rounds AS b
            WHERE b.room_id = r.room_id AND b.number < r.number AND b.locked_ms IS NOT NULL
            ORDER BY b.number DESC LIMIT 1
        ) AS before ON true
        WHERE r.phase = 'locked' AND r.lock_hash IS NULL AND room.shard = $1
        ORDER BY r.room_id, r.number
        """,
        shard,
    )
    return [UnsealedRound(*row.values()) for row in rows]


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


async def drawable_rounds(conn: Executor, shard: int) -> list[DrawableRound]:
    """The sealed rounds whose slot time has come and whose seed the vault has released."""
    rows = await conn.fetch(
        f"""
        SELECT {LOCK_COLUMNS}, room.profile, released.seed, released.lock_hash AS released_lock_hash
        FROM rounds AS r
        JOIN rooms AS room ON room.id = r.room_id
        JOIN seed_releases AS released ON released.round_id = r.id
        WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.draw_due_ms <= now_ms() AND room.shard = $1
        ORDER BY r.id
        """,  # noqa: S608 - a constant
        shard,
    )
    return [
        DrawableRound(
            row["id"], lock_from(row), row["lock_hash"], row["released_lock_hash"], row["profile"], row["seed"]
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


async def insert_room(conn: Executor, room: Room) -> None:
    """Adds a room; raises asyncpg.UniqueViolationError where the name is taken."""
    await conn.execute(
        f"INSERT INTO rooms ({_ROOM}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",  # noqa: S608 - a constant
        room.id,
        room.name,
        room.operator_id,
        room.status,
        room.profile,
        room.period_ms,
        room.lock_lead_ms,
        room.slot_epoch_ms,
        room.rules_hash,
    )


async def close_room(conn: Executor, room_id: UUID) -> bool:
    """Takes a room out of sale; its open round is still played."""
    return (
        await conn.execute("UPDATE rooms SET status = 'closed' WHERE id = $1 AND status = 'open'", room_id)
        == "UPDATE 1"
    )


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


async def publish_paytable(conn: Executor, digest: bytes, document: bytes) -> None:
    """Stores a paytable document under its hash; harmless where it is there."""
    await conn.execute(
        "INSERT INTO paytables (hash, document) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest, document
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
