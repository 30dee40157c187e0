"""Waits with one timer for all: what is late ends, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from gateway.lane.patience import Patience


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_comes_in_time_is_returned() -> None:
    async def value() -> int:
        await asyncio.sleep(0)
        return 7

    assert await Patience(10).wait(value()) == 7


async def test_what_does_not_come_ends_with_a_timeout_and_the_task_goes_on() -> None:
    patience = Patience(0.02)

    async def request() -> str:
        with pytest.raises(TimeoutError):
            await patience.wait(never())
        await asyncio.sleep(0)
        return "answered"

    assert await asyncio.gather(request(), request()) == ["answered", "answered"]


async def test_a_task_that_is_cancelled_from_elsewhere_is_cancelled_and_not_late() -> None:
    patience = Patience(10)
    waiting = asyncio.ensure_future(patience.wait(never()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_error_is_raised_as_it_is() -> None:
    async def broken() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await Patience(10).wait(broken())
