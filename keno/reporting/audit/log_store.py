"""SQL of the audit of the log's tree: what is stored of the part that is laid out."""

from keno.fairness.log import note, store
from keno.fairness.log.note import VerifierKey
from keno.fairness.log.store import StoredCheckpoint
from keno.infra.postgres import Executor


async def key(conn: Executor) -> VerifierKey | None:
    """The key by which the log's checkpoints are believed; None before it is made."""
    stored = await store.key(conn)
    return None if stored is None else VerifierKey(stored.origin, note.ED25519, stored.public_key)


async def leaves(conn: Executor, first: int, limit: int) -> list[tuple[int, bytes]]:
    """(index, leaf hash) of the entries from an index on, of what is laid out."""
    rows = await conn.fetch(
        "SELECT e.index, e.leaf_hash FROM log_entries AS e WHERE e.index >= $1 ORDER BY e.index LIMIT $2", first, limit
    )
    return [(row["index"], row["leaf_hash"]) for row in rows]


async def nodes(conn: Executor, size: int, next_size: int) -> dict[tuple[int, int], bytes]:
    """The stored hashes by (level, index), of what is laid out, that entries complete which make a log of `size`
    entries one of `next_size`.
    """
    rows = await conn.fetch(
        """
        SELECT n.level, n.index, n.hash FROM generate_series(1, 7) AS l (level)
        JOIN log_nodes AS n ON n.level = l.level AND n.index >= $1 >> 8 * l.level AND n.index < $2 >> 8 * l.level
        """,
        size,
        next_size,
    )
    return {(row["level"], row["index"]): row["hash"] for row in rows}


async def checkpoints(conn: Executor, size: int, next_size: int) -> dict[int, StoredCheckpoint]:
    """The published checkpoints by their size, of what is laid out, beyond one size and up to another."""
    rows = await conn.fetch(
        "SELECT c.size, c.root, c.note FROM log_checkpoints AS c WHERE c.size > $1 AND c.size <= $2", size, next_size
    )
    return {row["size"]: StoredCheckpoint(*row.values()) for row in rows}


async def beyond(conn: Executor, size: int, limit: int) -> list[str]:
    """What there is, of what is laid out, that only a log of more than `size` entries can have."""
    rows = await conn.fetch(
        """
        SELECT format('checkpoint=%s', c.size) FROM log_checkpoints AS c WHERE c.size > $1
        UNION ALL
        SELECT format('level=%s, index=%s', n.level, n.index) FROM log_nodes AS n
        WHERE n.index >= $1 >> 8 * n.level
        LIMIT $2
        """,
        size,
        limit,
    )
    return [row[0] for row in rows]


async def has_entry(conn: Executor, index: int) -> bool:
    """Whether the log has an entry, be it before the part that is laid out."""
    found: bool = await conn.fetchval("SELECT EXISTS (SELECT FROM public.log_entries WHERE index = $1)", index)
    return found
