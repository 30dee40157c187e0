"""Rates: how many bets a second an operator may send, how often others may call, and what requests are told. Pure.

A bucket holds `burst` and refills evenly with `per_second`; a request takes what it costs or is refused. That is the
generic cell rate algorithm (GCRA): all it remembers is the instant at which the bucket will be full again. Where the
buckets are kept, and against which clock, is the business of `keno.identity.admission` and `keno.risk.service`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

BURST_MIN = 1_000
"""A bucket holds a second's worth, and never less than the largest batch: what can never fit could never be sent."""
PER_SECOND_DEFAULT = 10_000
PER_SECOND_MAX = 1_000_000


class Rate(NamedTuple):
    """A limit: `per_second` is 1 to PER_SECOND_MAX."""

    per_second: int
    burst_min: int = BURST_MIN

    @property
    def burst(self) -> int:
        """How much a full bucket holds."""
        return max(self.per_second, self.burst_min)

    @property
    def interval_us(self) -> float:
        """How long the bucket takes to refill by one."""
        return 1_000_000 / self.per_second

    @property
    def window_us(self) -> float:
        """How long an empty bucket takes to be full."""
        return self.burst * self.interval_us


class Standing(msgspec.Struct, frozen=True, gc=False):
    """How a bucket stands after a request: what it still holds, and in how many microseconds it is full.

    `wait_us` is 0 for a request that was let in, else how long until it would be.
    """

    remaining: int
    full_us: int
    wait_us: int


class Bucket(NamedTuple):
    """A limit of somebody: `kind` is what clients are told, `name` tells those of a kind apart."""

    kind: str
    name: str
    rate: Rate


ADDRESS: Final = Rate(200, 2_000)
"""Of an address, or a network of IPv6: a whole town can have one."""
PLAYER: Final = Rate(30, 120)
DEVICE: Final = Rate(20, 80)
"""Of a session: each launch of a player is one, on one device."""


def of_address(sender: str) -> Bucket:
    """The bucket of an address, or of a network of IPv6."""
    return Bucket("address", sender, ADDRESS)


def of_session(player_id: int, session_id: str) -> tuple[Bucket, Bucket]:
    """The buckets of a player in a session."""
    return Bucket("player", str(player_id), PLAYER), Bucket("device", session_id, DEVICE)


def headers(*standings: tuple[str, Rate, Standing]) -> dict[str, str]:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), and Retry-After for one that must wait.

    `standings` are each the kind of a bucket, its rate, and how it stands.
    """
    policies, states, wait_us = [], [], 0
    for kind, rate, standing in standings:
        policies.append(_policy(kind, rate))
        states.append(f'"{kind}";r={standing.remaining};t={_seconds(standing.full_us)}')
        wait_us = max(wait_us, standing.wait_us)
    fields = {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
    if wait_us:
        fields["Retry-After"] = str(_seconds(wait_us))
    return fields


@lru_cache(4_096)
def _policy(kind: str, rate: Rate) -> str:
    return f'"{kind}";q={rate.burst};w={_seconds(int(rate.window_us))}'


def _seconds(us: int) -> int:
    return -(-us // 1_000_000)
