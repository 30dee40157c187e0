"""Which tokens let a player in: the right ones, and nothing that was made to look like one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from keno.identity.tokens import ACCESS_TOKEN_S, CLOCK_SKEW_MAX_S, TokenError, issue, verify

NOW_S = 1_700_000_000
ISSUER = "https://keno.test"
OPERATOR = UUID("3a1f6f0e-7c1e-4c0e-9b57-0f9d2b1c5a11")
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_RAW = PRIVATE.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public_key(private: Ed25519PrivateKey) -> OKPKey:
    raw = private.public_key().public_bytes_raw()
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)})


KEYS = {"k1": public_key(PRIVATE)}
HEADER = {"alg": "Ed25519", "kid": "k1", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "keno-player",
    "sub": "17",
    "operator": str(OPERATOR),
    "sid": "0f" * 16,
    "iat": NOW_S,
    "exp": NOW_S + ACCESS_TOKEN_S,
}


def signed(header: dict[str, Any], claims: dict[str, Any], key: Ed25519PrivateKey = PRIVATE) -> str:
    """A token made without the code under test."""
    content = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{content}.{b64(key.sign(content.encode()))}"


def refused(token: str, *, now_s: int = NOW_S, keys: dict[str, OKPKey] = KEYS) -> str:
    with pytest.raises(TokenError) as caught:
        verify(token, keys, issuer=ISSUER, now_s=now_s)
    return caught.value.code


def test_a_token_that_we_issued_says_what_was_put_in() -> None:
    key = OKPKey.import_key(
        {"kty": "OKP", "crv": "Ed25519", "x": b64(PUBLIC_RAW), "d": b64(PRIVATE.private_bytes_raw())}
    )
    token = issue(
        "k1", key, issuer=ISSUER, player_id=17, operator_id=OPERATOR, session_id=bytes.fromhex("0f" * 16), now_s=NOW_S
    )
    claims = verify(token, KEYS, issuer=ISSUER, now_s=NOW_S + ACCESS_TOKEN_S - 1)
    assert (claims.sub, claims.operator, claims.sid) == ("17", OPERATOR, "0f" * 16)
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==")) == HEADER


def test_a_token_made_by_the_standard_alone_is_read() -> None:
    assert verify(signed(HEADER, CLAIMS), KEYS, issuer=ISSUER, now_s=NOW_S).sub == "17"


@pytest.mark.parametrize(
    "header",
    [
        HEADER | {"alg": "none"},
        HEADER | {"alg": "EdDSA"},
        HEADER | {"alg": "HS256"},
        HEADER | {"alg": "ed25519"},
        HEADER | {"kid": "k2"},
        HEADER | {"kid": ["k1"]},
        HEADER | {"kid": "../k1"},
        HEADER | {"typ": "JWT"},
        HEADER | {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(OTHER.public_key().public_bytes_raw())}},
        HEADER | {"jku": "https://evil.test/jwks.json"},
        HEADER | {"crit": ["exp"]},
        HEADER | {"b64": False},
        {"alg": "Ed25519", "typ": "at+jwt"},
        {"alg": "Ed25519", "kid": "k1"},
        {},
    ],
    ids=json.dumps,
)
def test_a_header_that_is_not_ours_is_refused_even_if_the_signature_is_good(header: dict[str, Any]) -> None:
    assert refused(signed(header, CLAIMS)) == "token_invalid"


def test_a_token_without_a_signature_is_refused() -> None:
    for alg in ("none", "None", "Ed25519"):
        content = f"{b64(json.dumps(HEADER | {'alg': alg}).encode())}.{b64(json.dumps(CLAIMS).encode())}"
        assert refused(content + ".") == "token_invalid"
        assert refused(content) == "token_invalid"
        assert refused(f"{content}.{b64(bytes(64))}") == "token_invalid"


@pytest.mark.parametrize("secret", [PUBLIC_RAW, b64(PUBLIC_RAW).encode()], ids=["raw", "base64url"])
def test_the_public_key_is_no_shared_secret(secret: bytes) -> None:
    for alg in ("HS256", "HS512", "Ed25519"):
        content = f"{b64(json.dumps(HEADER | {'alg': alg}).encode())}.{b64(json.dumps(CLAIMS).encode())}"
        digest = hashlib.sha256 if alg == "HS256" else hashlib.sha512
        mac = hmac.new(secret, content.encode(), digest).digest()
        assert refused(f"{content}.{b64(mac)}") == "token_invalid"


def test_a_key_under_another_kid_or_of_another_purpose_is_refused() -> None:
    assert refused(signed(HEADER, CLAIMS, OTHER)) == "token_invalid"
    keys = {"k1": public_key(OTHER), "k2": public_key(PRIVATE)}
    assert refused(signed(HEADER, CLAIMS), keys=keys) == "token_invalid"
    assert refused(signed(HEADER, CLAIMS), keys={}) == "token_invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://keno.test/"},
        {"iss": None},
        {"aud": "keno-staff"},
        {"aud": ["keno-player"]},
        {"sub": "0"},
        {"sub": 17},
        {"operator": "x"},
        {"sid": "0F" * 16},
        {"sid": "0f" * 16 + "\n"},
        {"iat": NOW_S + CLOCK_SKEW_MAX_S + 1},
        {"iat": "now"},
        {"exp": None},
        {"exp": float(NOW_S + 60) + 0.5},
        {"role": "owner"},
    ],
    ids=str,
)
def test_claims_that_are_not_those_of_a_player_here_and_now_are_refused(changes: dict[str, Any]) -> None:
    assert refused(signed(HEADER, CLAIMS | changes)) == "token_invalid"


@pytest.mark.parametrize("name", CLAIMS)
def test_no_claim_may_be_missing(name: str) -> None:
    claims = {each: value for each, value in CLAIMS.items() if each != name}
    assert refused(signed(HEADER, claims)) == "token_invalid"


def test_a_token_expires_to_the_second_and_may_be_of_a_clock_that_is_a_little_ahead() -> None:
    token = signed(HEADER, CLAIMS)
    assert verify(token, KEYS, issuer=ISSUER, now_s=NOW_S - CLOCK_SKEW_MAX_S).sub == "17"
    assert refused(token, now_s=NOW_S - CLOCK_SKEW_MAX_S - 1) == "token_invalid"
    assert verify(token, KEYS, issuer=ISSUER, now_s=NOW_S + ACCESS_TOKEN_S - 1).sub == "17"
    assert refused(token, now_s=NOW_S + ACCESS_TOKEN_S) == "token_expired"


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    token = signed(HEADER, CLAIMS)
    # The last character holds bits that no byte needs.
    at = data.draw(st.integers(0, len(token) - 2))
    character = data.draw(st.characters(max_codepoint=0x17F).filter(lambda drawn: drawn != token[at]))
    assert refused(token[:at] + character + token[at + 1 :]) == "token_invalid"


@given(st.text() | st.builds(".".join, st.lists(st.from_regex(r"[A-Za-z0-9_-]{0,90}", fullmatch=True), max_size=4)))
@example(".".join([b64(b"[" * 190), "AA", "A" * 86]))
@example(".".join([b64(b'{"alg":' * 27), "AA", "A" * 86]))
@example(".".join([b64(json.dumps(HEADER).encode()), "A", "A" * 86]))
def test_no_text_is_more_than_refused(text: str) -> None:
    assert refused(text) == "token_invalid"
