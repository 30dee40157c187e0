"""The migrations apply on every PostgreSQL we promise, once; and what they grant and guard, by role and table."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from support.databases import Database, Databases

from keno.infra.embedded import EmbeddedServers
from keno.infra.migrate import MIGRATIONS, MigrationError, migrate

_NAMES = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))


@pytest.fixture
def empty(databases: Databases) -> Iterator[Database]:
    """A database without a schema."""
    made = databases.create_empty()
    yield made
    databases.drop(made)


async def test_all_migrations_apply_in_order_and_again_is_a_no_op(empty: Database) -> None:
    assert await migrate(empty.owner_url) == _NAMES
    assert await migrate(empty.owner_url) == []


async def test_migrators_that_start_together_apply_each_migration_once(empty: Database) -> None:
    applied = await asyncio.gather(*(migrate(empty.owner_url) for _ in range(3)))
    assert sorted(applied) == [[], [], _NAMES]


async def test_they_apply_on_the_embedded_server_too_and_leave_the_same_schema(owner_pool: asyncpg.Pool) -> None:
    data_dir = Path(tempfile.mkdtemp(prefix="keno-test-"))
    servers = await EmbeddedServers.start(data_dir)
    try:
        assert await migrate(servers.database_url) == _NAMES
        embedded = await asyncpg.connect(servers.database_url)
        columns = """
            SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
            WHERE table_schema = 'public' ORDER BY table_name, column_name
        """
        assert await embedded.fetch(columns) == await owner_pool.fetch(columns)
        await embedded.close()
    finally:
        await servers.stop()
        shutil.rmtree(data_dir)


async def test_a_migration_that_fails_is_undone_and_those_before_it_stay(empty: Database, tmp_path: Path) -> None:
    head = "-- A step.\n-- depends: {}\n\n-- migrate: apply\n{}\n-- migrate: rollback\n"
    (tmp_path / "0001_good.sql").write_text(head.format("", "CREATE TABLE good (id integer);"))
    bad = tmp_path / "0002_bad.sql"
    bad.write_text(head.format("0001_good", "CREATE TABLE half (id integer);\nSELECT 1/0;"))
    with pytest.raises(MigrationError, match=r"0002_bad.*division by zero"):
        await migrate(empty.owner_url, tmp_path)

    bad.write_text(head.format("0001_good", "CREATE TABLE half (id integer);"))
    assert await migrate(empty.owner_url, tmp_path) == ["0002_bad"]


async def test_events_keep_their_ascending_ids_where_all_that_were_sent_are_forgotten(
    empty: Database, tmp_path: Path
) -> None:
    for path in sorted(MIGRATIONS.glob("*.sql")):
        if path.stem < "0032_waves":
            shutil.copy(path, tmp_path)
    await migrate(empty.owner_url, tmp_path)
    owner = await asyncpg.connect(empty.owner_url)
    add = "INSERT INTO outbox (routing_key, aggregate, payload) SELECT 'a', 'b', '{}' FROM generate_series(1, 5)"
    try:
        await owner.execute(add)
        await owner.execute(
            "SET session_replication_role = replica; DELETE FROM outbox; RESET session_replication_role"
        )
        await migrate(empty.owner_url)
        await owner.execute(add)
        assert [row["id"] for row in await owner.fetch("SELECT id FROM outbox ORDER BY id")] == [6, 7, 8, 9, 10]
    finally:
        await owner.close()


def test_each_migration_depends_on_the_one_before_it() -> None:
    for before, name in zip(["", *_NAMES], _NAMES, strict=False):
        assert f"-- depends: {before}".rstrip() in (MIGRATIONS / f"{name}.sql").read_text().splitlines()


# The columns that each role may update, and the tables it may insert into; everything else of the kind is refused.
_ALL = "*"
_UPDATES = {
    "keno_app": {
        "accounts": "balance_minor round_bets_max round_stake_max_minor",
        "audit_balances": "minor",
        "dead_events": "dead_ms reason replayed_ms",
        "leases": _ALL,
        "operator_keys": "revoked_ms",
        "operator_limits": "changes_count round_bets_max round_exposure_max_minor round_stake_max_minor",
        "operators": "bets_per_s_max currencies networks status",
        "outbox_batches": "sent_ms",
        "players": "status",
        "revenue_hourly": _ALL,
        "room_changes": "asked_ms lock_lead_ms period_ms rules_hash waiting",
        "rooms": "lock_lead_ms period_ms rules_hash slot_epoch_ms status",
        "round_exposures": "exposure_minor",
        "rounds": "beacon_round beacon_sig bets_count bets_root drawn_ms ended_ms lease_epoch lock_hash locked_ms "
        "numbers phase prev_lock result seed void_reason",
        "rounds_set_aside": "failures_count reason retry_ms",
        "schedulers": "beat leaving",
        "signing_keys": "changed_ms private_key state",
        "staff": "credentials password_hash status totp_secret totp_step",
        "texts": "changed_ms content",
    },
    "keno_vault": {"epochs": "epoch_key", "rng_seeds": "wrapped_key"},
}
_NO_INSERTS_BY_APP = {
    "archive_sums",
    "archived_balances",
    "archived_partitions",
    "archived_refunds",
    "inbox_horizon",
    "bet_partitions",
    "_pogo_migration",
    "_pogo_version",
    "epochs",
    "log_open_locks",
    "outbox_horizon",
    "refused_locks",
    "rng_seeds",
    "round_wins",
    "seed_releases",
}
_INSERTS_BY_VAULT = {"audit_logs", "epochs", "refused_locks", "rng_seeds", "seed_releases"}
_NOT_READ_BY_APP = {"_pogo_migration", "_pogo_version", "rng_seeds"}

# A role's rights on a partition would be by the way of its own name; nobody has any.
_TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT relispartition
"""


async def _tables_with(pool: asyncpg.Pool, role: str, privilege: str) -> set[str]:
    allowed = f"SELECT relname FROM ({_TABLES}) AS t WHERE has_table_privilege($1, relname::text, $2)"  # noqa: S608
    return {name for (name,) in await pool.fetch(allowed, role, privilege)}


@pytest.mark.parametrize("role", ["keno_app", "keno_vault"])
async def test_a_role_updates_only_the_columns_that_move(owner_pool: asyncpg.Pool, role: str) -> None:
    rows = await owner_pool.fetch(
        f"""
        SELECT relname, CASE WHEN has_table_privilege($1, relname::text, 'UPDATE') THEN $2 ELSE
            string_agg(column_name, ' ' ORDER BY column_name COLLATE "C") END AS columns
        FROM ({_TABLES}) AS t JOIN information_schema.columns ON table_schema = 'public' AND table_name = relname
        WHERE has_column_privilege($1, relname::text, column_name::text, 'UPDATE')
        GROUP BY relname
        """,  # noqa: S608
        role,
        _ALL,
    )
    assert {row["relname"]: row["columns"] for row in rows} == _UPDATES[role]


@pytest.mark.parametrize("role", ["keno_app", "keno_vault"])
@pytest.mark.parametrize("privilege", ["DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"])
async def test_no_role_deletes_or_touches_the_guards_of_any_table(
    owner_pool: asyncpg.Pool, role: str, privilege: str
) -> None:
    assert await _tables_with(owner_pool, role, privilege) == set()


async def test_the_services_cannot_read_the_seeds_nor_write_what_is_the_vaults(owner_pool: asyncpg.Pool) -> None:
    tables = {name for (name,) in await owner_pool.fetch(_TABLES)}
    assert tables - await _tables_with(owner_pool, "keno_app", "SELECT") == _NOT_READ_BY_APP
    assert tables - await _tables_with(owner_pool, "keno_app", "INSERT") == _NO_INSERTS_BY_APP
    assert await _tables_with(owner_pool, "keno_vault", "INSERT") == _INSERTS_BY_VAULT


async def test_the_services_own_nothing_and_are_no_superusers(owner_pool: asyncpg.Pool) -> None:
    powers = """
        SELECT rolname FROM pg_roles WHERE rolname IN ('keno_app', 'keno_vault')
        AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
    """
    assert await owner_pool.fetch(powers) == []
    owned = "SELECT relname FROM pg_class WHERE relowner IN ('keno_app'::regrole, 'keno_vault'::regrole)"
    assert await owner_pool.fetch(owned) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bets SET stake_minor = 1",
        "DELETE FROM bets",
        "UPDATE payouts SET payout_minor = 1",
        "DELETE FROM wallet_transactions",
        "UPDATE audit_logs SET actor = 'nobody'",
        "DELETE FROM rounds",
        "SELECT * FROM rng_seeds",
        "INSERT INTO seed_releases VALUES (1, '', '')",
        "UPDATE epochs SET epoch_key = NULL",
        "TRUNCATE outbox_batches",
        "ALTER TABLE bets DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id integer)",
        "CREATE OR REPLACE FUNCTION now_ms() RETURNS bigint LANGUAGE sql RETURN 0",
    ],
)
async def test_the_services_are_refused(pool: asyncpg.Pool, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


_APPEND_ONLY = {
    "admin_actions": "actor",
    "anchor_transactions": "raw",
    "anchor_verdicts": "verdict",
    "anchors": "size",
    "audit_logs": "actor",
    "beacon_chains": "period_s",
    "beacon_misses": "missed_ms",
    "beacons": "signature",
    "bets": "stake_minor",
    "log_checkpoints": "note",
    "log_entries": "entry",
    "log_keys": "origin",
    "log_nodes": "hash",
    "paytable_tops": "scale",
    "paytables": "document",
    "payouts": "payout_minor",
    "refused_locks": "refused_ms",
    "rng_seeds": "wrapped_key",
    "round_credits": "credits_count",
    "round_totals": "paid_minor",
    "rules": "document",
    "rules_beacons": "profile",
    "rules_currencies": "stake_max_minor",
    "rules_paytables": "position",
    "seed_releases": "seed",
    "settlement_chunks": "paid_minor",
    "wallet_transactions": "amount_minor",
}


@pytest.mark.parametrize("table", _APPEND_ONLY)
async def test_not_even_the_owner_changes_what_is_append_only(owner_pool: asyncpg.Pool, table: str) -> None:
    column = _APPEND_ONLY[table]
    for change in ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="immutable"):
            await owner_pool.execute(change.format(table, column))


_AN_OPERATOR = "INSERT INTO operators (name, currencies) VALUES ('casino', '{EUR}') RETURNING id"
_A_PLAYER = """
    INSERT INTO players (operator_id, reference, account_hash) VALUES ($1, 'ann', sha256('')) RETURNING id
"""


@pytest.mark.parametrize(
    ("kind", "currency", "of_a_player"),
    [("bank", "EUR", False), ("house", "eur", False), ("house", "USD", True), ("player", "EUR", False)],
)
async def test_an_account_is_checked_when_it_is_opened(
    owner_pool: asyncpg.Pool, kind: str, currency: str, *, of_a_player: bool
) -> None:
    operator_id = await owner_pool.fetchval(_AN_OPERATOR)
    player_id = await owner_pool.fetchval(_A_PLAYER, operator_id) if of_a_player else None
    with pytest.raises(asyncpg.CheckViolationError, match="can be opened"):
        await owner_pool.execute(
            "INSERT INTO accounts (operator_id, kind, player_id, currency) VALUES ($1, $2, $3, $4)",
            operator_id,
            kind,
            player_id,
            currency,
        )


@pytest.mark.parametrize("column", ["id", "operator_id", "kind", "player_id", "currency", "player_reference"])
async def test_not_even_the_owner_changes_what_an_account_was_opened_as(owner_pool: asyncpg.Pool, column: str) -> None:
    await owner_pool.execute(_AN_OPERATOR)
    value = "DEFAULT" if column == "id" else column
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="immutable"):
        await owner_pool.execute(f"UPDATE accounts SET {column} = {value}")  # noqa: S608


_A_ROOM = """
    WITH rules_of_it AS (INSERT INTO rules (hash, document) VALUES (sha256('{}'), '{}') RETURNING hash)
    INSERT INTO rooms (name, profile, period_ms, lock_lead_ms, slot_epoch_ms, rules_hash)
    SELECT 'room', 'S', 5000, 500, 0, hash FROM rules_of_it RETURNING id, rules_hash
"""
_ZEROS = "decode(repeat('00', 32), 'hex')"
_AN_EPOCH = """
    INSERT INTO epochs (room_id, first_round, rounds_count, key_commit, commits, commits_root, opened_ms, hash)
    VALUES ($1, 1, 1, $2, $2, $2, 0, $2) RETURNING id
"""
_AN_OPEN_ROUND = """
    INSERT INTO rounds (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms,
        lease_epoch)
    VALUES ($1, 1, 'open', $2, $3, $4, 0, 1, 2, 1)
"""
_TO_ITS_END = (
    "phase = 'locked', locked_ms = 1",
    f"bets_count = 0, bets_root = {_ZEROS}, beacon_round = 0, prev_lock = {_ZEROS}, lock_hash = {_ZEROS}",
    f"phase = 'drawn', drawn_ms = 2, seed = {_ZEROS}, numbers = decode(repeat('01', 20), 'hex'), result = {_ZEROS}",
    "phase = 'settled', ended_ms = 3",
)
_A_SKIPPED_ROUND = """
    INSERT INTO rounds (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms, lease_epoch)
    VALUES ($1, 2, 'skipped', $2, 0, 1, 2, 3, 1)
"""
_HASH = bytes(32)


@pytest.fixture
async def ended_rounds(owner_pool: asyncpg.Pool) -> None:
    """A settled and a skipped round, and what they refer to."""
    room = await owner_pool.fetchrow(_A_ROOM)
    epoch_id = await owner_pool.fetchval(_AN_EPOCH, room["id"], hashlib.sha256(b"keno1:ekey" + _HASH).digest())
    await owner_pool.execute(_AN_OPEN_ROUND, room["id"], room["rules_hash"], epoch_id, _HASH)
    for values in _TO_ITS_END:
        await owner_pool.execute(f"UPDATE rounds SET {values}")  # noqa: S608
    await owner_pool.execute(_A_SKIPPED_ROUND, room["id"], room["rules_hash"])
    await owner_pool.execute("UPDATE epochs SET epoch_key = $1", _HASH)
    await owner_pool.execute("INSERT INTO outbox (routing_key, aggregate, payload) VALUES ('a', 'b', '{}')")
    await owner_pool.execute("UPDATE outbox_batches SET sent_ms = 1")


@pytest.mark.usefixtures("ended_rounds")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rounds SET ended_ms = 4 WHERE phase = 'settled'",
        "UPDATE rounds SET lease_epoch = 2 WHERE phase = 'settled'",
        "UPDATE rounds SET phase = 'void', void_reason = 1 WHERE phase = 'settled'",
        "UPDATE rounds SET phase = 'open', ended_ms = NULL WHERE phase = 'skipped'",
        "DELETE FROM rounds WHERE number = 2",
        "TRUNCATE rounds CASCADE",
        "UPDATE epochs SET epoch_key = NULL",
        "UPDATE epochs SET commits = decode(repeat('01', 32), 'hex')",
        "DELETE FROM epochs",
        "UPDATE outbox_batches SET sent_ms = NULL",
        "UPDATE outbox_batches SET events = '[]'",
    ],
)
async def test_not_even_the_owner_changes_what_has_ended(owner_pool: asyncpg.Pool, statement: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="immutable"):
        await owner_pool.execute(statement)


async def test_a_key_that_does_not_open_the_commitment_of_its_epoch_is_not_published(owner_pool: asyncpg.Pool) -> None:
    room = await owner_pool.fetchrow(_A_ROOM)
    committed = hashlib.sha256(b"keno1:ekey" + _HASH).digest()
    epoch_id = await owner_pool.fetchval(_AN_EPOCH, room["id"], committed)
    publish = "UPDATE epochs SET epoch_key = $1 WHERE id = $2"
    for key in (committed, bytes(31) + b"\x01", bytes(31)):
        with pytest.raises(asyncpg.CheckViolationError):
            await owner_pool.execute(publish, key, epoch_id)
    assert await owner_pool.execute(publish, _HASH, epoch_id) == "UPDATE 1"


async def test_a_round_takes_only_the_edges_of_its_life(owner_pool: asyncpg.Pool) -> None:
    phases = ["open", "locked", "drawn", "settled", "skipped", "void"]
    allowed = {
        (before, after)
        for before in phases
        for after in phases
        if await owner_pool.fetchval("SELECT phase_edge_allowed($1, $2)", before, after)
    }
    assert allowed == {("open", "locked"), ("locked", "drawn"), ("locked", "void"), ("drawn", "settled")}


async def test_the_audit_log_chains_its_own_rows_whatever_a_writer_says(pool: asyncpg.Pool) -> None:
    entry = """
        INSERT INTO audit_logs (id, at_ms, actor, action, subject, detail, prev_hash, hash)
        VALUES (9, 0, $1, 'action', 'subject', '{}', '', '')
    """
    await pool.execute(entry, "first")
    await pool.execute(entry, "second")
    rows = await pool.fetch(
        "SELECT id, prev_hash, hash, audit_hash(prev_hash, at_ms, actor, action, subject, detail) AS computed "
        "FROM audit_logs ORDER BY id"
    )
    assert [row["id"] for row in rows] == [1, 2]
    assert [row["prev_hash"] for row in rows] == [_HASH, rows[0]["hash"]]
    assert all(row["hash"] == row["computed"] for row in rows)
