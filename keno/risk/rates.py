"""Rates: how many bets a second an operator may send, and what its requests are told about that. Pure.

A bucket holds `burst` bets and refills evenly with `per_second` of them; a request takes what it costs or is refused.
That is the generic cell rate algorithm (GCRA): all it remembers is the instant at which the bucket will be full again.
Where the buckets are kept, and against which clock, is the business of `keno.identity.admission`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

BURST_MIN = 1_000
"""A bucket holds a second's worth, and never less than the largest batch: what can never fit could never be sent."""
PER_SECOND_DEFAULT = 10_000
PER_SECOND_MAX = 1_000_000


class Rate(NamedTuple):
    """A limit of an operator: `per_second` is 1 to PER_SECOND_MAX."""

    per_second: int

    @property
    def burst(self) -> int:
        """How much a full bucket holds."""
        return max(self.per_second, BURST_MIN)

    @property
    def interval_us(self) -> float:
        """How long the bucket takes to refill by one."""
        return 1_000_000 / self.per_second

    @property
    def window_us(self) -> float:
        """How long an empty bucket takes to be full."""
        return self.burst * self.interval_us


class Standing(NamedTuple):
    """How a bucket stands after a request: what it still holds, and in how many microseconds it is full.

    `wait_us` is 0 for a request that was let in, else how long until it would be.
    """

    remaining: int
    full_us: int
    wait_us: int


def headers(rate: Rate, standing: Standing) -> dict[str, str]:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), and Retry-After for one that must wait."""
    fields = {
        "RateLimit-Policy": _policy(rate),
        "RateLimit": f'"bets";r={standing.remaining};t={_seconds(standing.full_us)}',
    }
    if standing.wait_us:
        fields["Retry-After"] = str(_seconds(standing.wait_us))
    return fields


@lru_cache(4_096)
def _policy(rate: Rate) -> str:
    return f'"bets";q={rate.burst};w={_seconds(int(rate.window_us))}'


def _seconds(us: int) -> int:
    return -(-us // 1_000_000)
