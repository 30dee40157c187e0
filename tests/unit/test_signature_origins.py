"""The target URI that a request is verified against."""

from __future__ import annotations

import pytest

from gateway.auth.origins import Origins
from gateway.problems import ProblemError
from keno.errors import ConfigError

ORIGINS = Origins(["https://keno.example", "http://127.0.0.1:8080", "http://[::1]:8080"])


def target_uri(*hosts: str, target: str = "/v1/bets") -> str:
    return ORIGINS.target_uri(hosts, target)


@pytest.mark.parametrize(
    ("host", "uri"),
    [
        ("keno.example", "https://keno.example/v1/bets"),
        ("KENO.example:443", "https://keno.example/v1/bets"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/v1/bets"),
        ("[::1]:8080", "http://[::1]:8080/v1/bets"),
    ],
)
def test_the_scheme_and_spelling_are_those_of_the_configuration(host: str, uri: str) -> None:
    assert target_uri(host) == uri


def test_path_and_query_are_taken_byte_for_byte() -> None:
    uri = target_uri("keno.example", target="/v1/a%2Fb//%c3%A9?x=%31&&y")
    assert uri == "https://keno.example/v1/a%2Fb//%c3%A9?x=%31&&y"


@pytest.mark.parametrize("hosts", [(), ("evil.example",), ("keno.example:80",), ("keno.example", "keno.example")])
def test_a_request_for_another_host_or_for_two_is_refused(hosts: tuple[str, ...]) -> None:
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
