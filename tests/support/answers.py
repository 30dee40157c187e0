"""Answers checked as an operator does: by the general RFC 9421 library, with its own secret or our published key."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier
from http_message_signatures.algorithms import ED25519, HMAC_SHA256
from http_message_signatures.resolvers import MappingKeyResolver

from keno.identity.signature import HmacSecret, SigningKey

COMPONENTS = ("@status", "content-digest", '"signature";req')


def check_answer(answer: httpx.Response, key_id: str, key: SigningKey, jwks: dict[str, list[dict[str, str]]]) -> None:
    """Raises what the library raises where the answer is not signed as it came, to the request that it is for."""
    if isinstance(key, HmacSecret):
        keys = MappingKeyResolver(public_keys={key_id: key.secret}, private_keys={})
        verifier = HTTPMessageVerifier(signature_algorithm=HMAC_SHA256, key_resolver=keys)
    else:
        public = {each["kid"]: Ed25519PublicKey.from_public_bytes(_raw(each["x"])) for each in jwks["keys"]}
        verifier = HTTPMessageVerifier(
            signature_algorithm=ED25519, key_resolver=MappingKeyResolver(public_keys=public, private_keys={})
        )
    verifier.verify(answer, require_components=COMPONENTS, body=answer.content)


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
