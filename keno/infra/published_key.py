"""An Ed25519 key of ours that stays: made from 32 secret bytes, and named by itself.

So no process has to ask another for it. Keys that rotate are those of keno/identity/signing_keys.py.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256

from keno._core import Ed25519Signer


class PublishedKey:
    """Signs. `id` is the thumbprint of RFC 7638, `public` the 32 bytes of the public key."""

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519Signer(secret)
        self.public = self._key.public
        self._x = _base64url(self.public)
        self.id = _base64url(sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{self._x}"}}'.encode()).digest())

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as a JSON Web Key (RFC 7517, RFC 8037)."""
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "alg": "Ed25519", "x": self._x}

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes; of the same message always the same (RFC 8032)."""
        return self._key.sign(message)

    def sign_answer(self, status: int, body: bytes, request_signature: str, now_s: int) -> tuple[str, str, str]:
        """Content-Digest, Signature-Input and Signature of an answer (keno/identity/responses.py)."""
        return self._key.sign_answer(status, body, request_signature, self.id, now_s)


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
