"""Processes that start before their servers, or with servers that refuse them."""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from support.cables import Cable, laid_cable, near_url
from support.databases import Database
from support.installation import Installation, installed, named_servers
from support.ports import free_port

from keno.errors import ConfigError
from keno.infra import rabbit_bus
from keno.infra.arrival import check_redis
from keno.infra.bus import BusError
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.redis import create_redis

LATE = ("KENO_DATABASE_URL", "KENO_REDIS_URL", "KENO_AMQP_URL")


class Late:
    """A server of the tests at another port, where nobody listens before it is there."""

    def __init__(self, url: str) -> None:
        self.port = free_port()
        self.url = near_url(url, self.port)
        self._cable = Cable(url)

    def there(self) -> AbstractAsyncContextManager[int]:
        return self._cable.laid(self.port)


@pytest.fixture
def named(database: Database, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return named_servers(database, redis_url, tmp_path / "keys")


async def test_a_process_that_starts_before_its_servers_serves_when_they_are_there(
    named: dict[str, str], amqp_url: str, rabbit_namespace: str
) -> None:
    late = {name: Late(url) for name, url in {**named, "KENO_AMQP_URL": amqp_url}.items() if name in LATE}
    urls = {name: each.url for name, each in late.items()} | {"KENO_AMQP_NAMESPACE": rabbit_namespace}
    with installed(**named | urls) as installation:
        async with AsyncExitStack() as there:
            installation.start("up")
            await _logged(installation, "up", "database.awaited")
            await there.enter_async_context(late["KENO_DATABASE_URL"].there())
            await _logged(installation, "up", "redis.missing", "server.started", "worker.step_failed")
            await there.enter_async_context(late["KENO_REDIS_URL"].there())
            await installation.ready()
            await there.enter_async_context(late["KENO_AMQP_URL"].there())
            assert await _consumers(amqp_url, f"{rabbit_namespace}.wallet") == 1
            # In a thread: the cables of its last words are of this loop.
            assert await asyncio.to_thread(installation.end, "up", signal.SIGTERM) == 0, installation.log_tail()
        assert installation.log.read_text().count('"database.awaited"') == 1


# The library leaves the sockets of attempts in the middle of a greeting to the collector of garbage.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_bus_whose_broker_does_not_greet_starts_later_and_leaves_nothing_behind(
    amqp_url: str, rabbit_namespace: str, monkeypatch: pytest.MonkeyPatch, *, hangs_up: bool
) -> None:
    monkeypatch.setattr(rabbit_bus, "_CONNECT_TIMEOUT_S", 0.2)
    late = Late(amqp_url)
    bus, before = RabbitBus(late.url, rabbit_namespace), asyncio.all_tasks()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not hangs_up:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(connect, "127.0.0.1", late.port):
        for _ in range(3):
            with pytest.raises(BusError, match="the broker can't be used"):
                await bus.start()
        assert not [task for task in asyncio.all_tasks() - before if "RobustConnection" in repr(task)]
    monkeypatch.undo()
    async with late.there():
        await bus.start()
        await bus.close()
    gc.collect()


async def test_a_process_that_waits_ends_when_it_is_told_to(named: dict[str, str]) -> None:
    nowhere = f"postgresql://keno_app@127.0.0.1:{free_port()}/keno"
    with installed(**named | {"KENO_DATABASE_URL": nowhere}) as installation:
        installation.start("run", "worker", "settler")
        await _logged(installation, "run worker settler", "database.awaited")
        assert installation.end("run worker settler", signal.SIGTERM) == 1
        assert "keno: PostgreSQL of KENO_DATABASE_URL cannot be reached" in installation.log_tail()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody_of_keno@{server}/{name}",
        "postgresql://keno_app@{server}/no_database_of_keno",
        "mysql://keno_app@{server}/{name}",
    ],
)
def test_a_database_that_refuses_is_an_error_that_names_the_setting(named: dict[str, str], url: str) -> None:
    server, _, name = named["KENO_DATABASE_URL"].rpartition("@")[2].partition("/")
    with installed(**named | {"KENO_DATABASE_URL": url.format(server=server, name=name)}) as installation:
        refused = installation.keno_here("operator", "add", "house", "--currency", "EUR")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("keno: KENO_DATABASE_URL cannot be used: ")


async def test_a_redis_that_refuses_is_an_error_that_names_the_setting(redis_url: str) -> None:
    async with laid_cable(redis_url) as (_, url), create_redis(urlsplit(url)._replace(path="/99999").geturl()) as redis:
        with pytest.raises(ConfigError, match="KENO_REDIS_URL cannot be used"):
            await check_redis(redis)


def test_a_broker_that_refuses_ends_a_process_with_one_line(named: dict[str, str], amqp_url: str) -> None:
    wrong = f"amqp://guest:wrong@{amqp_url.rpartition('@')[2]}"
    with installed(**named, KENO_AMQP_URL=wrong) as installation:
        refused = installation.keno("run", "worker", "settler")
    assert refused.returncode == 1
    assert "keno: KENO_AMQP_URL cannot be used: ACCESS_REFUSED" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_command_does_not_wait(named: dict[str, str]) -> None:
    nowhere = f"postgresql://keno_app@127.0.0.1:{free_port()}/keno"
    with installed(**named | {"KENO_DATABASE_URL": nowhere}) as installation:
        failed = installation.keno_here("operator", "add", "house", "--currency", "EUR")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("keno: PostgreSQL of KENO_DATABASE_URL cannot be reached: ConnectionRefusedError")


async def _logged(installation: Installation, name: str, *events: str) -> None:
    """Returns once the process has logged all of these."""
    for _ in range(300):
        assert installation.processes[name].poll() is None, installation.log_tail()
        if all(f'"{event}"' in installation.log.read_text() for event in events):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(installation.log_tail())


async def _consumers(url: str, name: str) -> int:
    """How many consume from a queue, as soon as one does."""
    async with await aio_pika.connect(url) as connection:
        for _ in range(300):
            try:
                channel = await connection.channel()
                found = (await channel.declare_queue(name, passive=True)).declaration_result.consumer_count
            except ChannelNotFoundEntity:
                found = 0
            if found:
                return found
            await asyncio.sleep(0.1)
    raise AssertionError(f"nobody consumes from {name}")
