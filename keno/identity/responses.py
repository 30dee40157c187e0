"""Signs answers, so that an operator can prove what it was told: one fixed profile of RFC 9421, like that of requests.

The components are `"@status" "content-digest" "signature";req`: what was answered, and to which request, whose own
signature covers its method, target and body. The parameters are `created`, `keyid` and `alg`. An operator with a shared
secret gets answers signed with that; one with an Ed25519 key gets them signed with ours, which is published as a JWKS.
No answer can pass for a request: their signature bases begin with different components.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keno._core import hmac_sha256, sha256
from keno.identity.operators import KnownKey
from keno.identity.signature import HmacSecret
from keno.infra.published_key import PublishedKey

COMPONENTS: Final = '("@status" "content-digest" "signature";req)'


class ResponseKey:
    """The key that answers to holders of Ed25519 keys are signed with, derived from the platform key (32 bytes)."""

    def __init__(self, platform_key: bytes) -> None:
        info = b"keno:response-key:ed25519"
        self._key = PublishedKey(HKDF(SHA256(), 32, salt=None, info=info).derive(platform_key))
        self.id, self.jwk = self._key.id, self._key.jwk

    def sign(self, status: int, body: bytes, request_signature: str, requester: KnownKey, now_s: int) -> dict[str, str]:
        """The headers of a signed answer: Content-Digest, Signature-Input, Signature.

        `request_signature` is the request's Signature field as it was received.
        """
        content_digest = f"sha-256=:{b64encode(sha256(body)).decode()}:"
        shared = requester.verifying_key
        key_id, algorithm = (requester.id, "hmac-sha256") if isinstance(shared, HmacSecret) else (self.id, "ed25519")
        params = f'{COMPONENTS};created={now_s};keyid="{key_id}";alg="{algorithm}"'
        base = response_base(status, content_digest, request_signature, params)
        raw = hmac_sha256(shared.secret, base) if isinstance(shared, HmacSecret) else self._key.sign(base)
        return {
            "Content-Digest": content_digest,
            "Signature-Input": f"keno={params}",
            "Signature": f"keno=:{b64encode(raw).decode()}:",
        }


def response_base(status: int, content_digest: str, request_signature: str, params: str) -> bytes:
    """The bytes that are signed (RFC 9421 section 2.5)."""
    return (
        f'"@status": {status}\n"content-digest": {content_digest}\n"signature";req: {request_signature}\n'
        f'"@signature-params": {params}'
    ).encode("ascii")
