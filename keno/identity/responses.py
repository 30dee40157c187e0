"""Signs answers, so that an operator can prove what it was told: one fixed profile of RFC 9421, like that of requests.

The components are `"@status" "content-digest" "signature";req`: what was answered, and to which request, whose own
signature covers its method, target and body. The parameters are `created`, `keyid` and `alg`. An operator with a shared
secret gets answers signed with that; one with an Ed25519 key gets them signed with ours, which is published as a JWKS.
No answer can pass for a request: their signature bases begin with different components.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keno._core import mac_answer
from keno.identity.operators import KnownKey
from keno.identity.signature import HmacSecret
from keno.infra.published_key import PublishedKey


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
        shared = requester.verifying_key
        if isinstance(shared, HmacSecret):
            digest, signature_input, signature = mac_answer(
                shared.secret, status, body, request_signature, requester.id, now_s
            )
        else:
            digest, signature_input, signature = self._key.sign_answer(status, body, request_signature, now_s)
        return {"Content-Digest": digest, "Signature-Input": signature_input, "Signature": signature}
