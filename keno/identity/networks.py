"""From where an operator's requests may come. Pure.

The allow-list is a second lock beside the signature, never instead of it. Without a list every address is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from keno.errors import KenoError
from keno.phrases import said

NETWORKS_MAX: Final = 64
# More than any address has, but for the scope of a local one: what is longer is not kept whole.
_ADDRESS_CHARS_MAX: Final = 64

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class NetworkError(KenoError):
    """Not a list of networks; the message says what would be right."""


class AddressNotAllowedError(KenoError):
    """The operator's requests do not come from this address."""


def checked_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks as they are kept: in order, each once; NetworkError for anything but CIDRs without host bits."""
    if len(texts) > NETWORKS_MAX:
        raise NetworkError(said("there are at most {most} networks", most=NETWORKS_MAX))
    networks = set()
    for text in texts:
        try:
            networks.add(ip_network(text))
        except ValueError:
            like = "{text!r} is not a network such as 203.0.113.0/24 or 2001:db8::/32"
            raise NetworkError(said(like, text=text)) from None
    return tuple(sorted(networks, key=lambda each: (each.version, int(each.network_address), each.prefixlen)))


def caller(peer: str | None, forwarded_for: Iterable[str], proxies_count: int) -> Address | None:
    """The address that a request comes from; None where it cannot be told. The arguments are those of `spelled`."""
    return address_of(spelled(peer, forwarded_for, proxies_count))


def spelled(peer: str | None, forwarded_for: Iterable[str], proxies_count: int) -> str:
    """The address that a request comes from as it is told, right or wrong: by a proxy, in at most 64 characters; empty
    where it isn't.

    `peer` is the other end of the connection, `forwarded_for` the X-Forwarded-For lines as they came. Each trusted
    proxy appends who called it, so the last `proxies_count` entries are true; what stands before them is anybody's.
    """
    if proxies_count == 0:
        return peer or ""
    entries = [entry.strip() for line in forwarded_for for entry in line.split(",")]
    return entries[-proxies_count][:_ADDRESS_CHARS_MAX] if len(entries) >= proxies_count else ""


@lru_cache(4_096)
def address_of(text: str) -> Address | None:
    """The address that is spelled like this; None where none is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families names IPv4 callers like this.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_allowed(networks: Sequence[Network], address: Address | None) -> bool:
    """Whether a request from this address may come in."""
    return not networks or (address is not None and any(address in network for network in networks))
