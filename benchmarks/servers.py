"""PostgreSQL and Redis for the benchmarks, databases of their own on them, and the processor time that they take.

The servers are those of KENO_TEST_DATABASE_URL and KENO_TEST_REDIS_URL, which tests use too, else the ones on their
usual loopback ports, else the embedded ones. PostgreSQL must run on this machine, or its processor time cannot be
read.
"""

import asyncio
import getpass
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.infra.embedded import EmbeddedServers

_PREFIX = "keno_bench_"
_IN_USE = 0x6B656E6F62656E63
"""The advisory lock that benchmarks share while they have a database."""
_USUAL_REDIS = "redis://127.0.0.1:6379"
AMQP_URL = os.environ.get("KENO_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
"""The RabbitMQ of those benchmarks that need one."""
_POLL_S = 0.02
_READS_A_LISTING = 10
_OWNER_SETTINGS = {
    # The audit joins all bets with the whole ledger: to be hashed, where the planner expects one row and would loop.
    "enable_nestloop": "off",
    "work_mem": "256MB",
    "jit": "off",
    # What a killed benchmark was asking for ends with it.
    "client_connection_check_interval": "1s",
}


@dataclass(frozen=True)
class Servers:
    """PostgreSQL as somebody who may create databases and roles, and a Redis."""

    database_url: str
    redis_url: str


@asynccontextmanager
async def found_or_started() -> AsyncIterator[Servers]:
    """The servers, with what killed benchmarks left on them removed."""
    database_url, redis_url = await find_postgres(), await find_redis()
    with tempfile.TemporaryDirectory(prefix="keno-bench-") as folder:
        started = None
        if database_url is None or redis_url is None:
            started = await EmbeddedServers.start(Path(folder) / "servers")
        try:
            # Both are set where the other is started: the embedded servers have one of each.
            servers = Servers(
                database_url or (started.database_url if started else ""),
                redis_url or (started.redis_url if started else ""),
            )
            await _drop_left_behind(servers.database_url)
            yield servers
        finally:
            if started is not None:
                await started.stop()


async def find_postgres() -> str | None:
    """The URL of a server where this process may create databases and roles; None: start one."""
    given = os.environ.get("KENO_TEST_DATABASE_URL")
    if given:
        return given
    for user in dict.fromkeys(("postgres", getpass.getuser())):
        # Without TLS, which a server of Debian offers: its handshakes would be half of what a connection costs, and
        # no peer should pay for the encryption of loopback.
        url = f"postgresql://{user}@127.0.0.1:5432/postgres?sslmode=disable"
        with suppress(OSError, TimeoutError, asyncpg.PostgresError):
            connection = await asyncpg.connect(url, timeout=5)
            may = "SELECT rolsuper OR rolcreatedb AND rolcreaterole FROM pg_roles WHERE rolname = current_user"
            allowed = await connection.fetchval(may)
            await connection.close()
            if allowed:
                return url
    return None


async def find_redis() -> str | None:
    """The URL of a server that answers, without a database number; None: start one."""
    given = os.environ.get("KENO_TEST_REDIS_URL")
    if given:
        return given
    async with Redis.from_url(_USUAL_REDIS) as client:
        try:
            await client.ping()
        except RedisError:
            return None
    return _USUAL_REDIS


async def _drop_left_behind(server_url: str) -> None:
    admin = await asyncpg.connect(server_url)
    try:
        # Whoever has a database of its own has the lock with it.
        if await admin.fetchval("SELECT pg_try_advisory_lock($1)", _IN_USE):
            names = await admin.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", _PREFIX)
            for (name,) in names:
                # A connection to it may still be ending.
                with suppress(asyncpg.ObjectInUseError):
                    await admin.execute(f"DROP DATABASE {name}")
    finally:
        await admin.close()


@dataclass(frozen=True)
class Database:
    """A database of the benchmark and its owner's connection."""

    owner_url: str
    owner: asyncpg.Connection

    @property
    def app_url(self) -> str:
        """The database as keno_app."""
        return self.url_as("keno_app")

    def url_as(self, role: str) -> str:
        """The database as a role: by logging in as it, or where the owner has a password, by becoming it."""
        parts = urlsplit(self.owner_url)
        userinfo, _, host = parts.netloc.rpartition("@")
        if ":" in userinfo:
            query = f"{parts.query}&role={role}" if parts.query else f"role={role}"
            return parts._replace(query=query).geturl()
        return parts._replace(netloc=f"{role}@{host}").geturl()


@asynccontextmanager
async def database(servers: Servers) -> AsyncIterator[Database]:
    """An empty database for the length of the block."""
    name = f"{_PREFIX}{secrets.token_hex(6)}"
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute("SELECT pg_advisory_lock_shared($1)", _IN_USE)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    url = urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()
    owner = await asyncpg.connect(url, server_settings=_OWNER_SETTINGS)
    try:
        yield Database(url, owner)
    finally:
        await owner.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@dataclass(frozen=True)
class Measured:
    """A run: bets, seconds from the first to the last answer, and the server's processor time."""

    bets: int
    wall_s: float
    server_cpu_s: float

    @property
    def rate(self) -> float:
        """Bets a second."""
        return self.bets / self.wall_s

    @property
    def server_us(self) -> float:
        """Microseconds of the server's processor time a bet."""
        return self.server_cpu_s / self.bets * 1e6


def cpu_seconds(pid: int) -> float:
    """What a process of one thread has run so far; raises OSError where it has ended."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def process_cpu_seconds(pid: int) -> float:
    """What all threads of a process have run so far, those that have ended included."""
    # What clock_getcpuclockid(3) gives for a process: to the nanosecond, where /proc counts hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


class ServerCpu:
    """The processor time of one database's backends, and of the server's writers in the background, since `started`.

    Backends that end are followed to within a few hundredths of a second of their end. The writers work for every
    database of the server: on a server with other users their share is noise.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._before: dict[int, float] = {}
        self._after: dict[int, float] = {}
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "ServerCpu":
        for pid in await self._pids():
            self._before[pid] = cpu_seconds(pid)
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._following is not None
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        for pid in {*self._after, *self._before, *await self._pids()}:
            with suppress(OSError):
                self._after[pid] = cpu_seconds(pid)

    @property
    def seconds(self) -> float:
        """The time taken; read it after the block."""
        return sum(after - self._before.get(pid, 0.0) for pid, after in self._after.items())

    async def _pids(self) -> list[int]:
        rows = await self._connection.fetch(
            """
            SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
                OR backend_type IN ('checkpointer', 'background writer', 'walwriter')
            """
        )
        return [row["pid"] for row in rows]

    async def _follow(self) -> None:
        while True:
            pids = await self._pids()
            for _ in range(_READS_A_LISTING):
                for pid in pids:
                    with suppress(OSError):
                        self._after[pid] = cpu_seconds(pid)
                await asyncio.sleep(_POLL_S)


async def check_local(connection: asyncpg.Connection) -> None:
    """Exits with an explanation where the server's processor time cannot be read from here."""
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    try:
        name = _name(pid)
        cpu_seconds(pid)
    except OSError:
        name = ""
    if not name.startswith("postgres"):
        raise SystemExit("the benchmark reads PostgreSQL's processor time: the server must run on this Linux machine")


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()
