"""SQL of the vault: epochs with their wrapped keys, sealed rounds, and seed releases.

These statements run under the vault's own database role; nothing else can read an epoch key or insert a release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from keno.fairness.beacon import EPOCH_LEAD_MS
from keno.fairness.keno1 import Lock
from keno.infra import columns
from keno.infra.postgres import Connection, Executor


@dataclass(frozen=True, slots=True)
class ShortRoom:
    """A room whose published commitments will soon be used up; `first_round` is where its next epoch begins."""

    room_id: UUID
    first_round: int


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """An epoch to be published; `commits` are 32 bytes a round, one after the other."""

    room_id: UUID
    first_round: int
    rounds_count: int
    key_commit: bytes
    commits: bytes
    commits_root: bytes
    opened_ms: int
    hash: bytes


class SealedRound(NamedTuple):
    """A sealed round whose seed has not been released.

    `epoch_opened_ms` is 0 where the rules name no beacon; `beacon_sig` is what was kept for its beacon round, null
    where nothing was; `is_missed` says that it was given up; `at_ms` is now, by the database clock.
    """

    round_id: int
    epoch_id: int
    lock: Lock
    lock_hash: bytes
    epoch_opened_ms: int
    beacon_sig: bytes | None
    is_missed: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class SecondLock:
    """A lock of a round whose seed was released for another, the first."""

    round_id: int
    lock_hash: bytes
    first_lock_hash: bytes


@dataclass(frozen=True, slots=True)
class KeptKey:
    """The wrapped key of an epoch under way, and what was published of it."""

    epoch_id: int
    wrapped_key: bytes
    key_commit: bytes


async def one_vault_at_a_time(conn: Connection) -> int:
    """Keeps other vaults from opening epochs until the transaction ends; returns the database clock in UTC
    milliseconds.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(-7303)")
    now_ms: int = await conn.fetchval("SELECT now_ms()")
    return now_ms


async def rooms_short_of_epochs(conn: Executor, rounds_ahead: int) -> list[ShortRoom]:
    """The open rooms that have fewer than `rounds_ahead` commitments published beyond the slot on sale.

    Where the profile is E, or will be, that is the slot on sale when the beacon of an epoch opened now is out.
    """
    rows = await conn.fetch(
        """
        -- Once and not for each room: the clock, and which rooms change to profile E.
        WITH clock AS MATERIALIZED (SELECT now_ms() AS at_ms)
        SELECT room.id, greatest(slot.number, coverage.until) AS first_round
        FROM clock CROSS JOIN rooms AS room
        CROSS JOIN LATERAL (
            SELECT CASE WHEN room.profile = 'E' OR room.id IN (
                SELECT c.room_id FROM room_changes AS c JOIN rules_beacons AS b ON b.rules_hash = c.rules_hash
                WHERE c.waiting AND b.profile = 'E'
            ) THEN $2::bigint ELSE 0 END AS lead_ms
        ) AS beacon
        CROSS JOIN LATERAL (
            SELECT greatest(
                (clock.at_ms + beacon.lead_ms + room.lock_lead_ms - room.slot_epoch_ms) / room.period_ms + 1, 1
            ) AS number
        ) AS slot
        CROSS JOIN LATERAL (
            SELECT coalesce((
                SELECT e.first_round + e.rounds_count FROM epochs AS e WHERE e.room_id = room.id
                ORDER BY e.first_round DESC LIMIT 1
            ), 1) AS until
        ) AS coverage
        WHERE room.status = 'open' AND coverage.until < slot.number + $1
        """,
        rounds_ahead,
        EPOCH_LEAD_MS,
    )
    return [ShortRoom(room_id=row["id"], first_round=row["first_round"]) for row in rows]


async def publish_epoch(conn: Connection, epoch: NewEpoch) -> int:
    """Publishes an epoch; returns its id, under which its wrapped key must be stored in the same transaction."""
    epoch_id: int = await conn.fetchval(
        """
        INSERT INTO epochs (room_id, first_round, rounds_count, key_commit, commits, commits_root, opened_ms, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id
        """,
        epoch.room_id,
        epoch.first_round,
        epoch.rounds_count,
        epoch.key_commit,
        epoch.commits,
        epoch.commits_root,
        epoch.opened_ms,
        epoch.hash,
    )
    return epoch_id


async def keep_key(conn: Connection, epoch_id: int, wrapped_key: bytes) -> None:
    """Stores an epoch's wrapped key."""
    await conn.execute("INSERT INTO rng_seeds (epoch_id, wrapped_key) VALUES ($1, $2)", epoch_id, wrapped_key)


async def sealed_rounds(conn: Executor, limit: int) -> list[SealedRound]:
    """Rounds whose lock has been fixed and whose seed has not been released yet, the first to be drawn first; of those
    that wait for a beacon only the ones for which it is there, or that were given up.
    """
    rows = await conn.fetch("SELECT * FROM rounds_awaiting_release($1)", limit)
    return [SealedRound(round_id, epoch_id, Lock.from_bytes(lock), *rest) for round_id, epoch_id, lock, *rest in rows]


async def wrapped_keys(conn: Executor, epoch_ids: Sequence[int]) -> dict[int, bytes]:
    """The wrapped keys of epochs by their ids, as far as they are kept."""
    rows = await conn.fetch("SELECT epoch_id, wrapped_key FROM rng_seeds WHERE epoch_id = ANY ($1)", epoch_ids)
    return {row["epoch_id"]: row["wrapped_key"] for row in rows}


async def release_seeds(conn: Executor, releases: Sequence[tuple[int, bytes, bytes]]) -> None:
    """Stores (round id, lock hash, seed); a round that has its release keeps the first."""
    await conn.execute(
        f"""
        INSERT INTO seed_releases (round_id, lock_hash, seed)
        SELECT * FROM unnest($1::text::bigint[], {columns.bytes_of("$2", 32)}, {columns.bytes_of("$3", 32)})
        ON CONFLICT DO NOTHING
        """,  # noqa: S608 - our own widths
        columns.integers(release[0] for release in releases),
        columns.packed([release[1] for release in releases], 32),
        columns.packed([release[2] for release in releases], 32),
    )


async def second_locks(conn: Executor) -> list[SecondLock]:
    """The locks, not refused yet, that rounds have although their seed was released for another."""
    rows = await conn.fetch("SELECT * FROM second_locks()")
    return [SecondLock(*row.values()) for row in rows]


async def refuse_lock(conn: Executor, second: SecondLock) -> bool:
    """Records a refusal, here and in the audit trail; false where it stands there already."""
    refused: bool = await conn.fetchval(
        """
        WITH refused AS (
            INSERT INTO refused_locks (round_id, lock_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING round_id
        ), logged AS (
            INSERT INTO audit_logs (actor, action, subject, detail)
            SELECT 'vault', 'lock.refused', round_id::text,
                jsonb_build_object('lock', encode($2, 'hex'), 'first_lock', encode($3, 'hex'))
            FROM refused
        )
        SELECT EXISTS (SELECT FROM refused)
        """,
        second.round_id,
        second.lock_hash,
        second.first_lock_hash,
    )
    return refused


async def kept_keys(conn: Executor) -> list[KeptKey]:
    """The wrapped keys of all epochs whose key is not published."""
    rows = await conn.fetch(
        """
        SELECT s.epoch_id, s.wrapped_key, e.key_commit FROM rng_seeds AS s JOIN epochs AS e ON e.id = s.epoch_id
        WHERE e.epoch_key IS NULL ORDER BY s.epoch_id
        """
    )
    return [KeptKey(*row.values()) for row in rows]


async def rewrap_key(conn: Executor, kept: KeptKey, wrapped_key: bytes) -> None:
    """Replaces what is kept of a key by the same key wrapped anew."""
    await conn.execute(
        "UPDATE rng_seeds SET wrapped_key = $3 WHERE epoch_id = $1 AND wrapped_key = $2",
        kept.epoch_id,
        kept.wrapped_key,
        wrapped_key,
    )


async def log_rewrapped(conn: Executor, key_id: str, keys_count: int) -> None:
    """Puts into the audit trail under which key the keys of epochs were wrapped anew."""
    await conn.execute(
        """
        INSERT INTO audit_logs (actor, action, subject, detail)
        VALUES ('vault', 'epoch_keys.rewrapped', $1::text, jsonb_build_object('keys_count', $2::integer))
        """,
        key_id,
        keys_count,
    )


async def ended_epochs(conn: Executor) -> list[tuple[int, bytes]]:
    """(id, wrapped key) of the epochs all of whose rounds have ended and whose key is not published yet. In a closed
    room these are the rounds that it has: no other will open.
    """
    rows = await conn.fetch(
        """
        SELECT e.id, s.wrapped_key
        FROM epochs AS e
        JOIN rng_seeds AS s ON s.epoch_id = e.id
        JOIN rooms AS room ON room.id = e.room_id
        WHERE e.epoch_key IS NULL
            AND (room.status = 'closed' OR EXISTS (SELECT FROM rounds AS last WHERE last.room_id = e.room_id
                AND last.number = e.first_round + e.rounds_count - 1 AND last.ended_ms IS NOT NULL))
            AND NOT EXISTS (SELECT FROM rounds AS r WHERE r.room_id = e.room_id AND r.number >= e.first_round
                AND r.number < e.first_round + e.rounds_count AND r.ended_ms IS NULL)
        """
    )
    return [(row["id"], row["wrapped_key"]) for row in rows]


async def publish_key(conn: Executor, epoch_id: int, epoch_key: bytes) -> None:
    """Publishes the key of an ended epoch, once."""
    await conn.execute("UPDATE epochs SET epoch_key = $2 WHERE id = $1 AND epoch_key IS NULL", epoch_id, epoch_key)
