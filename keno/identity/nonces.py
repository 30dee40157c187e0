"""Nonces are spent once, over all gateways, in Redis.

Fails closed: where Redis does not answer, no request is let in. A Redis that loses its memory forgets the nonces of the
last two windows; what a replay could do then is bounded by transaction ids, which make bets and deposits idempotent.
Redis must run without evicting keys (`maxmemory-policy noeviction`).
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.errors import KenoError
from keno.identity.signature import WINDOW_MS

CLOCK_SKEW_MAX_MS: Final = 5_000
"""How far the clocks of two gateways may be apart before one of them could accept a nonce that the other one spent."""


class NonceStoreError(KenoError):
    """Redis could not say whether the nonce is new."""


class Nonces:
    """Spent nonces by key."""

    def __init__(self, redis: Redis, prefix: str = "keno:nonce:") -> None:
        self._redis = redis
        self._prefix = prefix

    async def spend(self, key_id: str, nonce: str, *, created_s: int, now_ms: int) -> bool:
        """True the first time, False for every other time while a signature of `created_s` can be accepted anywhere.

        Raises NonceStoreError.
        """
        ttl_ms = created_s * 1000 + WINDOW_MS - now_ms + CLOCK_SKEW_MAX_MS
        try:
            # A key id has no colon, so no two pairs of key and nonce share a name.
            stored = await self._redis.set(f"{self._prefix}{key_id}:{nonce}", b"", nx=True, px=max(ttl_ms, 1))
        except (RedisError, OSError) as error:
            raise NonceStoreError("the nonce store does not answer") from error
        return bool(stored)
