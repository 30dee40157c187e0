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
import re
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno._core import Ed25519Verifier, hmac_sha256, sha256
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

_LABEL = r"[a-z*][a-z0-9_.*-]{0,63}"
_PARAMETER = (
    r";(?:created=(0|[1-9][0-9]{0,14})"
    r'|nonce="([ !#-\[\]-~]{1,64})"'
    r'|keyid="([A-Za-z0-9_-]{1,64})"'
    r'|alg="(ed25519|hmac-sha256)")'
)
# A group keeps its capture over the repetitions: four repetitions that set all four groups are each parameter once.
_INPUT: Final = re.compile(rf"({_LABEL})=({re.escape(COMPONENTS)}(?:{_PARAMETER}){{4}})")
# Base64 in its only canonical spelling: what the last digit has beyond the bytes is zero.
_BYTES_32: Final = r"([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)"
_BYTES_64: Final = r"([A-Za-z0-9+/]{85}[AQgw]==)"
_SIGNATURES: Final[dict[Algorithm, re.Pattern[str]]] = {
    "ed25519": re.compile(f"({_LABEL})=:{_BYTES_64}:"),
    "hmac-sha256": re.compile(f"({_LABEL})=:{_BYTES_32}:"),
}
_DIGEST: Final = re.compile(f"sha-256=:{_BYTES_32}:")
_TARGET: Final = re.compile(r"[!-~]+")


class SignatureError(KenoError):
    """A request that is not signed as the profile says. `code` is stable; `detail` is for the caller's log."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = code
        self.detail = detail


class SignedHeaders(NamedTuple):
    """The three headers, parsed; nothing in it is proved before `verify`."""

    key_id: str
    algorithm: Algorithm
    created_s: int
    nonce: str
    params: str
    """the signature parameters as received: everything after `label=`"""
    signature: bytes
    field: str
    """the Signature field as received"""
    content_digest: str
    """the Content-Digest field as received"""
    digest: bytes


@dataclass(frozen=True, slots=True)
class HmacSecret:
    """A shared secret, with which both sides sign and verify. It never shows in a representation."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < HMAC_SECRET_BYTES_MIN:
            raise ValueError(f"a shared secret has at least {HMAC_SECRET_BYTES_MIN} bytes")


VerifyingKey = Ed25519Verifier | HmacSecret
SigningKey = Ed25519PrivateKey | HmacSecret


def parse(headers: Iterable[tuple[bytes, bytes]]) -> SignedHeaders:
    """Read the signature from a request's headers.

    `headers` are pairs of lower-case name and raw value, one pair a field line, as ASGI gives them.
    Raises SignatureError: `signature_missing`, `signature_malformed`.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name in _WANTED:
            found.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
    return parse_fields(lambda name: found.get(name, ()))


def parse_fields(values_of: Callable[[str], Sequence[str]]) -> SignedHeaders:
    """`parse` where fields are looked up: `values_of` gives the values of a lower-case name, one a field line."""
    signature_input, signature_field, content_digest = _fields(values_of)
    found = _INPUT.fullmatch(signature_input)
    if found is None:
        raise SignatureError(
            "signature_malformed",
            said("Signature-Input must be label={components} and four parameters", components=COMPONENTS),
        )
    label, params, created, nonce, key_id, algorithm = found.groups()
    if created is None or nonce is None or key_id is None or algorithm not in _SIGNATURES:
        raise SignatureError("signature_malformed", "created, nonce, keyid and alg must each appear exactly once")
    signature = _SIGNATURES[algorithm].fullmatch(signature_field)
    if signature is None or signature[1] != label:
        raise SignatureError(
            "signature_malformed",
            "Signature must be the label of Signature-Input and canonical base64 of its bytes",
        )
    digest = _DIGEST.fullmatch(content_digest)
    if digest is None:
        raise SignatureError(
            "signature_malformed", "Content-Digest must be sha-256=:(canonical base64 of 32 bytes): alone"
        )
    return SignedHeaders(
        key_id,
        algorithm,
        int(created),
        nonce,
        params,
        a2b_base64(signature[2]),
        signature_field,
        content_digest,
        a2b_base64(digest[1]),
    )


def verify(signed: SignedHeaders, key: VerifyingKey, *, method: str, target_uri: str, body: bytes, now_ms: int) -> None:
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
    if not hmac.compare_digest(sha256(body), signed.digest):
        raise SignatureError("digest_mismatch", "Content-Digest is not the SHA-256 of the body received")
    if not _is_signable(method, target_uri):
        raise SignatureError("signature_invalid", "only a method of letters and a printable ASCII target can be signed")
    base = signature_base(method, target_uri, signed.content_digest, signed.params)
    if not _is_signature(key, signed.signature, base):
        raise SignatureError(
            "signature_invalid",
            said(
                "the signature does not match {method} {target_uri} and its digest",
                method=method,
                target_uri=target_uri,
            ),
        )


def sign(
    key: SigningKey, key_id: str, *, method: str, target_uri: str, body: bytes, created_s: int, nonce: str
) -> dict[str, str]:
    """Make the three headers of a signed request: Content-Digest, Signature-Input, Signature.

    `nonce` must not repeat under this key within two windows: 16 random bytes as text do. Raises ValueError for values
    that the profile cannot express.
    """
    content_digest = f"sha-256=:{b64encode(sha256(body)).decode()}:"
    params = f'{COMPONENTS};created={created_s};nonce="{nonce}";keyid="{key_id}";alg="{algorithm_of(key)}"'
    signature_input = f"sig={params}"
    if _INPUT.fullmatch(signature_input) is None or not _is_signable(method, target_uri):
        raise ValueError("the profile cannot express this method, target_uri, created_s, nonce or key_id")
    base = signature_base(method, target_uri, content_digest, params)
    signature = hmac_sha256(key.secret, base) if isinstance(key, HmacSecret) else key.sign(base)
    return {
        "Content-Digest": content_digest,
        "Signature-Input": signature_input,
        "Signature": f"sig=:{b64encode(signature).decode()}:",
    }


def signature_base(method: str, target_uri: str, content_digest: str, params: str) -> bytes:
    """The bytes that are signed (RFC 9421 section 2.5), from values that were checked."""
    return (
        f'"@method": {method}\n"@target-uri": {target_uri}\n"content-digest": {content_digest}\n'
        f'"@signature-params": {params}'
    ).encode("ascii")


def algorithm_of(key: VerifyingKey | SigningKey) -> Algorithm:
    """The `alg` that a key can be used with, and the only one."""
    return "hmac-sha256" if isinstance(key, HmacSecret) else "ed25519"


@lru_cache(4_096)
def _is_signable(method: str, target_uri: str) -> bool:
    return method.isascii() and method.isalpha() and _TARGET.fullmatch(target_uri) is not None


def _fields(values_of: Callable[[str], Sequence[str]]) -> tuple[str, str, str]:
    inputs, signatures, digests = map(values_of, _NAMES)
    if len(inputs) == len(signatures) == len(digests) == 1:
        fields = inputs[0], signatures[0], digests[0]
        if max(map(len, fields)) <= HEADER_BYTES_MAX and all(map(str.isascii, fields)):
            return fields
    raise _unusual(dict(zip(_NAMES, (inputs, signatures, digests), strict=True)))


def _unusual(fields: Mapping[str, Sequence[str]]) -> SignatureError:
    """What is wrong with the three fields, of which one is."""
    for name, values in fields.items():
        if len(values) > 1:
            return SignatureError("signature_malformed", said("{name} appears more than once", name=name))
        if values and len(values[0]) > HEADER_BYTES_MAX:
            return SignatureError(
                "signature_malformed", said("{name} is longer than {most} bytes", name=name, most=HEADER_BYTES_MAX)
            )
        if values and not values[0].isascii():
            return SignatureError("signature_malformed", said("{name} must be ASCII", name=name))
    missing = [name for name, values in fields.items() if not values]
    return SignatureError("signature_missing", said("missing: {missing}", missing=", ".join(missing)))


_NAMES: Final = ("signature-input", "signature", "content-digest")
_WANTED: Final = frozenset(name.encode() for name in _NAMES)


def _is_signature(key: VerifyingKey, signature: bytes, base: bytes) -> bool:
    if isinstance(key, HmacSecret):
        return hmac.compare_digest(hmac_sha256(key.secret, base), signature)
    return key.verify(signature, base)
