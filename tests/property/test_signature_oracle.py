"""Our strict verifier against http-message-signatures, an independent implementation of RFC 9421.

What a stock client signs we accept; what we sign it accepts; and no change of one byte of anything that a signature
protects is accepted by us, nor anything that the independent implementation refuses.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier
from http_message_signatures.algorithms import ED25519, HMAC_SHA256
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from http_message_signatures.resolvers import MappingKeyResolver
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.guard import values_of
from keno.identity.signature import (
    Algorithm,
    Ed25519Verifier,
    HmacSecret,
    SignatureError,
    SigningKey,
    VerifyingKey,
    algorithm_of,
    parse,
    sign,
    verify,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SECRET = HmacSecret(bytes(range(100, 140)))
KEYS: dict[Algorithm, tuple[SigningKey, VerifyingKey]] = {
    "ed25519": (PRIVATE, Ed25519Verifier(PRIVATE.public_key().public_bytes_raw())),
    "hmac-sha256": (SECRET, SECRET),
}
STOCK_ALGORITHMS = {"ed25519": ED25519, "hmac-sha256": HMAC_SHA256}
COMPONENTS = ("@method", "@target-uri", "content-digest")
CREATED_S = 1_700_000_000
NOW_MS = CREATED_S * 1000

algorithms = st.sampled_from(sorted(KEYS))
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE"])
_segments = st.text("abcXYZ019-._~!$&'()*+,;=:@", max_size=12) | st.sampled_from(["%20", "%C3%A9", "..", "v1", "bets"])
paths = st.lists(_segments, max_size=4).map(lambda parts: "/" + "/".join(parts))
queries = st.none() | st.text("abc019=&-._~/?:@", max_size=20)
origins = st.sampled_from(["https://keno.example", "http://127.0.0.1:8080", "https://[::1]:8443"])
uris = st.builds(
    lambda origin, path, query: origin + path + ("" if query is None else "?" + query), origins, paths, queries
)
nonces = st.text([chr(c) for c in range(0x20, 0x7F) if chr(c) not in '"\\'], min_size=1, max_size=64)
key_ids = st.text("abcXYZ019_-", min_size=1, max_size=64)


@dataclass
class Message:
    """A request as the stock library wants it."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


def fields(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def resolver(algorithm: Algorithm, key_id: str) -> MappingKeyResolver:
    if algorithm == "hmac-sha256":
        return MappingKeyResolver(public_keys={key_id: SECRET.secret}, private_keys={key_id: SECRET.secret})
    return MappingKeyResolver(public_keys={key_id: PRIVATE.public_key()}, private_keys={key_id: PRIVATE})


def stock_verify(algorithm: Algorithm, message: Message, body: bytes) -> None:
    class Verifier(HTTPMessageVerifier):
        # The time is ours to test; the library reads the clock, so here it must not care.
        def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
            pass

    verifier = Verifier(signature_algorithm=STOCK_ALGORITHMS[algorithm], key_resolver=resolver(algorithm, "key-1"))
    verifier.verify(message, require_components=COMPONENTS, body=body)


def stock_accepts(algorithm: Algorithm, message: Message, body: bytes) -> bool:
    try:
        stock_verify(algorithm, message, body)
    except (HTTPMessageSignaturesException, ValueError):
        return False
    return True


def ours_accepts(algorithm: Algorithm, message: Message, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
    try:
        verify(
            parse(values_of(headers)),
            KEYS[algorithm][1],
            method=message.method,
            target_uri=message.url,
            body=body,
            now_ms=NOW_MS,
        )
    except SignatureError:
        return False
    return True


@given(
    algorithm=algorithms,
    method=methods,
    uri=uris,
    body=st.binary(max_size=200),
    nonce=nonces,
    key_id=key_ids,
    label=st.sampled_from(["sig", "pyhms", "a*b-c.d"]),
)
def test_what_a_stock_client_signs_is_accepted(
    *, algorithm: Algorithm, method: str, uri: str, body: bytes, nonce: str, key_id: str, label: str
) -> None:
    message = Message(method, uri)
    signer = HTTPMessageSigner(
        signature_algorithm=STOCK_ALGORITHMS[algorithm], key_resolver=resolver(algorithm, key_id)
    )
    signer.sign(
        message,
        key_id=key_id,
        created=datetime.datetime.fromtimestamp(CREATED_S, datetime.UTC),
        nonce=nonce,
        label=label,
        covered_component_ids=COMPONENTS,
        body=body,
    )
    signed = parse(values_of(fields(message.headers)))
    verify(signed, KEYS[algorithm][1], method=method, target_uri=uri, body=body, now_ms=NOW_MS)
    assert (signed.key_id, signed.nonce, signed.created_s, signed.algorithm) == (key_id, nonce, CREATED_S, algorithm)


@given(algorithms, methods, uris, st.binary(max_size=200), nonces)
def test_what_we_sign_the_stock_verifier_accepts(
    algorithm: Algorithm, method: str, uri: str, body: bytes, nonce: str
) -> None:
    signing_key = KEYS[algorithm][0]
    assert algorithm_of(signing_key) == algorithm
    headers = sign(signing_key, "key-1", method=method, target_uri=uri, body=body, created_s=CREATED_S, nonce=nonce)
    stock_verify(algorithm, Message(method, uri, headers), body)


def changed(data: st.DataObject, value: bytes) -> bytes:
    """`value` with one byte replaced, removed or inserted."""
    at = data.draw(st.integers(0, len(value) - 1), label="at")
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != value[at]), label="byte")
    return data.draw(
        st.sampled_from(
            [
                value[:at] + bytes([byte]) + value[at + 1 :],
                value[:at] + value[at + 1 :],
                value[:at] + bytes([byte]) + value[at:],
            ]
        ),
        label="changed",
    )


@pytest.mark.parametrize("part", ["method", "target-uri", "body"])
@given(algorithm=algorithms, data=st.data())
def test_no_change_of_a_byte_of_the_request_is_accepted(part: str, algorithm: Algorithm, data: st.DataObject) -> None:
    parts = {"method": b"POST", "target-uri": b"https://keno.example/v1/bets?x=1", "body": b'{"picks":[1,2,3]}'}
    headers = sign(
        KEYS[algorithm][0],
        "key-1",
        method="POST",
        target_uri=parts["target-uri"].decode(),
        body=parts["body"],
        created_s=CREATED_S,
        nonce="n",
    )
    other = parts | {part: changed(data, parts[part])}
    message = Message(other["method"].decode("latin-1"), other["target-uri"].decode("latin-1"), headers)
    assert other != parts
    assert not ours_accepts(algorithm, message, fields(headers), other["body"])
    # A fragment is no part of a target URI: the library drops it, and no request that we receive has one.
    if b"#" not in other["target-uri"]:
        assert not stock_accepts(algorithm, message, other["body"])


@pytest.mark.parametrize("name", ["Content-Digest", "Signature-Input", "Signature"])
@given(algorithm=algorithms, data=st.data())
def test_no_change_of_a_byte_of_the_headers_is_accepted(name: str, algorithm: Algorithm, data: st.DataObject) -> None:
    body = b'{"picks":[1,2,3]}'
    headers = sign(
        KEYS[algorithm][0],
        "key-1",
        method="POST",
        target_uri="https://keno.example/v1/bets",
        body=body,
        created_s=CREATED_S,
        nonce="n",
    )
    other = changed(data, headers[name].encode())
    raw = [pair if pair[0] != name.lower().encode() else (pair[0], other) for pair in fields(headers)]
    message = Message("POST", "https://keno.example/v1/bets", headers | {name: other.decode("latin-1")})
    assert not ours_accepts(algorithm, message, raw, body)


@given(algorithm=algorithms, data=st.data())
def test_we_accept_nothing_that_the_stock_verifier_refuses(algorithm: Algorithm, data: st.DataObject) -> None:
    body = b"{}"
    uri = "https://keno.example/v1/bets"
    created_s = CREATED_S
    headers = sign(
        KEYS[algorithm][0], "key-1", method="POST", target_uri=uri, body=body, created_s=created_s, nonce="n"
    )
    for name in data.draw(st.lists(st.sampled_from(sorted(headers)), max_size=3), label="names"):
        headers[name] = changed(data, headers[name].encode("latin-1")).decode("latin-1")
    message = Message("POST", uri, headers)
    if ours_accepts(algorithm, message, fields(headers), body):
        assert stock_accepts(algorithm, message, body)
