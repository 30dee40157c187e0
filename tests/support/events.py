"""Events for the tests of the buses, a handler that remembers them, and ways to wait for what a broker does."""

import asyncio
import uuid
from collections.abc import Callable

import aio_pika

from keno.infra.bus import Event

PATIENCE_S = 30


def event(routing_key: str = "round.settled", aggregate: str = "room:1", data: bytes = b"{}") -> Event:
    return Event(uuid.uuid4(), routing_key, aggregate, 1_790_000_000_123, data)


class Recorder:
    """A handler that remembers what it got, and fails for as long as `failure` gives an error."""

    def __init__(self, failure: Callable[[Event], Exception | None] = lambda _: None) -> None:
        self.calls: list[tuple[Event, ...]] = []
        self.attempts: list[Event] = []
        self.handled: list[Event] = []
        self._failure = failure

    async def __call__(self, *arrived: Event) -> None:
        self.calls.append(arrived)
        self.attempts += arrived
        for each in arrived:
            if failure := self._failure(each):
                raise failure
        self.handled += arrived


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the conditions are plain lists, filled by handlers
            await asyncio.sleep(0.01)


async def next_message(url: str, queue_name: str) -> aio_pika.abc.AbstractIncomingMessage:
    async with asyncio.timeout(PATIENCE_S), await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue(queue_name)
        while True:
            message = await queue.get(fail=False)
            if message is not None:
                await message.ack()
                return message
            await asyncio.sleep(0.05)
