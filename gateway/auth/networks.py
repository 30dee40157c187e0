"""The address that a request of the REST API comes from."""

from __future__ import annotations

from gateway.auth.guard import Connection, peer, values_of
from keno.identity.networks import Address, caller


def address_of(connection: Connection, proxies_count: int) -> Address | None:
    """The address that a request comes from, as far as the proxies in front can be trusted."""
    return caller(peer(connection), values_of(connection.scope["headers"])("x-forwarded-for"), proxies_count)
