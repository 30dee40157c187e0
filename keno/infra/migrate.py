"""Brings a database to the newest schema: forward only, in order, each migration once, one migrator at a time.

The migrations are plain SQL in `migrations/`; pogo-core reads and applies them, each in a transaction of its own. This
module adds the lock and an error of ours. It creates no database, and rolls nothing back.
"""

import logging
from pathlib import Path

import asyncpg
from pogo_core import error as pogo_error
from pogo_core.util import migrate as pogo

import keno
from keno.errors import KenoError

MIGRATIONS = Path(keno.__file__).parents[1] / "migrations"

# Held by the session over all migrations. Advisory locks belong to a database, so migrators of another one don't wait.
_MIGRATOR_LOCK = -7300

# pogo tells of each migration as a warning; we return them instead.
_SILENT = logging.getLogger(f"{__name__}.pogo")
_SILENT.setLevel(logging.ERROR)


class MigrationError(KenoError):
    """A migration failed and was rolled back; those before it are applied. The cause is in `__cause__`."""


async def migrate(owner_url: str, migrations: Path = MIGRATIONS) -> list[str]:
    """Applies what is missing and returns its names, oldest first: an empty list when the schema is the newest.

    `owner_url` names a role that may create tables in schema public, and roles unless keno_app and keno_vault exist.

    Raises MigrationError when a migration fails, and what asyncpg raises when the server can't be reached.
    """
    # The migrator waits for its predecessor as long as that takes: no timeouts but the ones of the server.
    settings = {"search_path": "public", "application_name": "keno migrate"}
    connection = await asyncpg.connect(owner_url, server_settings=settings)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATOR_LOCK)
        before = await _applied(connection)
        try:
            await pogo.apply(connection, migrations, schema_name="public", logger=_SILENT)
        except pogo_error.BadMigrationError as failure:
            raise MigrationError(f"{failure}: {failure.__cause__}") from failure
        return sorted(await _applied(connection) - before)
    finally:
        # Ends the session and its lock with it.
        await connection.close()


async def _applied(connection: asyncpg.Connection) -> set[str]:
    if await connection.fetchval("SELECT to_regclass('public._pogo_migration') IS NULL"):
        return set()
    return {row["migration_id"] for row in await connection.fetch("SELECT migration_id FROM public._pogo_migration")}
