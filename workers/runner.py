"""The life of a worker: step after step until it is told to stop, through failures that pass by themselves.

A bug is not one of those: it ends the worker with its traceback, and whoever started the process decides. Not here:
what a step does.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from keno.infra.transient import is_transient

_PAUSE_MIN_S = 0.05
_PAUSE_MAX_S = 5.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

failing: set[str] = set()
"""The workers of this process whose last step failed, and will be tried again."""

_log = structlog.get_logger(__name__)


async def run(
    name: str, step: Callable[[], Awaitable[float]], stop: asyncio.Event, pause_max_s: float | None = None
) -> None:
    """Calls `step` until `stop` is set; a step that is under way then is finished.

    `step` returns how many seconds to rest before the next one, 0 for none. After a transient failure
    (`keno.infra.transient`) it is called again after a pause that doubles up to `pause_max_s`, 5 s unless given;
    others are raised.
    """
    pause_max_s = _PAUSE_MAX_S if pause_max_s is None else pause_max_s
    failures = 0
    pause_s = _PAUSE_MIN_S
    while not stop.is_set():
        try:
            rest_s = await step()
        except Exception as failure:
            if not is_transient(failure):
                raise
            failures += 1
            failing.add(name)
            rest_s = pause_s
            pause_s = min(2 * pause_s, pause_max_s)
            _log.warning("worker.step_failed", worker=name, failures=failures, retry_in_s=rest_s, exc_info=failure)
        else:
            if failures:
                _log.info("worker.recovered", worker=name, failures=failures)
            failures = 0
            failing.discard(name)
            pause_s = _PAUSE_MIN_S
        await _rest(rest_s, stop)
    failing.discard(name)


async def _rest(rest_s: float, stop: asyncio.Event) -> None:
    if rest_s <= 0:
        # Even a worker that never rests lets the others of its process run.
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(rest_s):
            await stop.wait()
    except TimeoutError:
        pass


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets, for as long as the block lasts; main thread only."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
