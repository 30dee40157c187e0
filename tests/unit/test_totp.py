"""One-time passwords against the vectors of their standards."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keno.identity import totp

SECRET = b"12345678901234567890"

# RFC 4226, appendix D: HOTP is TOTP with a counter for its step.
HOTP = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]

# RFC 6238, appendix B, SHA-1: seconds and the last six of the eight digits.
TOTP = [
    (59, "287082"),
    (1_111_111_109, "081804"),
    (1_111_111_111, "050471"),
    (1_234_567_890, "005924"),
    (2_000_000_000, "279037"),
    (20_000_000_000, "353130"),
]


def test_codes_are_those_of_rfc_4226() -> None:
    assert [totp.code(SECRET, step) for step in range(10)] == HOTP


@pytest.mark.parametrize(("now_s", "expected"), TOTP)
def test_codes_are_those_of_rfc_6238(now_s: int, expected: str) -> None:
    assert totp.matching_step(SECRET, expected, now_s) == now_s // totp.STEP_S


@given(now_s=st.integers(5 * totp.STEP_S, 2**40), steps=st.integers(-4, 4))
def test_a_code_holds_one_step_around_its_own(now_s: int, steps: int) -> None:
    step = now_s // totp.STEP_S + steps
    given = totp.code(SECRET, step)
    around = {totp.code(SECRET, now_s // totp.STEP_S + each) for each in (-1, 0, 1)}
    assert (totp.matching_step(SECRET, given, now_s) is not None) == (given in around)
    if abs(steps) <= totp.SKEW_STEPS:
        assert given in around


@pytest.mark.parametrize("given", ["", "28708", "2870821", "28708x", "²87082"])
def test_what_is_no_code_matches_no_step(given: str) -> None:
    assert totp.matching_step(SECRET, given, 59) is None


def test_an_authenticator_is_told_the_secret_and_whose_it_is() -> None:
    uri = urlsplit(totp.provisioning_uri(SECRET, "a+b@example.test"))
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/Keno:a%2Bb%40example.test")
    assert parse_qs(uri.query) == {"secret": ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"], "issuer": ["Keno"]}
