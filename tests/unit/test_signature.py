"""The strict verifier of the signature profile, by hand-picked cases."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.auth.guard import values_of
from keno.identity.signature import (
    WINDOW_MS,
    Ed25519Verifier,
    HmacSecret,
    SignatureError,
    SigningKey,
    VerifyingKey,
    parse,
    sign,
    verify,
)

CREATED_S = 1_700_000_000
URI = "https://keno.example/v1/bets?x=%31"
BODY = b'{"picks":[1,2,3]}'
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = Ed25519Verifier(PRIVATE.public_key().public_bytes_raw())
SECRET = HmacSecret(bytes(range(32)))
KEYS: list[tuple[SigningKey, VerifyingKey]] = [(PRIVATE, PUBLIC), (SECRET, SECRET)]

Headers = list[tuple[bytes, bytes]]


def signed(key: SigningKey = PRIVATE, **changes: object) -> dict[str, str]:
    request: dict[str, object] = {
        "method": "POST",
        "target_uri": URI,
        "body": BODY,
        "created_s": CREATED_S,
        "nonce": "n-1",
    }
    return sign(key, "key-1", **(request | changes))  # type: ignore[arg-type]


def fields(headers: dict[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def check(headers: Headers, key: VerifyingKey = PUBLIC, **changes: object) -> None:
    request: dict[str, object] = {
        "method": "POST",
        "target_uri": URI,
        "body": BODY,
        "now_ms": CREATED_S * 1000,
    }
    verify(parse(values_of(headers)), key, **(request | changes))  # type: ignore[arg-type]


def code_of(headers: Headers, key: VerifyingKey = PUBLIC, **changes: object) -> str:
    with pytest.raises(SignatureError) as caught:
        check(headers, key, **changes)
    assert caught.value.detail
    return caught.value.code


@pytest.mark.parametrize(("signing", "verifying"), KEYS, ids=["ed25519", "hmac-sha256"])
def test_a_request_signed_by_us_verifies(signing: SigningKey, verifying: VerifyingKey) -> None:
    check(fields(signed(signing)), verifying)


def test_a_request_without_a_body_signs_the_digest_of_nothing() -> None:
    headers = signed(method="GET", body=b"")
    assert headers["Content-Digest"] == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    check(fields(headers), method="GET", body=b"")


def test_the_values_are_those_that_were_signed() -> None:
    values = parse(values_of(fields(signed())))
    assert (values.key_id, values.algorithm, values.created_s, values.nonce) == ("key-1", "ed25519", CREATED_S, "n-1")


@pytest.mark.parametrize(("signing", "verifying"), KEYS, ids=["ed25519", "hmac-sha256"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "PUT"}, "signature_invalid"),
        ({"target_uri": URI.replace("https", "http")}, "signature_invalid"),
        ({"target_uri": URI.replace("%31", "1")}, "signature_invalid"),
        ({"target_uri": URI + "&y"}, "signature_invalid"),
        ({"target_uri": URI + "é"}, "signature_invalid"),
        ({"target_uri": URI + '\n"x": y'}, "signature_invalid"),
        ({"body": BODY + b" "}, "digest_mismatch"),
        ({"body": b""}, "digest_mismatch"),
    ],
)
def test_a_changed_request_is_refused(
    signing: SigningKey, verifying: VerifyingKey, change: dict[str, object], code: str
) -> None:
    assert code_of(fields(signed(signing)), verifying, **change) == code


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [(WINDOW_MS + 1, "signature_expired"), (-WINDOW_MS - 1, "signature_not_yet_valid")],
)
def test_a_signature_outside_the_window_is_refused(age_ms: int, code: str) -> None:
    assert code_of(fields(signed()), now_ms=CREATED_S * 1000 + age_ms) == code


@pytest.mark.parametrize("age_ms", [WINDOW_MS, 0, -WINDOW_MS])
def test_the_ends_of_the_window_are_inside(age_ms: int) -> None:
    check(fields(signed()), now_ms=CREATED_S * 1000 + age_ms)


def test_another_operators_key_does_not_verify() -> None:
    other = Ed25519Verifier(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert code_of(fields(signed()), other) == "signature_invalid"
    assert code_of(fields(signed(SECRET)), HmacSecret(bytes(32))) == "signature_invalid"


def test_a_public_key_cannot_be_used_as_a_shared_secret() -> None:
    public_bytes = PRIVATE.public_key().public_bytes_raw()
    assert code_of(fields(signed(HmacSecret(public_bytes)))) == "algorithm_mismatch"


@pytest.mark.parametrize("name", ["Signature", "Signature-Input", "Content-Digest"])
def test_each_of_the_three_headers_is_required(name: str) -> None:
    headers = signed()
    del headers[name]
    assert code_of(fields(headers)) == "signature_missing"


@pytest.mark.parametrize("name", ["Signature", "Signature-Input", "Content-Digest"])
def test_a_header_that_comes_twice_is_refused_even_if_both_are_equal(name: str) -> None:
    headers = fields(signed())
    headers += [pair for pair in headers if pair[0] == name.lower().encode()]
    assert code_of(headers) == "signature_malformed"


def canonical_params(**replaced: str) -> str:
    values = {"created": str(CREATED_S), "nonce": '"n-1"', "keyid": '"key-1"', "alg": '"ed25519"'} | replaced
    return "".join(f";{name}={value}" for name, value in values.items())


COMPONENTS = '("@method" "@target-uri" "content-digest")'


@pytest.mark.parametrize(
    "signature_input",
    [
        "",
        "sig",
        "sig=" + COMPONENTS,
        "sig=" + COMPONENTS + canonical_params() + ";expires=1700000060",
        "sig=" + COMPONENTS + canonical_params() + ';tag="app"',
        "sig=" + COMPONENTS + canonical_params() + ";created=1700000000",
        "sig=" + COMPONENTS + canonical_params().replace(";created=1700000000", ';nonce="n-2"'),
        "sig=" + COMPONENTS + canonical_params().replace(';nonce="n-1"', ""),
        "sig=" + COMPONENTS + canonical_params(created="01700000000"),
        "sig=" + COMPONENTS + canonical_params(created="-1"),
        "sig=" + COMPONENTS + canonical_params(created="1700000000.0"),
        "sig=" + COMPONENTS + canonical_params(created='"1700000000"'),
        "sig=" + COMPONENTS + canonical_params(created="1" * 16),
        "sig=" + COMPONENTS + canonical_params(alg='"rsa-v1_5-sha256"'),
        "sig=" + COMPONENTS + canonical_params(alg="ed25519"),
        "sig=" + COMPONENTS + canonical_params(nonce='""'),
        "sig=" + COMPONENTS + canonical_params(nonce='"' + "n" * 65 + '"'),
        "sig=" + COMPONENTS + canonical_params(nonce='"a\\"b"'),
        "sig=" + COMPONENTS + canonical_params(nonce='"\u00e9"'),
        "sig=" + COMPONENTS + canonical_params(nonce='"\x7f"'),
        "sig=" + COMPONENTS + canonical_params(keyid='"a:b"'),
        "sig=" + COMPONENTS + canonical_params().replace(";nonce", "; nonce"),
        "sig=" + COMPONENTS.replace(" ", "  ") + canonical_params(),
        "sig=" + '("@method" "content-digest" "@target-uri")' + canonical_params(),
        "sig=" + '("@method" "@target-uri")' + canonical_params(),
        "sig=" + '("@method" "@target-uri" "content-digest" "content-type")' + canonical_params(),
        "sig=" + '("@method" "@target-uri" "content-digest";sf)' + canonical_params(),
        "sig=" + COMPONENTS + canonical_params() + ", other=" + COMPONENTS + canonical_params(),
        "Sig=" + COMPONENTS + canonical_params(),
        " sig=" + COMPONENTS + canonical_params(),
        "sig=" + COMPONENTS + canonical_params() + "\n",
        "sig=" + COMPONENTS + canonical_params() + " " * 400,
    ],
)
def test_a_signature_input_that_is_not_spelled_as_the_profile_says_is_refused(signature_input: str) -> None:
    headers = signed() | {"Signature-Input": signature_input}
    assert code_of(fields(headers)) == "signature_malformed"


def test_the_canonical_spelling_itself_is_accepted() -> None:
    headers = signed()
    assert headers["Signature-Input"] == "sig=" + COMPONENTS + canonical_params()


def signature_text(length: int) -> str:
    return b64encode(bytes(length)).decode()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        signature_text(64),
        f"sig={signature_text(64)}",
        f"sig=::{signature_text(64)}::",
        f"other=:{signature_text(64)}:",
        f"sig=:{signature_text(63)}:",
        f"sig=:{signature_text(65)}:",
        f"sig=:{signature_text(64).rstrip('=')}:",
        f"sig=:{signature_text(64)[:-3]}B==:",
        f"sig=:{signature_text(64)}:;a=1",
        f"sig=:{signature_text(64)}:, b=:AA==:",
        f"sig=:{signature_text(64)[:-4]}-_==:",
        "sig=:=:",
        "sig=:A:",
    ],
)
def test_a_signature_that_is_not_one_canonical_byte_sequence_is_refused(signature: str) -> None:
    assert code_of(fields(signed() | {"Signature": signature})) == "signature_malformed"


@pytest.mark.parametrize(
    "make",
    [
        lambda digest: digest + ", sha-512=:AAAA:",
        lambda digest: digest.replace("sha-256", "sha-512"),
        lambda digest: digest.replace("=:", ":", 1),
        lambda digest: digest + ";a",
        lambda digest: digest.upper(),
        lambda digest: "",
        lambda digest: re.sub(".=:$", "B=:", digest),
    ],
)
def test_a_content_digest_that_is_not_one_sha_256_is_refused(make: object) -> None:
    headers = signed()
    headers["Content-Digest"] = make(headers["Content-Digest"])  # type: ignore[operator]
    assert code_of(fields(headers)) == "signature_malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 'a"b'},
        {"nonce": ""},
        {"nonce": "n\n"},
        {"created_s": -1},
        {"target_uri": "https://keno.example/é"},
        {"target_uri": "https://keno.example/a b"},
        {"method": "GET\nX"},
    ],
)
def test_signing_refuses_what_the_profile_cannot_express(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="profile"):
        signed(**change)


def test_a_shared_secret_is_long_enough_and_never_shown() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        HmacSecret(bytes(31))
    assert "AAAA" not in repr(HmacSecret(b"A" * 32))
