"""Slows down who guesses: after some failures each further try has to wait, twice as long each time.

A try counts as a failure before it is judged, in one script, so that tries at once can't slip through together; a
success takes it back. Counted in Redis over all gateways. Fails closed: without Redis nobody may try.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Network
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.errors import KenoError

WAIT_MAX_MS: Final = 15 * 60_000
MEMORY_MS: Final = 24 * 3_600_000
"""How long failures are remembered after the last of them."""
# Else a guesser would only have to wait until all was forgotten.
assert MEMORY_MS > WAIT_MAX_MS  # noqa: S101

_TRY: Final = """
local failures, until_ms = unpack(redis.call('HMGET', KEYS[1], 'failures', 'until_ms'))
local now_ms, free = tonumber(ARGV[1]), tonumber(ARGV[2])
until_ms = tonumber(until_ms or '0')
if until_ms > now_ms then return until_ms - now_ms end
failures = tonumber(failures or '0') + 1
until_ms = 0
if failures >= free then
    until_ms = now_ms + math.min(1000 * 2 ^ math.min(failures - free, 30), tonumber(ARGV[3]))
end
redis.call('HSET', KEYS[1], 'failures', failures, 'until_ms', string.format('%.0f', until_ms))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 0
"""
_TAKE_BACK: Final = """
local failures = tonumber(redis.call('HGET', KEYS[1], 'failures') or '0')
if failures > 0 then redis.call('HSET', KEYS[1], 'failures', failures - 1, 'until_ms', 0) end
return 0
"""


class LockedError(KenoError):
    """Too many failures: the next try may come after `wait_ms`."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__(f"locked for {wait_ms} ms more")
        self.wait_ms = wait_ms


class LockoutStoreError(KenoError):
    """Redis could not say whether a try may be made."""


class Guessed(NamedTuple):
    """What is guessed at or from, and how many failures of it cost nothing. If `forgiving`, a success forgets them."""

    kind: str
    name: str
    free_failures: int
    forgiving: bool


def account(name: str) -> Guessed:
    """An account by its name, whether there is one or not."""
    return Guessed("account", name, 5, forgiving=True)


def address(text: str) -> Guessed:
    """An address that many may share, of IPv6 its /64: whoever has one of those has all.

    One good login among guesses does not make them forgotten.
    """
    network = str(IPv6Network((text, 64), strict=False)) if ":" in text else text
    return Guessed("address", network, 20, forgiving=False)


class Lockout:
    """Failures of logins."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin(self, guessed: Guessed, now_ms: int) -> None:
        """Count a try that is about to be judged. Raises LockedError, LockoutStoreError."""
        wait_ms = await self._run(_TRY, guessed, now_ms, guessed.free_failures, WAIT_MAX_MS, MEMORY_MS)
        if wait_ms:
            raise LockedError(int(wait_ms))

    async def succeed(self, guessed: Guessed) -> None:
        """Take back a try that was right. Raises LockoutStoreError."""
        await self._run("return redis.call('DEL', KEYS[1])" if guessed.forgiving else _TAKE_BACK, guessed)

    async def _run(self, script: str, guessed: Guessed, *arguments: int) -> Any:
        digest = hashlib.sha256(guessed.name.encode()).hexdigest()
        try:
            return await self._redis.eval(script, 1, f"keno:lockout:{guessed.kind}:{digest}", *arguments)
        except (RedisError, OSError) as error:
            raise LockoutStoreError("the store of failed logins does not answer") from error
