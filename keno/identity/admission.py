"""Lets authenticated requests in: a nonce once, and an operator within its rate, over all gateways, in Redis.

Both are one script (`admission.lua`), called once for all requests that wait at that moment: a request of its own costs
an order of magnitude more. Fails closed: where Redis does not answer, no request is let in. A Redis that loses its
memory forgets the nonces of the last two windows; what a replay could do then is bounded by transaction ids, which make
bets and deposits idempotent. Redis must run without evicting keys (`maxmemory-policy noeviction`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.errors import KenoError
from keno.identity.signature import WINDOW_MS
from keno.infra.gathering import Gathering
from keno.infra.redis import ScriptCaller
from keno.risk.rates import Rate, Standing

CLOCK_SKEW_MAX_MS: Final = 5_000
"""How far the clocks of two gateways may be apart before one of them could accept a nonce that the other one spent."""
TIMEOUT_S: Final = 1.0

_SCRIPT: Final = Path(__file__).with_name("admission.lua").read_text(encoding="ascii")


class AdmissionError(KenoError):
    """Redis could not say whether a request may be let in. `overloaded`: it was not even asked."""

    def __init__(self, message: str, *, overloaded: bool = False) -> None:
        super().__init__(message)
        self.overloaded = overloaded


class Admission(msgspec.Struct, frozen=True, gc=False):
    """What became of a request. `standing` is its operator's; a replayed nonce takes nothing."""

    replayed: bool
    standing: Standing

    @property
    def limited(self) -> bool:
        """Whether the request is more than its operator may send now."""
        return self.standing.wait_us > 0


class _Asked(msgspec.Struct, frozen=True, gc=False):
    nonce: str
    ttl_ms: int
    operator_id: UUID
    rate: Rate
    cost: int


class Admissions:
    """Spent nonces by key, and buckets by operator."""

    def __init__(self, redis: Redis, prefix: str = "keno:") -> None:
        self._prefix = prefix
        self._script = ScriptCaller(redis, _SCRIPT, timeout_s=TIMEOUT_S)
        self._gathering: Gathering[_Asked, Admission] = Gathering(
            self._exchange, lambda: AdmissionError("too many requests wait for Redis", overloaded=True)
        )

    def ask(
        self, key_id: str, nonce: str, operator_id: UUID, rate: Rate, cost: int, *, created_s: int, now_ms: int
    ) -> asyncio.Future[Admission]:
        """Spends the nonce while a signature of `created_s` can be accepted anywhere, and takes `cost` from the bucket.

        The future raises AdmissionError, as this does where too many wait.
        """
        ttl_ms = created_s * 1000 + WINDOW_MS - now_ms + CLOCK_SKEW_MAX_MS
        # A key id has no colon, so no two pairs of key and nonce share a name.
        return self._gathering.ask(
            _Asked(f"{self._prefix}nonce:{key_id}:{nonce}", max(ttl_ms, 1), operator_id, rate, cost)
        )

    async def close(self) -> None:
        """Answers everybody who waits, and closes the connection."""
        await self._gathering.close()
        await self._script.close()

    async def _exchange(self, asked: Sequence[_Asked]) -> list[Admission]:
        # One bucket has one rate in an exchange: where a change of it just comes in, the newer one.
        # By integers: a UUID hashes itself in Python.
        buckets = {each.operator_id.int: each for each in asked}
        places = {operator: place for place, operator in enumerate(buckets, 1)}
        keys = [each.nonce for each in asked] + [f"{self._prefix}bets:{each.operator_id}" for each in buckets.values()]
        arguments: list[int | float] = [len(asked)]
        for each in asked:
            arguments += (each.ttl_ms, places[each.operator_id.int], each.cost)
        for each in buckets.values():
            arguments += (each.rate.interval_us, each.rate.window_us)
        try:
            answers = await self._script.call(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise AdmissionError("Redis does not answer") from error
        columns = answers[0::4], answers[1::4], answers[2::4], answers[3::4]
        return [
            Admission(outcome == 1, Standing(remaining, full_us, wait_us))
            for outcome, remaining, full_us, wait_us in zip(*columns, strict=True)
        ]
