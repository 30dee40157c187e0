"""Holds operators to the networks that they said they call from. Every server that takes signed requests calls this."""

from __future__ import annotations

from collections.abc import Iterable

from litestar.handlers import BaseRouteHandler

from gateway.auth.guard import Connection, Guard
from keno.identity.networks import Address, AddressNotAllowedError, caller, is_allowed
from keno.identity.operators import Operator


def require_allowed(operator: Operator, address: Address | None) -> None:
    """Raises AddressNotAllowedError where the operator does not call from this address."""
    if not is_allowed(operator.networks, address):
        raise AddressNotAllowedError(f"{operator.name} does not call from {address or 'an unknown address'}")


def networks_of_operator(proxies_count: int) -> Guard:
    """A guard that comes after that of the signature, which says who the operator is."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        require_allowed(connection.scope["user"], address_of(connection, proxies_count))

    return guard


def address_of(connection: Connection, proxies_count: int) -> Address | None:
    """The address that a request comes from, as far as the proxies in front can be trusted."""
    peer = connection.scope["client"]
    headers: Iterable[tuple[bytes, bytes]] = connection.scope["headers"]
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return caller(peer[0] if peer else None, lines, proxies_count)
