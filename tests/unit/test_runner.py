"""A worker's life: through failures that pass, never through bugs."""

import asyncio
import os
import signal

import asyncpg
import pytest
import redis.exceptions

from keno.infra.bus import BusError
from workers import runner


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(runner, "_PAUSE_MAX_S", 0.002)


class Steps:
    """A step that does what is next on a list, and stops the worker at its end."""

    def __init__(self, *steps: float | Exception) -> None:
        self.stop = asyncio.Event()
        self.taken = 0
        self._steps = steps

    async def __call__(self) -> float:
        outcome = self._steps[self.taken]
        self.taken += 1
        if self.taken == len(self._steps):
            self.stop.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_a_worker_steps_until_it_is_stopped() -> None:
    steps = Steps(0, 0.001, 0)
    await runner.run("settler", steps, steps.stop)
    assert steps.taken == 3


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.SerializationError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.LockNotAvailableError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("cannot call Connection.fetch(): connection has been released back to the pool"),
        asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
        redis.exceptions.ConnectionError(),
        redis.exceptions.TimeoutError(),
        BusError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_worker_goes_on_after_a_failure_that_passes(failure: Exception) -> None:
    steps = Steps(failure, failure, 0, failure, 0)
    await runner.run("settler", steps, steps.stop)
    assert steps.taken == 5


@pytest.mark.parametrize(
    "bug",
    [
        KeyError("a bug"),
        AssertionError(),
        asyncpg.UniqueViolationError(),
        asyncpg.InsufficientPrivilegeError(),
        asyncpg.InterfaceError("the server expects 2 arguments, 1 was passed"),
        redis.exceptions.ResponseError(),
    ],
    ids=lambda bug: type(bug).__name__,
)
async def test_a_bug_ends_the_worker(bug: Exception) -> None:
    steps = Steps(0, bug, 0)
    with pytest.raises(type(bug)):
        await runner.run("settler", steps, steps.stop)
    assert steps.taken == 2


async def test_a_resting_worker_ends_as_soon_as_it_is_stopped() -> None:
    resting, stop = asyncio.Event(), asyncio.Event()

    async def step() -> float:
        resting.set()
        return 3_600

    worker = asyncio.create_task(runner.run("settler", step, stop))
    await resting.wait()
    stop.set()

    async with asyncio.timeout(60):
        await worker


async def test_a_step_under_way_is_finished_when_the_worker_is_stopped() -> None:
    stop, finished = asyncio.Event(), asyncio.Event()

    async def step() -> float:
        stop.set()
        await asyncio.sleep(0.01)
        finished.set()
        return 3_600

    await runner.run("settler", step, stop)
    assert finished.is_set()


async def test_a_worker_that_never_rests_lets_others_run() -> None:
    stop = asyncio.Event()

    async def step() -> float:
        return 0

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(runner.run("settler", step, stop))
        await asyncio.sleep(0.01)
        stop.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_and_its_handler_is_taken_down_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    async with runner.stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(60):
            await stop.wait()
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)
