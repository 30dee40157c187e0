"""A Redis database for each test: the server has 16, number 0 keeps who has borrowed which."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from redis.asyncio import Redis

_NUMBERS = range(1, 16)
# A test that was killed gives its database back after this.
_BORROWED_S = 600


@asynccontextmanager
async def borrow_keyspace(server_url: str) -> AsyncIterator[str]:
    """The URL of a database that is empty and ours until the end of the block."""
    token = uuid.uuid4().hex
    async with Redis.from_url(server_url) as register:
        number = await _borrow(register, token)
        url = _database_url(server_url, number)
        async with Redis.from_url(url) as client:
            await client.flushdb()
            yield url
            await client.flushdb()
        if await register.get(_key(number)) == token.encode():
            await register.delete(_key(number))


async def _borrow(register: Redis, token: str) -> int:
    while True:
        for number in _NUMBERS:
            if await register.set(_key(number), token, nx=True, ex=_BORROWED_S):
                return number
        await asyncio.sleep(0.1)


def _key(number: int) -> str:
    return f"keno-test:borrowed:{number}"


def _database_url(server_url: str, number: int) -> str:
    parts = urlsplit(server_url)
    if parts.scheme == "unix":
        return parts._replace(query=f"db={number}").geturl()
    return parts._replace(path=f"/{number}").geturl()
