"""SQL of the audit: the part of the database that it reads, its checkpoints, and the queries of the invariants.

A part is laid over the tables: temporary relations of their names, which PostgreSQL finds before those in public.
"""

from dataclasses import dataclass

from keno.infra.postgres import Connection, Executor

CHECKPOINTS_KEPT_MAX = 100
_INVARIANT_MAX_S = 3_600
_CHECKPOINT_LOCK = -7311
_ARCHIVE_LOCK = -7312


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Up to where the audit has found everything right; nothing is behind the one with the id 0. `is_usable` says
    whether it was made on this server; of the log's tree it has what a GrowingTree goes on from.
    """

    id: int
    at_ms: int
    is_usable: bool
    log_size: int
    log_hashes: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """What is not behind one checkpoint yet and is behind another, or is there now where `upto` is None."""

    after: int
    upto: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has all there is, and is read where it is; else a copy makes all that follows cheap."""
        return self.after == 0


async def hold_off_archiving(conn: Connection) -> None:
    """Keeps the partitions where they are until the connection goes back to its pool."""
    await conn.execute("SELECT pg_advisory_lock_shared($1)", _ARCHIVE_LOCK)


async def newest_checkpoint(conn: Executor) -> Checkpoint:
    """From where the audit may begin."""
    row = await conn.fetchrow(
        """
        SELECT k.id, k.at_ms, k.system_id = server.system_identifier, k.log_size, k.log_hashes
        FROM audit_checkpoints AS k CROSS JOIN pg_control_system() AS server ORDER BY k.id DESC LIMIT 1
        """
    )
    return Checkpoint(*row.values()) if row else Checkpoint(0, 0, is_usable=True, log_size=0, log_hashes=b"")


async def lay_out(conn: Connection, part: Part) -> None:
    """Lays a part over the tables: `bets` are then those of the part, `public.bets` are all.

    The transaction it is called in sees one state of everything; what is laid out stays until `clear()`.
    """
    # The definition spells the tables as they are found, so it is read before they are covered.
    ledger = await conn.fetchval("SELECT pg_get_viewdef('public.ledger'::regclass)")
    await conn.execute(f"SET LOCAL statement_timeout = '{_INVARIANT_MAX_S}s'; SET LOCAL enable_seqscan = off")
    if not part.is_whole:
        # Found by its indexes, however little the planner knows of tables that have just been made.
        await conn.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    await _copy(conn, "checkpoint", _checkpoint(part.after))
    await _copy(conn, "proved", _checkpoint(part.upto))
    await _copy(conn, "proved_balances", "SELECT * FROM audit_balances WHERE EXISTS (SELECT FROM proved)")
    await _copy(conn, "reach", _REACH)
    await _copy(conn, "lowest", _LOWEST)
    await _copy(conn, "spans", _SPANS)
    await _copy(conn, "archived", _ARCHIVED_REFUNDS)
    # The clock goes on while one state is read: what waits too long is told by when that state was.
    await _copy(conn, "asked", "SELECT now_ms() AS at_ms")
    for name, query in (_RELATIONS | _LOG_RELATIONS).items():
        if part.is_whole or name in _LOG_RELATIONS:
            await conn.execute(f"CREATE TEMP VIEW {name} AS {query}")
        else:
            await _copy(conn, name, query)
    if not part.is_whole:
        await conn.execute(_ADD_ROLLBACKS_THAT_FORBID)
    carried = "archived_balances" if part.is_whole else "audit_balances"
    await conn.execute(f"CREATE TEMP VIEW carried AS SELECT account_id, minor FROM {carried}")  # noqa: S608
    await conn.execute(f"CREATE TEMP VIEW ledger AS {ledger}")
    await conn.execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on")


async def _copy(conn: Connection, name: str, query: str) -> None:
    await conn.execute(f"CREATE TEMP TABLE {name} AS {query}", timeout=_INVARIANT_MAX_S)
    await conn.execute(f"ANALYZE {name}")


# What has nothing behind it but what is archived. It is not a row of the table, where somebody could change it and hide
# things behind it.
_NOTHING = """
    SELECT 0::bigint AS id, 0::bigint AS at_ms, 0::bigint AS system_id, '1:1:'::pg_snapshot AS snapshot,
        coalesce((SELECT range_agg(a.rounds) FROM archived_partitions AS a WHERE a.detached_ms > 0), '{}') AS rounds,
        0::bigint AS last_movement_id, 0::bigint AS last_event_id,
        9223372036854775807 AS open_event_id, 0::bigint AS last_log_id, ''::bytea AS last_log_hash,
        9223372036854775807 AS open_log_id, 0::bigint AS log_size
"""
_REACH = """
    SELECT coalesce((SELECT p.rounds FROM proved AS p), '{(,)}'::int8multirange) - k.rounds AS rounds
    FROM checkpoint AS k
"""
_SPANS = """
    SELECT coalesce(lower(s), -9223372036854775808) AS first_id, coalesce(upper(s), 9223372036854775807) AS next_id
    FROM reach CROSS JOIN LATERAL unnest(reach.rounds) AS s
"""
# Below these ids nothing is new after the checkpoint. An id was given out before a higher one was seen by some earlier
# snapshot, to a transaction that had written already; the snapshot of the checkpoint began when all those had ended.
_LOWEST = """
    SELECT coalesce(max(seen.last_movement_id), 0) + 1 AS movement_id,
        least(coalesce(max(seen.last_event_id), 0) + 1, k.open_event_id) AS event_id,
        least(k.last_log_id + 1, k.open_log_id) AS log_id
    FROM checkpoint AS k
    LEFT JOIN audit_checkpoints AS seen ON pg_snapshot_xmax(seen.snapshot) <= pg_snapshot_xmin(k.snapshot)
    GROUP BY k.open_event_id, k.last_log_id, k.open_log_id
"""
_ARCHIVED_REFUNDS = """
    SELECT r.bet_id FROM archived_refunds AS r
    JOIN archived_partitions AS a ON a.first_round = r.first_round AND a.detached_ms > 0
    JOIN checkpoint AS k ON k.id = 0
"""


def _checkpoint(checkpoint_id: int | None) -> str:
    stored = f"SELECT * FROM audit_checkpoints WHERE id = {-1 if checkpoint_id is None else checkpoint_id:d}"  # noqa: S608
    return _NOTHING if checkpoint_id == 0 else stored


def _of_rounds(table: str, key: str) -> str:
    return f"SELECT t.* FROM spans AS s JOIN public.{table} AS t ON t.{key} >= s.first_id AND t.{key} < s.next_id"  # noqa: S608


_RELATIONS = {
    "rounds": _of_rounds("rounds", "id"),
    "bets": _of_rounds("bets", "round_id"),
    "payouts": _of_rounds("payouts", "round_id"),
    "round_credits": _of_rounds("round_credits", "round_id"),
    "round_totals": _of_rounds("round_totals", "round_id"),
    "settlement_chunks": _of_rounds("settlement_chunks", "round_id"),
    "round_wins": _of_rounds("round_wins", "round_id"),
    "round_exposures": _of_rounds("round_exposures", "round_id"),
    "wallet_transactions": """
        SELECT t.* FROM public.wallet_transactions AS t
        WHERE t.id >= (SELECT l.movement_id FROM lowest AS l)
            AND NOT pg_visible_in_snapshot(t.xid, (SELECT k.snapshot FROM checkpoint AS k))
            AND coalesce(pg_visible_in_snapshot(t.xid, (SELECT p.snapshot FROM proved AS p)), true)
            AND NOT EXISTS (SELECT FROM archived AS a WHERE a.bet_id = t.bet_id)
    """,
    "rollbacks": """
        SELECT t.* FROM public.rollbacks AS t
        WHERE NOT pg_visible_in_snapshot(t.xid, (SELECT k.snapshot FROM checkpoint AS k))
            AND coalesce(pg_visible_in_snapshot(t.xid, (SELECT p.snapshot FROM proved AS p)), true)
    """,
    "outbox": """
        SELECT t.* FROM public.outbox AS t
        WHERE t.id >= (SELECT l.event_id FROM lowest AS l)
            AND t.routing_key IN ('round.settled', 'payouts.ready', 'round.voided', 'wallet.refunded')
            AND (t.payload ->> 'round')::bigint <@ (SELECT reach.rounds FROM reach)
    """,
    "audit_logs": """
        SELECT t.* FROM public.audit_logs AS t
        WHERE t.id >= (SELECT l.log_id FROM lowest AS l)
            AND t.id <= coalesce((SELECT p.last_log_id FROM proved AS p), 9223372036854775807)
    """,
}
# What is of the part of the log by its last entry. Read where it is, by the keys: the part may be all of a large log.
_LOG_RELATIONS = {
    "log_entries": """
        SELECT t.* FROM public.log_entries AS t
        WHERE t.index >= (SELECT k.log_size FROM checkpoint AS k)
            AND t.index < coalesce((SELECT p.log_size FROM proved AS p), 9223372036854775807)
    """,
    "log_nodes": """
        SELECT t.* FROM generate_series(1, 7) AS l (level)
        JOIN public.log_nodes AS t ON t.level = l.level
            AND t.index >= (SELECT k.log_size FROM checkpoint AS k) >> 8 * l.level
            AND coalesce(t.index < (SELECT p.log_size FROM proved AS p) >> 8 * l.level, true)
    """,
    "log_checkpoints": """
        SELECT t.* FROM public.log_checkpoints AS t
        WHERE t.size > (SELECT k.log_size FROM checkpoint AS k)
            AND t.size <= coalesce((SELECT p.log_size FROM proved AS p), 9223372036854775807)
    """,
}
_ADD_ROLLBACKS_THAT_FORBID = """
    INSERT INTO rollbacks
    SELECT t.*
    FROM (
        SELECT b.operator_id, b.transaction_id FROM bets AS b
        UNION ALL
        SELECT w.operator_id, w.transaction_id FROM wallet_transactions AS w
    ) AS new
    JOIN public.rollbacks AS t ON t.operator_id = new.operator_id AND t.target_id = new.transaction_id
    EXCEPT SELECT * FROM rollbacks
"""


async def clear(conn: Connection) -> None:
    """Takes away what was laid over the tables."""
    await conn.execute("DISCARD TEMP")


async def rows_breaking(conn: Connection, part: Part, invariant_sql: str, limit: int) -> list[str]:
    """The first rows that an invariant's query returns of a part that is laid out, as text."""
    async with conn.transaction():
        await _plan(conn, part)
        rows = await conn.fetch(
            # Apart from the limit, or the planner would look for a way to the first rows of a result that has none.
            f"WITH broken AS MATERIALIZED ({invariant_sql}) SELECT * FROM broken LIMIT {limit:d}",  # noqa: S608 - our own
            timeout=_INVARIANT_MAX_S,
        )
    return [", ".join(f"{name}={value}" for name, value in row.items()) for row in rows]


async def _plan(conn: Connection, part: Part) -> None:
    await conn.execute(f"SET LOCAL statement_timeout = '{_INVARIANT_MAX_S}s'; SET LOCAL work_mem = '64MB'")
    if part.is_whole:
        # The planner, who expects little of what should not be there, would read one table again for each row of
        # another.
        await conn.execute("SET LOCAL enable_nestloop = off")


async def ended_round_ids(conn: Connection) -> list[int]:
    """The rounds that have evidence, of what is laid out, by room and number."""
    async with conn.transaction():
        await conn.execute(f"SET LOCAL statement_timeout = '{_INVARIANT_MAX_S}s'")
        rows = await conn.fetch(
            "SELECT id FROM rounds WHERE phase IN ('settled', 'void') ORDER BY room_id, number",
            timeout=_INVARIANT_MAX_S,
        )
    return [row["id"] for row in rows]


async def prepare_checkpoint(conn: Connection, part: Part) -> None:
    """Works out the checkpoint that is due if the part is found right. In the transaction that laid it out."""
    await _plan(conn, part)
    await _copy(
        conn,
        "finished",
        """
        SELECT r.id FROM rounds AS r
        LEFT JOIN round_credits AS c ON c.round_id = r.id
        LEFT JOIN (SELECT DISTINCT p.round_id FROM payouts AS p) AS won ON won.round_id = r.id
        LEFT JOIN public.log_entries AS told ON told.room_id = r.room_id AND told.series = 3 AND told.number = r.number
        WHERE r.phase = 'skipped' OR (told.index IS NOT NULL AND (
            (r.phase IN ('settled', 'void') AND c.round_id IS NOT NULL)
            OR (r.phase = 'settled' AND won.round_id IS NULL)))
        """,
    )
    await _copy(
        conn,
        "moved",
        """
        WITH entries AS (
            SELECT l.debit_account_id, l.credit_account_id, l.amount_minor
            FROM ledger AS l
            LEFT JOIN (
                SELECT b.id FROM bets AS b LEFT JOIN finished AS f ON f.id = b.round_id WHERE f.id IS NULL
            ) AS open ON l.kind = 'bet' AND open.id = l.bet_id
            WHERE open.id IS NULL
        )
        SELECT account_id, sum(minor)::bigint AS minor
        FROM (
            SELECT credit_account_id AS account_id, amount_minor AS minor FROM entries
            UNION ALL
            SELECT debit_account_id, -amount_minor FROM entries
            UNION ALL
            SELECT c.account_id, c.minor FROM carried AS c JOIN checkpoint AS k ON k.id = 0
        ) AS e
        GROUP BY account_id
        """,
    )
    await _copy(
        conn,
        "next_checkpoint",
        """
        SELECT now_ms() AS at_ms, server.system_identifier AS system_id, pg_current_snapshot() AS snapshot,
            k.rounds + coalesce((SELECT range_agg(int8range(f.id, f.id, '[]')) FROM finished AS f), '{}') AS rounds,
            greatest(k.last_movement_id, (SELECT max(w.id) FROM public.wallet_transactions AS w)) AS last_movement_id,
            greatest(k.last_event_id, (SELECT max(o.id) FROM public.outbox_batches AS o)) AS last_event_id,
            (SELECT coalesce(min(o.id), 9223372036854775807) FROM outbox AS o
            WHERE NOT EXISTS (SELECT FROM finished AS f WHERE f.id = (o.payload ->> 'round')::bigint)) AS open_event_id,
            coalesce(l.id, 0) AS last_log_id, coalesce(l.hash, k.last_log_hash) AS last_log_hash,
            (SELECT coalesce(min(v.id), 9223372036854775807) FROM audit_logs AS v WHERE v.action = 'round.voided'
                AND NOT EXISTS (SELECT FROM finished AS f WHERE f.id::text = v.detail ->> 'round')) AS open_log_id
        FROM checkpoint AS k
        CROSS JOIN pg_control_system() AS server
        LEFT JOIN (SELECT * FROM public.audit_logs ORDER BY id DESC LIMIT 1) AS l ON true
        """,
    )


async def extend_checkpoint(conn: Connection, log_size: int, log_hashes: bytes) -> bool:
    """Stores the checkpoint that was prepared, with what a GrowingTree of the log goes on from; False, and nothing is
    stored, where another audit was quicker.
    """
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _CHECKPOINT_LOCK)
        await conn.execute(f"SET LOCAL statement_timeout = '{_INVARIANT_MAX_S}s'")
        stored = await conn.fetchval(
            """
            INSERT INTO audit_checkpoints (at_ms, system_id, snapshot, rounds, last_movement_id, last_event_id,
                open_event_id, last_log_id, last_log_hash, open_log_id, log_size, log_hashes)
            SELECT n.at_ms, n.system_id, n.snapshot, n.rounds, n.last_movement_id, n.last_event_id, n.open_event_id,
                n.last_log_id, n.last_log_hash, n.open_log_id, $1, $2
            FROM next_checkpoint AS n
            WHERE (SELECT coalesce(max(id), 0) FROM audit_checkpoints) = (SELECT k.id FROM checkpoint AS k)
            RETURNING id
            """,
            log_size,
            log_hashes,
        )
        if stored is None:
            return False
        await conn.execute(
            """
            INSERT INTO audit_balances AS sum (account_id, minor) SELECT m.account_id, m.minor FROM moved AS m
            ON CONFLICT (account_id) DO UPDATE SET minor = sum.minor + excluded.minor
            """,
            timeout=_INVARIANT_MAX_S,
        )
        await conn.execute("SELECT forget_checkpoints($1)", stored - CHECKPOINTS_KEPT_MAX + 1)
    return True


async def renew_checkpoint(conn: Connection) -> None:
    """Forgets all that was audited."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _CHECKPOINT_LOCK)
        await conn.execute(f"SET LOCAL statement_timeout = '{_INVARIANT_MAX_S}s'")
        await conn.execute("SELECT renew_checkpoint()", timeout=_INVARIANT_MAX_S)
