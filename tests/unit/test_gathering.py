"""What many ask of a server together: what goes in one exchange, who hears of a failure, and what is too much."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from keno.infra.gathering import Gathering


class Server:
    """Answers an exchange when it is told to."""

    def __init__(self) -> None:
        self.exchanges: list[list[int]] = []
        self.ends: list[asyncio.Future[None]] = []

    async def __call__(self, asked: Sequence[int]) -> list[str]:
        self.exchanges.append(list(asked))
        self.ends.append(asyncio.get_running_loop().create_future())
        await self.ends[-1]
        return [str(each) for each in asked]


class FullError(Exception):
    pass


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_while_an_exchange_is_away_goes_together_in_the_next() -> None:
    server = Server()
    gathering: Gathering[int, str] = Gathering(server, FullError)
    first = [gathering.ask(1), gathering.ask(2)]
    await turns()
    later = [gathering.ask(3), gathering.ask(4), gathering.ask(5)]
    await turns()
    assert server.exchanges == [[1, 2]]
    server.ends[0].set_result(None)
    await turns()
    assert server.exchanges == [[1, 2], [3, 4, 5]]
    server.ends[1].set_result(None)
    assert await asyncio.gather(*first, *later) == ["1", "2", "3", "4", "5"]


async def test_what_is_asked_a_turn_after_the_first_goes_with_it() -> None:
    server = Server()
    gathering: Gathering[int, str] = Gathering(server, FullError)
    first = gathering.ask(1)
    await asyncio.sleep(0)
    second = gathering.ask(2)
    await turns()
    assert server.exchanges == [[1, 2]]
    server.ends[0].set_result(None)
    assert await asyncio.gather(first, second) == ["1", "2"]


async def test_an_exchange_is_no_larger_than_allowed() -> None:
    server = Server()
    gathering: Gathering[int, str] = Gathering(server, FullError, exchange_max=2)
    asked = [gathering.ask(number) for number in range(5)]
    for number in range(3):
        await turns()
        server.ends[number].set_result(None)
    await asyncio.gather(*asked)
    assert server.exchanges == [[0, 1], [2, 3], [4]]


async def test_a_failure_reaches_all_of_its_exchange_and_the_next_is_tried() -> None:
    server = Server()
    gathering: Gathering[int, str] = Gathering(server, FullError)
    lost = [gathering.ask(1), gathering.ask(2)]
    await turns()
    kept = gathering.ask(3)
    server.ends[0].set_exception(OSError("gone"))
    assert [str(error) for error in await asyncio.gather(*lost, return_exceptions=True)] == ["gone", "gone"]
    await turns()
    server.ends[1].set_result(None)
    assert await kept == "3"


async def test_a_full_queue_refuses_at_once() -> None:
    server = Server()
    gathering: Gathering[int, str] = Gathering(server, FullError, queue_max=2)
    under_way = gathering.ask(1)
    await turns()
    queued = [gathering.ask(2), gathering.ask(3)]
    with pytest.raises(FullError):
        gathering.ask(4)
    server.ends[0].set_result(None)
    await turns()
    server.ends[1].set_result(None)
    assert await asyncio.gather(under_way, *queued) == ["1", "2", "3"]


async def test_who_no_longer_waits_disturbs_nobody_and_close_waits_for_the_rest() -> None:
    server = Server()
    gathering: Gathering[int, str] = Gathering(server, FullError)
    gone, stays = gathering.ask(1), gathering.ask(2)
    await turns()
    gone.cancel()
    closing = asyncio.ensure_future(gathering.close())
    await turns()
    assert not closing.done()
    server.ends[0].set_result(None)
    await closing
    assert await stays == "2"
