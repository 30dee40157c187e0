"""Holds those who are no operators to their limits: addresses that call, players, and their devices.

Without Redis nothing that can move money or a session goes on; reading does, uncounted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

from gateway.auth.entrance import sender_of
from gateway.auth.guard import Connection, Guard, peer
from gateway.auth.networks import address_of
from gateway.problems import ProblemError
from keno.phrases import said
from keno.risk import rates
from keno.risk.rates import Bucket, Rate, Standing
from keno.risk.service import LimitError, Limits

_TOO_MANY: Final = {
    "address": "more than {per_second} requests a second of this address: wait {wait_s} s",
    "player": "more than {per_second} requests a second of this player: wait {wait_s} s",
    "device": "more than {per_second} requests a second of this device: wait {wait_s} s",
}


def limited_by_address(limits: Limits, proxies_count: int) -> Guard:
    """A guard of what anybody may call. Raises ProblemError `rate_limited`, LimitError."""

    def buckets(connection: Connection) -> Sequence[Bucket]:
        return (rates.of_address(sender_of(address_of(connection, proxies_count), peer(connection))),)

    return _limited(limits, buckets)


def limited_by_player(limits: Limits) -> Guard:
    """A guard that comes after that of the session. Raises ProblemError `rate_limited`, LimitError."""

    def buckets(connection: Connection) -> Sequence[Bucket]:
        session = connection.scope["user"]
        return rates.of_session(session.player_id, session.id)

    return _limited(limits, buckets)


def _limited(limits: Limits, buckets_of: Callable[[Connection], Sequence[Bucket]]) -> Guard:
    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        buckets = buckets_of(connection)
        standings = await counted(limits, buckets, reads=connection.scope.get("method") == "GET")
        if standings is None:
            return
        known = _standings_of(connection.scope)
        known += [(each.kind, each.rate, standing) for each, standing in zip(buckets, standings, strict=True)]
        require_within(buckets, standings)

    return guard


async def counted(limits: Limits, buckets: Sequence[Bucket], *, reads: bool) -> Sequence[Standing] | None:
    """How the buckets stand after a request; None for one that only reads where Redis does not say it.

    Raises LimitError.
    """
    try:
        return await limits.take(buckets)
    except LimitError as error:
        if not reads or error.overloaded:
            raise
        return None


def require_within(buckets: Sequence[Bucket], standings: Sequence[Standing]) -> None:
    """Raises ProblemError `rate_limited` where a request has to wait."""
    for bucket, standing in zip(buckets, standings, strict=True):
        if standing.wait_us:
            wait_s = -(-standing.wait_us // 1_000_000)
            detail = said(_TOO_MANY[bucket.kind], per_second=bucket.rate.per_second, wait_s=wait_s)
            raise ProblemError("rate_limited", detail, retry_after_s=wait_s)


async def tell_limits(message: Message, scope: Scope) -> None:
    """Adds to every answer how the limits of its request stand, where it has any."""
    standings = _standings_of(scope)
    if not standings or message["type"] != "http.response.start":
        return
    there = {name.lower() for name, _ in message["headers"]}
    fields = [(name.lower().encode(), value.encode()) for name, value in rates.headers(*standings).items()]
    message["headers"] = [*message["headers"], *(each for each in fields if each[0] not in there)]


def _standings_of(scope: Scope) -> list[tuple[str, Rate, Standing]]:
    state: dict[str, Any] = scope["state"]
    standings: list[tuple[str, Rate, Standing]] = state.setdefault("limits", [])
    return standings
