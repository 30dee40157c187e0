"""A migrated database for each test, copied from a template that is made once a run.

Names are keno_test_<run>_<what>. While a run lives, each of its processes holds the run's advisory lock shared, on the
administration database; whoever gets it exclusively knows that the run is over, and drops what it left behind. That
also holds for runs on other machines and for runs that were killed.
"""

import itertools
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from keno.infra.migrate import migrate
from support.loop_thread import LoopThread

_PREFIX = "keno_test_"
# Roles belong to the cluster: the first migrations of two runs must not both create them.
_TEMPLATE_LOCK = -7399
_DROPPED_AT_ONCE = 16


@dataclass(frozen=True)
class Database:
    """One migrated, empty database and its URL as owner, as keno_app and as keno_vault."""

    name: str
    owner_url: str
    app_url: str
    vault_url: str


class Databases:
    """The databases of one process of a run. Methods are called from the process's main thread."""

    def __init__(self, server_url: str, run: str, process: str, thread: LoopThread) -> None:
        self._server_url = server_url
        self._thread = thread
        self._names = (f"{_PREFIX}{run}_{process}_{number}" for number in itertools.count(1))
        self._template = f"{_PREFIX}{run}_template"
        self._done_with: list[str] = []
        self._dropping: list[Future[None]] = []
        self._admin = thread.run(self._open(run))
        self._next: Future[Database] | None = None

    def create(self) -> Database:
        """The one that was made meanwhile, and begins to make the next: a copy takes as long as a test."""
        made = self._next or self._start_next()
        self._next = self._start_next()
        return made.result()

    def _start_next(self) -> Future[Database]:
        return self._thread.start(self._create(next(self._names), self._template))

    def create_empty(self) -> Database:
        """One without a schema, for the tests of the migrations."""
        return self._thread.run(self._create(next(self._names), "template0"))

    def drop(self, database: Database) -> None:
        """Sooner or later: each makes the server write a checkpoint, and those that go together share theirs."""
        self._done_with.append(database.name)
        # Each holds a connection as long as a checkpoint takes, so that no more go before these are gone.
        if len(self._done_with) >= _DROPPED_AT_ONCE and all(dropping.done() for dropping in self._dropping):
            self._drop_some()

    def _drop_some(self) -> None:
        for dropping in self._dropping:
            dropping.result()
        going, self._done_with = self._done_with[:_DROPPED_AT_ONCE], self._done_with[_DROPPED_AT_ONCE:]
        self._dropping = [self._thread.start(self._drop(name)) for name in going]

    def close(self) -> None:
        if self._next is not None:
            self._done_with.append(self._next.result().name)
        while self._done_with or self._dropping:
            self._drop_some()
        self._thread.run(self._close())

    async def _open(self, run: str) -> asyncpg.Connection:
        admin = await asyncpg.connect(self._server_url)
        await admin.execute("SELECT pg_advisory_lock_shared(hashtextextended($1, 0))", run)
        await _drop_dead_runs(self._server_url)
        await admin.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
        exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)"
        if not await admin.fetchval(exists, self._template):
            await admin.execute(f"CREATE DATABASE {self._template}")
            await migrate(self._url(self._template))
            await admin.execute(f"ALTER DATABASE {self._template} IS_TEMPLATE true")
        await admin.execute("SELECT pg_advisory_unlock($1)", _TEMPLATE_LOCK)
        return admin

    async def _create(self, name: str, template: str) -> Database:
        # Its own connection each: a second call may come while the first waits for the server.
        async with _connected(self._server_url) as connection:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Database(name, self._url(name), self._url(name, "keno_app"), self._url(name, "keno_vault"))

    async def _drop(self, name: str) -> None:
        async with _connected(self._server_url) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _close(self) -> None:
        await self._admin.close()
        await _drop_dead_runs(self._server_url)

    def _url(self, database: str, role: str | None = None) -> str:
        parts = urlsplit(self._server_url)
        userinfo, at, host = parts.netloc.rpartition("@")
        query = parts.query
        if role and ":" in userinfo and not userinfo.endswith(":"):
            # The server asks for passwords, and ours have none: log in as the owner and become the role.
            query = f"{query}&role={role}" if query else f"role={role}"
        elif role:
            userinfo, at = role, "@"
        return parts._replace(netloc=f"{userinfo}{at}{host}", path=f"/{database}", query=query).geturl()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _drop_dead_runs(server_url: str) -> None:
    async with _connected(server_url) as connection:
        names = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'keno\\_test\\_%'")
        runs: dict[str, list[str]] = {}
        for (name,) in names:
            runs.setdefault(name.removeprefix(_PREFIX).split("_")[0], []).append(name)
        for run, left_behind in runs.items():
            if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", run):
                continue
            # A process that was killed may have left a drop behind that the server is still busy with.
            for name in left_behind:
                with suppress(asyncpg.InvalidCatalogNameError):
                    await connection.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
                    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", run)
