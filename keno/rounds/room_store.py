"""SQL of rooms, of rounds as others see them, and of the documents that rooms publish. What moves rounds: store.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.fairness.keno1 import Profile
from keno.game.paytable import Paytable
from keno.infra.postgres import Connection, Executor


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


async def hold_openings(conn: Connection, name: str) -> None:
    """Keeps rounds of a room's shard from opening until the transaction ends, which is to be soon."""
    await conn.execute("SELECT pg_advisory_xact_lock(7306, shard) FROM rooms WHERE name = $1", name)


async def close_room(conn: Connection, room_id: UUID) -> bool:
    """Takes a room out of sale; its open round is still played, and no other opens.

    Until the transaction ends no round of the room's shard opens: to be called behind `hold_openings`.
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
