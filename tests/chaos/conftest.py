"""What the tests of faults share: money on the floor, and brokers of their own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
from support.brokers import OwnBroker

from keno.infra import rabbit_bus
from workers import runner


@pytest.fixture
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbit_bus, "_RECONNECT_PAUSE_S", 0.1)
    monkeypatch.setattr(rabbit_bus, "_CONFIRM_TIMEOUT_S", 2.0)
    monkeypatch.setattr(runner, "_PAUSE_MAX_S", 0.5)


@pytest.fixture
async def own_broker() -> AsyncIterator[OwnBroker]:
    with tempfile.TemporaryDirectory(prefix="keno-broker-") as folder:
        broker = OwnBroker(Path(folder) / "node")
        try:
            await broker.start()
            yield broker
        finally:
            await asyncio.to_thread(broker.remove)


@pytest.fixture
async def namespace(amqp_url: str, amqp_namespace: str) -> AsyncIterator[str]:
    yield amqp_namespace
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        for queue in ("dead", "unrouted", "wallet", "reporting"):
            await channel.queue_delete(f"{amqp_namespace}.{queue}")
        for exchange in ("events", "dead", "unrouted"):
            await channel.exchange_delete(f"{amqp_namespace}.{exchange}")
