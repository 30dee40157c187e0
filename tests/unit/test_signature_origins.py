"""The target URI that a request is verified against."""

from __future__ import annotations

import pytest

from gateway.auth.origins import Origins
from gateway.problems import ProblemError
from keno.errors import ConfigError

ORIGINS = Origins(["https://keno.example", "http://127.0.0.1:8080", "http://[::1]:8080"])


def target_uri(*hosts: bytes, raw_path: bytes = b"/v1/bets", query: bytes = b"") -> str:
    return ORIGINS.target_uri([(b"host", host) for host in hosts], raw_path, query)


@pytest.mark.parametrize(
    ("host", "uri"),
    [
        (b"keno.example", "https://keno.example/v1/bets"),
        (b"KENO.example:443", "https://keno.example/v1/bets"),
        (b"127.0.0.1:8080", "http://127.0.0.1:8080/v1/bets"),
        (b"[::1]:8080", "http://[::1]:8080/v1/bets"),
    ],
)
def test_the_scheme_and_spelling_are_those_of_the_configuration(host: bytes, uri: str) -> None:
    assert target_uri(host) == uri


def test_path_and_query_are_taken_byte_for_byte() -> None:
    uri = target_uri(b"keno.example", raw_path=b"/v1/a%2Fb//%c3%A9", query=b"x=%31&&y")
    assert uri == "https://keno.example/v1/a%2Fb//%c3%A9?x=%31&&y"


@pytest.mark.parametrize("hosts", [(), (b"evil.example",), (b"keno.example:80",), (b"keno.example", b"keno.example")])
def test_a_request_for_another_host_or_for_two_is_refused(hosts: tuple[bytes, ...]) -> None:
    with pytest.raises(ProblemError) as caught:
        target_uri(*hosts)
    assert caught.value.code == "unknown_origin"


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["keno.example"],
        ["https://keno.example/"],
        ["https://keno.example/api"],
        ["https://Keno.example"],
        ["https://keno.example:443"],
        ["http://keno.example:80"],
        ["ftp://keno.example"],
        ["https://a@keno.example"],
        ["https://keno.example", "http://keno.example"],
        ["https://keno.example:80", "http://keno.example"],
    ],
)
def test_origins_that_clients_could_spell_in_two_ways_are_refused_at_the_start(origins: list[str]) -> None:
    with pytest.raises(ConfigError):
        Origins(origins)
