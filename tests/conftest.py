"""Servers and databases for every test that asks for them. A test that asks for none starts none.

PostgreSQL, Redis and RabbitMQ are those of KENO_TEST_DATABASE_URL, KENO_TEST_REDIS_URL and KENO_TEST_AMQP_URL, else
those on their usual loopback ports, else servers started for the run: the first two from their wheels, the broker from
Debian's package. Every test has a database, a Redis database's keys and a broker namespace of its own.
"""

import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from support.brokers import SharedBroker, find_broker
from support.databases import Database, Databases, sync_nothing
from support.keyspaces import borrow_keyspace
from support.loop_thread import LoopThread
from support.money import Floor, open_floor
from support.rounds import Hall, open_hall

from benchmarks.servers import Servers, find_redis
from keno.infra.embedded import EmbeddedServers
from keno.infra.postgres import create_pool
from keno.infra.redis import create_redis
from keno.wallet.service import WalletService

# Set by the process that starts the others, which inherit it.
_RUN = os.environ.setdefault("KENO_TEST_RUN", uuid.uuid4().hex[:12])
_RUN_FOLDER = Path(tempfile.gettempdir()) / f"keno-test-{_RUN}"
_POOL_CONNECTIONS_MAX = 4


def pytest_collection_finish() -> None:
    """Keeps what is loaded out of every collection of garbage to come, which else goes through all of it."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Removes what the run left in its folder, once its other processes have ended."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(_RUN_FOLDER, ignore_errors=True)


@pytest.fixture(scope="session")
def session_loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """A folder that all processes of this run share.

    Not pytest's: as root, each pytest that starts closes the folder above them all to the servers' account.
    """
    _RUN_FOLDER.mkdir(mode=0o700, exist_ok=True)
    return _RUN_FOLDER


@pytest.fixture(scope="session")
def services(session_loop: LoopThread, run_folder: Path) -> Iterator[Servers]:
    """A PostgreSQL of the run's own and a Redis that answers, or one of the run's own.

    The PostgreSQL does not wait for its disk: to create and drop a database for each test takes a tenth of the time.
    """
    database_url = os.environ.get("KENO_TEST_DATABASE_URL")
    redis_url = session_loop.run(find_redis())
    if database_url and redis_url:
        yield Servers(database_url, redis_url)
        return
    # Every process of the run holds the same servers; the last to let go stops them.
    servers = session_loop.run(EmbeddedServers.start(run_folder / "servers"))
    session_loop.run(sync_nothing(servers.database_url))
    yield Servers(database_url or servers.database_url, redis_url or servers.redis_url)
    session_loop.run(servers.stop())


@pytest.fixture(scope="session")
def broker(session_loop: LoopThread, run_folder: Path) -> Iterator[str]:
    found = session_loop.run(find_broker())
    if found:
        yield found
        return
    shared = SharedBroker(run_folder / "broker")
    yield session_loop.run(shared.open())
    shared.close()


@pytest.fixture(scope="session")
def databases(services: Servers, session_loop: LoopThread, worker_id: str) -> Iterator[Databases]:
    made = Databases(services.database_url, _RUN, worker_id, session_loop)
    yield made
    made.close()


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    """A migrated, empty database for this test alone."""
    made = databases.create()
    yield made
    databases.drop(made)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    """Connections in the role of the services."""
    async with await create_pool(database.app_url, connections_max=_POOL_CONNECTIONS_MAX) as made:
        yield made


@pytest.fixture
async def owner_pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the schema's owner, who may do what only triggers refuse."""
    async with await create_pool(database.owner_url, connections_max=_POOL_CONNECTIONS_MAX) as made:
        yield made


@pytest.fixture
async def vault_pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the vault's role."""
    async with await create_pool(database.vault_url, connections_max=_POOL_CONNECTIONS_MAX) as made:
        yield made


@pytest.fixture
async def hall(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Hall]:
    """The services of rounds without a room, on a clock that the test moves."""
    async with open_hall(pool, vault_pool, owner_pool) as opened:
        yield opened


@pytest.fixture
async def floor(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    """A hall with an operator, a funded player and a round on sale. One with other rules: `open_floor`."""
    async with open_floor(pool, vault_pool, owner_pool) as opened:
        yield opened


@pytest.fixture
def wallet(floor: Floor) -> WalletService:
    return WalletService(floor.pool)


@pytest.fixture
async def redis_url(services: Servers) -> AsyncIterator[str]:
    """An empty Redis database that no other test uses meanwhile: FLUSHDB is fine in it, FLUSHALL is not."""
    async with borrow_keyspace(services.redis_url) as url:
        yield url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = create_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def amqp_url(broker: str) -> str:
    """A RabbitMQ broker; what is declared on it goes under `amqp_namespace`."""
    return broker


@pytest.fixture
def amqp_namespace() -> str:
    """A name for exchanges and queues that no other test uses."""
    return f"keno-test-{uuid.uuid4().hex[:12]}"
