"""Which address a request comes from, and whether an operator calls from there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keno.identity.networks import NETWORKS_MAX, NetworkError, caller, checked_networks, is_allowed


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proxies", "expected"),
    [
        ("192.0.2.1", [], 0, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], 0, "192.0.2.1"),
        ("::ffff:192.0.2.1", [], 0, "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], 1, "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], 1, "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7"], 1, "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7,10.0.0.2"], 2, "198.51.100.7"),
        ("10.0.0.1", ["2001:db8::1"], 1, "2001:db8::1"),
        ("10.0.0.1", [], 1, None),
        ("10.0.0.1", ["198.51.100.7"], 2, None),
        ("10.0.0.1", ["unknown"], 1, None),
        ("10.0.0.1", ["198.51.100.7,"], 1, None),
        (None, [], 0, None),
    ],
)
def test_the_caller_is_whom_the_farthest_trusted_proxy_saw(
    peer: str | None, forwarded_for: list[str], proxies: int, expected: str | None
) -> None:
    found = caller(peer, forwarded_for, proxies)
    assert (None if found is None else str(found)) == expected


@given(claimed=st.lists(st.text(max_size=20), max_size=5), proxies=st.integers(1, 4))
def test_nothing_that_a_caller_claims_changes_what_the_trusted_proxies_saw(claimed: list[str], proxies: int) -> None:
    seen = [f"10.0.0.{number}" for number in range(1, proxies + 1)]
    assert str(caller("10.9.9.9", [",".join(claimed), ",".join(seen)], proxies)) == "10.0.0.1"


def test_an_address_is_allowed_in_any_of_the_networks_and_everywhere_without_any() -> None:
    networks = checked_networks(["203.0.113.0/24", "2001:db8::/32", "198.51.100.7"])
    for peer, allowed in [
        ("203.0.113.255", True),
        ("203.0.114.0", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("2001:db8:ffff::1", True),
        ("2001:db9::1", False),
        ("::ffff:203.0.113.1", True),
        (None, False),
    ]:
        assert is_allowed(networks, caller(peer, [], 0)) is allowed, peer
        assert is_allowed((), caller(peer, [], 0))


def test_networks_are_kept_in_order_and_once() -> None:
    texts = ["2001:db8::/32", "10.0.0.0/8", "10.0.0.0/8", "9.0.0.0/8"]
    assert [str(network) for network in checked_networks(texts)] == ["9.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize("text", ["", "here", "203.0.113.1/24", "203.0.113.0/33", "203.0.113.0/24 ", "1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(NetworkError):
        checked_networks(["10.0.0.0/8", text])


def test_there_are_not_too_many_networks() -> None:
    texts = [f"10.0.{number}.0/24" for number in range(NETWORKS_MAX + 1)]
    assert len(checked_networks(texts[:-1])) == NETWORKS_MAX
    with pytest.raises(NetworkError):
        checked_networks(texts)
