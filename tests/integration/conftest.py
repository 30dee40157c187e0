"""What several tests need: a gateway, both buses, and a broker connection that can be cut."""

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from argon2 import PasswordHasher
from support import anvil
from support.anchors import Site, open_site
from support.anvil import Anvil
from support.cables import Cable, laid_cable
from support.commands import Keno, keno_here
from support.databases import Database
from support.gateway import Gateway, open_gateway
from support.loop_thread import LoopThread
from support.rounds import Hall

from keno.identity import admission, staff_service
from keno.infra import delivery
from keno.infra.bus import Bus, DeadLetters
from keno.infra.local_bus import LocalBus
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.rabbit_dead import RabbitDeadLetters
from keno.risk import service as risk_service

_CONSUMERS = ("wallet", "reporting", "notifier")


@pytest.fixture
async def gateway(
    request: pytest.FixtureRequest, database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """The gateway; with the parameter "lane", bets go to the lane instead of the gateway's own routes."""
    on_lane = getattr(request, "param", "route") == "lane"
    async with open_gateway(database, owner_pool, redis_url, tmp_path, bets_on_lane=on_lane) as opened:
        yield opened


@pytest.fixture
def keno(gateway: Gateway, database: Database, redis_url: str) -> Keno:
    """Runs `keno` on the installation of the gateway."""
    environment = os.environ | {
        "KENO_DATABASE_URL": database.app_url,
        "KENO_REDIS_URL": redis_url,
        "KENO_KEYS_DIR": str(gateway.platform.config.keys_dir),
    }
    return partial(keno_here, environment)


@pytest.fixture
def node() -> Iterator[Anvil]:
    """An Ethereum of the test's own."""
    with anvil.running() as started:
        yield started


@pytest.fixture
async def site(hall: Hall, node: Anvil) -> AsyncIterator[Site]:
    async with open_site(hall, node) as opened:
        yield opened


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing a password costs a tenth of a second and 64 MB, on purpose; a test for which that counts undoes this."""
    cheap = partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(staff_service, "PasswordHasher", cheap)


@pytest.fixture(autouse=True)
def patience_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that shares its disk with the databases of all tests stalls for a second now and then."""
    for module in (admission, risk_service):
        monkeypatch.setattr(module, "TIMEOUT_S", 4.0)


@pytest.fixture
async def cable(amqp_url: str) -> AsyncIterator[tuple[Cable, str]]:
    """The cable and the broker's URL at its near end."""
    async with laid_cable(amqp_url) as laid:
        yield laid


@pytest.fixture
def rabbit_namespace(amqp_url: str, amqp_namespace: str, session_loop: LoopThread) -> Iterator[str]:
    """A namespace whose exchanges and queues are removed after the test."""
    yield amqp_namespace
    session_loop.run(_remove(amqp_url, amqp_namespace))


async def _remove(url: str, namespace: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in ("dead", "unrouted", *_CONSUMERS):
            await channel.queue_delete(f"{namespace}.{queue}")
        for exchange in ("events", "dead", "unrouted"):
            await channel.exchange_delete(f"{namespace}.{exchange}")


@pytest.fixture(params=["local", "rabbit"])
async def bus(request: pytest.FixtureRequest, pool: asyncpg.Pool) -> AsyncIterator[Bus]:
    """A bus of each kind, not started yet. What holds for both is tested once, with this."""
    made: Bus
    if request.param == "local":
        made = LocalBus(pool)
    else:
        made = RabbitBus(request.getfixturevalue("amqp_url"), request.getfixturevalue("rabbit_namespace"))
    yield made
    await made.close()


@pytest.fixture
def dead_letters(bus: Bus, request: pytest.FixtureRequest) -> DeadLetters:
    """The dead of `bus`."""
    if isinstance(bus, LocalBus):
        return bus
    return RabbitDeadLetters(request.getfixturevalue("amqp_url"), request.getfixturevalue("rabbit_namespace"))


@pytest.fixture
def quick_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that fails is asked again at once."""
    monkeypatch.setattr(delivery, "_PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(delivery, "_PAUSE_MAX_S", 0.001)
