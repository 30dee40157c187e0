"""SQL of the log: what is not in it yet, its entries and hashes, its key and its checkpoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from keno.errors import KenoError
from keno.fairness.keno1 import Lock
from keno.fairness.log import entry, tree
from keno.fairness.log.entry import Entry
from keno.fairness.store import LOCK_COLUMNS, lock_from
from keno.infra.postgres import Connection, Executor


class LogDamagedError(KenoError):
    """The log has lost something: `keno audit` says where."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The log's identity; the private half is wrapped."""

    origin: str
    public_key: bytes
    private_key: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint that was published: the tree's size and root, and the signed note."""

    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry at its place in the log."""

    index: int
    kind: int
    data: bytes


async def key(conn: Executor) -> StoredKey | None:
    """The log's key; None until the first one is made."""
    row = await conn.fetchrow("SELECT origin, public_key, private_key FROM log_keys")
    return StoredKey(*row.values()) if row else None


async def keep_key(conn: Executor, made: StoredKey) -> None:
    """Stores the log's key; where there is one already, that one stays."""
    await conn.execute(
        "INSERT INTO log_keys (origin, public_key, private_key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        made.origin,
        made.public_key,
        made.private_key,
    )


async def hold_end(conn: Connection) -> bool:
    """Makes this transaction the only one that appends until it ends; False where another is at it."""
    held: bool = await conn.fetchval("SELECT pg_try_advisory_xact_lock(-7304)")
    return held


async def size(conn: Executor) -> int:
    """How many entries there are."""
    found: int = await conn.fetchval("SELECT coalesce(max(e.index) + 1, 0) FROM log_entries AS e")
    return found


# For each series the log itself says how far it has come in a room. A room's epochs and locks come to light in the
# order of their numbers, because each is made from the one before it; outcomes come in any order, and are found by
# their open locks.
_LAST_OF_SERIES = """
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT l.number FROM log_entries AS l WHERE l.room_id = room.id AND l.series = {series}
            ORDER BY l.number DESC LIMIT 1
        ), 0) AS number
    ) AS logged
"""


async def epochs_to_log(conn: Executor, limit: int) -> list[Entry]:
    """Entries of epochs that the log does not have, in each room the oldest first."""
    rows = await conn.fetch(
        f"""
        SELECT room.id, e.first_round, e.rounds_count, e.commits_root, e.key_commit, e.opened_ms
        FROM rooms AS room {_LAST_OF_SERIES.format(series=1)}
        CROSS JOIN LATERAL (
            SELECT e.* FROM epochs AS e WHERE e.room_id = room.id AND e.first_round > logged.number
            ORDER BY e.first_round LIMIT $1
        ) AS e
        LIMIT $1
        """,  # noqa: S608 - a constant
        limit,
    )
    return [entry.epoch(room.bytes, *rest) for room, *rest in (tuple(row.values()) for row in rows)]


async def locks_to_log(conn: Executor, limit: int) -> list[Entry]:
    """Entries of sealed rounds that the log does not have and whose epoch it has, in each room the oldest first."""
    rows = await conn.fetch(
        f"""
        SELECT {LOCK_COLUMNS}, logged.number AS logged_number
        FROM rooms AS room {_LAST_OF_SERIES.format(series=2)}
        CROSS JOIN LATERAL (
            SELECT r.* FROM rounds AS r
            JOIN epochs AS of_it ON of_it.id = r.epoch_id
            JOIN log_entries AS known
                ON known.room_id = r.room_id AND known.series = 1 AND known.number = of_it.first_round
            WHERE r.room_id = room.id AND r.number > logged.number AND r.lock_hash IS NOT NULL
            ORDER BY r.number LIMIT $1
        ) AS r
        LIMIT $1
        """,  # noqa: S608 - a constant
        limit,
    )
    made, before = [], dict[bytes, int]()
    for row in rows:
        lock: Lock = lock_from(row)
        made.append(entry.lock(lock, row["lock_hash"], before.get(lock.room, row["logged_number"])))
        before[lock.room] = lock.number
    return made


async def outcomes_to_log(conn: Executor, limit: int) -> list[Entry]:
    """Entries of draws and voids that the log does not have, of rounds whose lock it has."""
    rows = await conn.fetch(
        """
        SELECT r.room_id, r.number, r.lock_hash, r.seed, r.beacon_sig, r.numbers, r.result, r.drawn_ms, r.void_reason,
            r.ended_ms
        FROM log_open_locks AS o
        CROSS JOIN LATERAL (
            SELECT r.* FROM rounds AS r WHERE r.room_id = o.room_id AND r.number = o.number AND r.seed IS NOT NULL
        ) AS r
        LIMIT $1
        """,
        limit,
    )
    return [_outcome(row) for row in rows]


def _outcome(row: asyncpg.Record) -> Entry:
    room, number, lock_hash, seed = row["room_id"].bytes, row["number"], row["lock_hash"], row["seed"]
    if row["void_reason"] is not None:
        return entry.void(room, number, lock_hash, seed, row["void_reason"], row["ended_ms"])
    beacon_sig = row["beacon_sig"] or b""
    return entry.result(room, number, row["result"], lock_hash, seed, beacon_sig, row["numbers"], row["drawn_ms"])


async def append_entries(conn: Connection, first: int, entries: Sequence[Entry], leaves: Sequence[bytes]) -> None:
    """Appends entries from index `first` on, which must be the size."""
    await conn.execute(
        """
        INSERT INTO log_entries (index, kind, room_id, number, entry, leaf_hash)
        SELECT $1 + e.at - 1, e.kind, e.room_id, e.number, e.entry, e.leaf_hash
        FROM unnest($2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[])
            WITH ORDINALITY AS e (kind, room_id, number, entry, leaf_hash, at)
        ORDER BY e.at
        """,
        first,
        [int(each.kind) for each in entries],
        [UUID(bytes=each.room) for each in entries],
        [each.number for each in entries],
        [each.data for each in entries],
        leaves,
    )


async def append_nodes(conn: Connection, nodes: Sequence[tuple[int, int, bytes]]) -> None:
    """Stores (level, index, hash) of subtrees that have become full."""
    await conn.execute(
        """
        INSERT INTO log_nodes (level, index, hash)
        SELECT n.level, n.index, n.hash FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS n (level, index, hash)
        ORDER BY n.level, n.index
        """,
        [level for level, _, _ in nodes],
        [index for _, index, _ in nodes],
        [digest for _, _, digest in nodes],
    )


async def reader(conn: Executor, compute: Callable[[tree.Read], object]) -> tree.Read:
    """The hashes that `compute` needs, fetched together. Raises LogDamagedError where one is not there."""
    spans = list(dict.fromkeys(tree.needed(compute)))
    if not spans:
        return tree.reader((), ())
    rows = await conn.fetch(
        """
        SELECT w.at, array_agg(n.hash ORDER BY n.index)
        FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (level, first, past, at)
        CROSS JOIN LATERAL (
            SELECT l.index, l.leaf_hash AS hash FROM log_entries AS l
            WHERE w.level = 0 AND l.index >= w.first AND l.index < w.past
            UNION ALL
            SELECT n.index, n.hash FROM log_nodes AS n
            WHERE n.level = w.level AND n.index >= w.first AND n.index < w.past
        ) AS n
        GROUP BY w.at ORDER BY w.at
        """,
        [level for level, _, _ in spans],
        [first for _, first, _ in spans],
        [first + count for _, first, count in spans],
    )
    if [(at, len(hashes)) for at, hashes in rows] != [(at, count) for at, (_, _, count) in enumerate(spans, 1)]:
        raise LogDamagedError("the log lacks hashes that it has had")
    return tree.reader(spans, [hashes for _, hashes in rows])


async def entries(conn: Executor, first: int, count: int) -> list[StoredEntry]:
    """Entries one after the other."""
    rows = await conn.fetch(
        "SELECT e.index, e.kind, e.entry FROM log_entries AS e WHERE e.index >= $1 AND e.index < $2 ORDER BY e.index",
        first,
        first + count,
    )
    return [StoredEntry(*row.values()) for row in rows]


async def entries_of_round(conn: Executor, round_id: int) -> list[StoredEntry]:
    """The entries about a round: of its epoch, its lock and its outcome, as far as there are any."""
    rows = await conn.fetch(
        """
        SELECT e.index, e.kind, e.entry
        FROM rounds AS r
        LEFT JOIN epochs AS of_it ON of_it.id = r.epoch_id
        CROSS JOIN LATERAL (VALUES (1, of_it.first_round), (2, r.number), (3, r.number)) AS about (series, number)
        JOIN log_entries AS e ON e.room_id = r.room_id AND e.series = about.series AND e.number = about.number
        WHERE r.id = $1 ORDER BY e.index
        """,
        round_id,
    )
    return [StoredEntry(*row.values()) for row in rows]


async def publish(conn: Connection, checkpoint: StoredCheckpoint) -> bool:
    """Publishes a checkpoint; False where one of this size or beyond has been published already."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(-7304)")
        done: str = await conn.execute(
            """
            INSERT INTO log_checkpoints (size, root, note)
            SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM log_checkpoints AS c WHERE c.size >= $1)
            """,
            checkpoint.size,
            checkpoint.root,
            checkpoint.note,
        )
    return done == "INSERT 0 1"


async def latest_checkpoint(conn: Executor) -> StoredCheckpoint | None:
    """The newest checkpoint that was published."""
    row = await conn.fetchrow("SELECT size, root, note FROM log_checkpoints ORDER BY size DESC LIMIT 1")
    return StoredCheckpoint(*row.values()) if row else None


async def checkpoint_beyond(conn: Executor, size: int) -> StoredCheckpoint | None:
    """The newest checkpoint with more than `size` entries: with the size last anchored, the one to anchor next."""
    row = await conn.fetchrow(
        "SELECT size, root, note FROM log_checkpoints WHERE size > $1 ORDER BY size DESC LIMIT 1", size
    )
    return StoredCheckpoint(*row.values()) if row else None
