"""One fixed profile of RFC 9421 HTTP message signatures, parsed strictly and checked.

The profile: the components `"@method" "@target-uri" "content-digest"` in this order; the parameters `created`,
`nonce`, `keyid` and `alg`, each once, in any order, and no other; `alg` is `ed25519` or `hmac-sha256`; one signature
under any label; `Content-Digest` (RFC 9530) holds the SHA-256 of the body's raw bytes and nothing else. A request
without a body signs the digest of zero bytes.

What was signed is what was received: the text of the parameters goes into the signature base byte for byte as it came,
never serialized again. So the canonical spelling of RFC 8941 is the only one accepted, and no two readers can disagree
about what it means.

It does not look keys up, remember nonces, or read a clock: the caller gives the key and the time, and spends the nonce
only after `verify` returned. It is not a general RFC 9421 implementation.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno._core import Ed25519Verifier, SignedRequest, content_digest, request_base
from keno.errors import KenoError
from keno.phrases import said

WINDOW_MS: Final = 60_000
HEADER_BYTES_MAX: Final = 512
HMAC_SECRET_BYTES_MIN: Final = 32
COMPONENTS: Final = '("@method" "@target-uri" "content-digest")'

Algorithm = Literal["ed25519", "hmac-sha256"]
Code = Literal[
    "signature_missing",
    "signature_malformed",
    "signature_expired",
    "signature_not_yet_valid",
    "signature_invalid",
    "digest_mismatch",
    "algorithm_mismatch",
]

_SIGNATURE_BYTES: Final[dict[Algorithm, int]] = {"ed25519": 64, "hmac-sha256": 32}
_NAMES: Final = ("signature-input", "signature", "content-digest")
_MALFORMED: Final = {
    "input": "Signature-Input must be label={components} and four parameters",
    "parameters": "created, nonce, keyid and alg must each appear exactly once",
    "signature": "Signature must be the label of Signature-Input and canonical base64 of its bytes",
    "digest": "Content-Digest must be sha-256=:(canonical base64 of 32 bytes): alone",
}


class SignatureError(KenoError):
    """A request that is not signed as the profile says. `code` is stable; `detail` is for the caller's log."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class HmacSecret:
    """A shared secret, with which both sides sign and verify. It never shows in a representation."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < HMAC_SECRET_BYTES_MIN:
            raise ValueError(f"a shared secret has at least {HMAC_SECRET_BYTES_MIN} bytes")


VerifyingKey = Ed25519Verifier | HmacSecret
SigningKey = Ed25519PrivateKey | HmacSecret


def parse(values_of: Callable[[str], Sequence[str]]) -> SignedRequest:
    """Read the signature of a request; nothing in it is proved before `verify`.

    `values_of` gives the values of a field by its lower-case name, one a field line, latin-1 where not ASCII (without
    surrogates, which are no text).
    Raises SignatureError: `signature_missing`, `signature_malformed`.
    """
    fields = inputs, signatures, digests = [values_of(name) for name in _NAMES]
    if not len(inputs) == len(signatures) == len(digests) == 1:
        raise _unusual(fields)
    signed = SignedRequest.read(inputs[0], signatures[0], digests[0])
    if isinstance(signed, SignedRequest):
        return signed
    if signed == "field":
        raise _unusual(fields)
    raise SignatureError("signature_malformed", said(_MALFORMED[signed], components=COMPONENTS))


def verify(signed: SignedRequest, key: VerifyingKey, *, method: str, target_uri: str, body: bytes, now_ms: int) -> None:
    """Return if `key` signed this request within the window around `now_ms`; otherwise raise SignatureError.

    `method` is upper case; `target_uri` is the absolute URI as the client must have spelled it; `body` is raw.
    Codes, in order of precedence: `algorithm_mismatch`, `signature_expired`, `signature_not_yet_valid`,
    `digest_mismatch`, `signature_invalid`.
    """
    if signed.algorithm != algorithm_of(key):
        raise SignatureError(
            "algorithm_mismatch",
            said("key {key_id} is for {algorithm}", key_id=signed.key_id, algorithm=algorithm_of(key)),
        )
    age_ms = now_ms - signed.created_s * 1000
    if age_ms > WINDOW_MS:
        raise SignatureError(
            "signature_expired",
            said("created is {age_ms} ms old; at most {most_ms} ms are accepted", age_ms=age_ms, most_ms=WINDOW_MS),
        )
    if age_ms < -WINDOW_MS:
        raise SignatureError(
            "signature_not_yet_valid",
            said(
                "created is {age_ms} ms in the future; at most {most_ms} ms are accepted",
                age_ms=-age_ms,
                most_ms=WINDOW_MS,
            ),
        )
    if not signed.is_of(body):
        raise SignatureError("digest_mismatch", "Content-Digest is not the SHA-256 of the body received")
    if isinstance(key, HmacSecret):
        is_signed = signed.has_mac_of(key.secret, method, target_uri)
    else:
        is_signed = signed.has_signature_of(key, method, target_uri)
    if not is_signed:
        raise _not_signed(method, target_uri)


def sign(
    key: SigningKey, key_id: str, *, method: str, target_uri: str, body: bytes, created_s: int, nonce: str
) -> dict[str, str]:
    """Make the three headers of a signed request: Content-Digest, Signature-Input, Signature.

    `nonce` must not repeat under this key within two windows: 16 random bytes as text do. Raises ValueError for values
    that the profile cannot express.
    """
    digest = content_digest(body)
    params = f'{COMPONENTS};created={created_s};nonce="{nonce}";keyid="{key_id}";alg="{algorithm_of(key)}"'
    signature_input, base = f"sig={params}", request_base(method, target_uri, digest, params)
    unsigned = _field(bytes(_SIGNATURE_BYTES[algorithm_of(key)]))
    if base is None or isinstance(SignedRequest.read(signature_input, unsigned, digest), str):
        raise ValueError("the profile cannot express this method, target_uri, created_s, nonce or key_id")
    message = base.encode()
    signature = _field(hmac.digest(key.secret, message, "sha256") if isinstance(key, HmacSecret) else key.sign(message))
    return {"Content-Digest": digest, "Signature-Input": signature_input, "Signature": signature}


def algorithm_of(key: VerifyingKey | SigningKey) -> Algorithm:
    """The `alg` that a key can be used with, and the only one."""
    return "hmac-sha256" if isinstance(key, HmacSecret) else "ed25519"


def _field(signature: bytes) -> str:
    return f"sig=:{b64encode(signature).decode()}:"


def _not_signed(method: str, target_uri: str) -> SignatureError:
    if request_base(method, target_uri, "", "") is None:
        return SignatureError(
            "signature_invalid", "only a method of letters and a printable ASCII target can be signed"
        )
    return SignatureError(
        "signature_invalid",
        said("the signature does not match {method} {target_uri} and its digest", method=method, target_uri=target_uri),
    )


def _unusual(fields: Sequence[Sequence[str]]) -> SignatureError:
    """What is wrong with the values of the three fields, of which one is."""
    for name, values in zip(_NAMES, fields, strict=True):
        if len(values) > 1:
            return SignatureError("signature_malformed", said("{name} appears more than once", name=name))
        if values and len(values[0]) > HEADER_BYTES_MAX:
            return SignatureError(
                "signature_malformed", said("{name} is longer than {most} bytes", name=name, most=HEADER_BYTES_MAX)
            )
        if values and not values[0].isascii():
            return SignatureError("signature_malformed", said("{name} must be ASCII", name=name))
    missing = [name for name, values in zip(_NAMES, fields, strict=True) if not values]
    return SignatureError("signature_missing", said("missing: {missing}", missing=", ".join(missing)))
