"""The client of a stock npm library (`tests/npm_client`) as a process that makes call after call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keno.identity.signature import HmacSecret, SigningKey, algorithm_of
from support.javascript import NODE

FOLDER = Path(__file__).parents[1] / "npm_client"
LINE_BYTES_MAX = 1024 * 1024


class NpmAnswer(NamedTuple):
    """`fault` is what the library says of the answer's signature, None where it is good."""

    status: int
    body: str
    fault: str | None


class NpmClient:
    """Calls of one operator, one after another."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, method: str, target: str, body: object = None) -> NpmAnswer:
        text = None if body is None else json.dumps(body)
        await self._write({"method": method, "target": target, "body": text})
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the client came to an unexpected end"
        return NpmAnswer(**json.loads(line))

    async def _write(self, value: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def npm_client(origin: str, key_id: str, key: SigningKey) -> AsyncIterator[NpmClient]:
    """The process, until the end of the block."""
    assert (FOLDER / "node_modules").is_dir(), "its packages are missing: `make setup` installs them"
    process = await asyncio.create_subprocess_exec(
        NODE,
        FOLDER / "client.mjs",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    try:
        client = NpmClient(process)
        who = {"origin": origin, "key_id": key_id, "algorithm": algorithm_of(key), "key": _written(key)}
        await client._write(who)
        yield client
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _written(key: SigningKey) -> str:
    if isinstance(key, HmacSecret):
        return key.secret.hex()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
