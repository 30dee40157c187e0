"""Whom the failures of a request count for, and from where an operator's request may come."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, cast

import pytest

from gateway.auth.entrance import Entrance, sender_of
from gateway.auth.origins import Origins
from keno.identity.service import IdentityService

ORIGINS = Origins(["https://keno.example"])
NOBODY = cast(IdentityService, None)


def sender(peer: str, *forwarded: str, proxies: int = 0) -> str:
    fields: dict[str, Any] = {"x-forwarded-for": forwarded}
    return Entrance(NOBODY, ORIGINS, proxies).caller(peer, fields.__getitem__)[1]


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        (("198.51.100.7",), 1, "198.51.100.7"),
        (("1.1.1.1, 198.51.100.7",), 1, "198.51.100.7"),
        (("1.1.1.1", "198.51.100.7"), 1, "198.51.100.7"),
        (("1.1.1.1, 198.51.100.7", "10.0.0.2"), 2, "198.51.100.7"),
        (("1.1.1.1",), 0, "10.1.2.3"),
    ],
)
def test_the_trusted_proxies_say_who_sent_a_request(forwarded: tuple[str, ...], proxies: int, expected: str) -> None:
    assert sender("10.1.2.3", *forwarded, proxies=proxies) == expected


@pytest.mark.parametrize("forwarded", [(), ("x" * 1_000,), ("nonsense",)])
def test_whoever_hides_the_address_counts_as_the_connection_it_came_over(forwarded: tuple[str, ...]) -> None:
    assert sender("10.1.2.3", *forwarded, proxies=1) == "10.1.2.3"
    assert sender("no address", *forwarded) == "no address"


def test_a_network_of_ipv6_counts_as_one_sender() -> None:
    assert sender("2001:db8::1") == sender("2001:db8::ffff:1")
    assert sender("2001:db8::1") != sender("2001:db8:0:1::1")
    assert sender_of(ip_address("192.0.2.1"), "") == sender("::ffff:192.0.2.1")
