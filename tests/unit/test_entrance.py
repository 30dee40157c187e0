"""Whom the failures of a request count for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.auth.entrance import Entrance
from gateway.auth.origins import Origins
from keno.errors import ConfigError
from keno.identity.service import IdentityService

ORIGINS = Origins(["https://keno.example"])
NOBODY = cast(IdentityService, None)


def address(peer: str, *forwarded: str, proxies: tuple[str, ...] = ("10.0.0.0/8", "::1")) -> str:
    fields: dict[str, Any] = {"x-forwarded-for": forwarded}
    return Entrance(NOBODY, ORIGINS, proxies).address(peer, fields.__getitem__)


def test_a_trusted_proxy_says_who_sent_a_request_and_its_last_word_counts() -> None:
    assert address("10.1.2.3", "198.51.100.7") == "198.51.100.7"
    assert address("10.1.2.3", "1.1.1.1, 198.51.100.7") == "198.51.100.7"
    assert address("10.1.2.3", "1.1.1.1", "198.51.100.7") == "198.51.100.7"
    assert address("::1", "198.51.100.7") == "198.51.100.7"
    assert address("10.1.2.3") == "10.1.2.3"


def test_nobody_else_is_believed() -> None:
    assert address("198.51.100.7", "1.1.1.1") == "198.51.100.7"
    assert address("10.1.2.3", "1.1.1.1", proxies=()) == "10.1.2.3"
    assert address("no address", "1.1.1.1") == "no address"


def test_a_network_of_ipv6_counts_as_one_sender() -> None:
    assert address("2001:db8::1", proxies=()) == address("2001:db8::ffff:1", proxies=())
    assert address("2001:db8::1", proxies=()) != address("2001:db8:0:1::1", proxies=())
    assert address("10.1.2.3", "nonsense:") == "nonsense:"


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.1/8", ""])
def test_a_proxy_that_is_no_address_or_network_is_refused_at_the_start(proxy: str) -> None:
    with pytest.raises(ConfigError, match="KENO_TRUSTED_PROXIES"):
        address("10.1.2.3", proxies=(proxy,))
