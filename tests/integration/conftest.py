"""What only the tests of the infrastructure need: both buses, and a broker connection that can be cut."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import pytest
from support.loop_thread import LoopThread

from keno.infra import delivery
from keno.infra.bus import Bus, DeadLetters
from keno.infra.local_bus import LocalBus
from keno.infra.rabbit_bus import RabbitBus
from keno.infra.rabbit_dead import RabbitDeadLetters

_CONSUMERS = ("wallet", "reporting")


class Cable:
    """A TCP connection to the broker, pulled at will: for tests of what a lost connection does."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._plugged = True

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self.pull()
            server.close()

    def pull(self) -> None:
        self._plugged = False
        for writer in self._writers:
            writer.transport.abort()

    def plug(self) -> None:
        self._plugged = True

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._plugged:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@pytest.fixture
async def cable(amqp_url: str) -> AsyncIterator[tuple[Cable, str]]:
    """The cable and the broker's URL at its near end."""
    parts = urlsplit(amqp_url)
    cable = Cable(parts.hostname or "127.0.0.1", parts.port or 5672)
    async with cable.laid() as port:
        userinfo, at, _ = parts.netloc.rpartition("@")
        yield cable, parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{port}").geturl()


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
