"""Limits of who is no operator: players, their devices and the addresses they call from, over all gateways, in Redis.

A request takes its cost from all of its buckets or from none; all requests that wait at that moment are one call of a
script (`buckets.lua`). Operators have their own bucket beside the nonce of the request, in `keno.identity.admission`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.errors import KenoError
from keno.infra.gathering import Gathering
from keno.infra.redis import ScriptCaller
from keno.risk.rates import Bucket, Standing

TIMEOUT_S: Final = 1.0

_SCRIPT: Final = Path(__file__).with_name("buckets.lua").read_text(encoding="ascii")


class LimitError(KenoError):
    """Redis could not say whether a request is within its limits. `overloaded`: it was not even asked."""

    def __init__(self, message: str, *, overloaded: bool = False) -> None:
        super().__init__(message)
        self.overloaded = overloaded


class _Asked(NamedTuple):
    buckets: tuple[Bucket, ...]
    cost: int


class Limits:
    """Buckets by kind and name."""

    def __init__(self, redis: Redis, prefix: str = "keno:") -> None:
        self._prefix = prefix
        self._script = ScriptCaller(redis, _SCRIPT, timeout_s=TIMEOUT_S)
        self._gathering: Gathering[_Asked, tuple[Standing, ...]] = Gathering(
            self._exchange, lambda: LimitError("too many requests wait for Redis", overloaded=True)
        )

    def take(self, buckets: Sequence[Bucket], cost: int = 1) -> asyncio.Future[tuple[Standing, ...]]:
        """How each bucket stands after the request; it was let in where none of them has to wait.

        The future raises LimitError, as this does where too many wait.
        """
        return self._gathering.ask(_Asked(tuple(buckets), cost))

    async def close(self) -> None:
        """Answers everybody who waits, and closes the connection."""
        await self._gathering.close()
        await self._script.close()

    async def _exchange(self, asked: Sequence[_Asked]) -> list[tuple[Standing, ...]]:
        names = [[f"{self._prefix}bucket:{each.kind}:{each.name}" for each in request.buckets] for request in asked]
        rates = {
            name: bucket.rate
            for request, its_names in zip(asked, names, strict=True)
            for bucket, name in zip(request.buckets, its_names, strict=True)
        }
        places = {name: place for place, name in enumerate(rates, 1)}
        arguments: list[int | float] = []
        for rate in rates.values():
            arguments += (rate.interval_us, rate.window_us)
        for request, its_names in zip(asked, names, strict=True):
            arguments += (request.cost, len(its_names), *(places[name] for name in its_names))
        try:
            told = iter(await self._script.call(list(rates), arguments))
        except (RedisError, OSError, TimeoutError) as error:
            raise LimitError("Redis does not answer") from error
        return [tuple(Standing(next(told), next(told), next(told)) for _ in request.buckets) for request in asked]
