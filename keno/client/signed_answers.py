"""Checks that an answer is signed as the server signs: by the shared secret, or by a key that it publishes."""

from __future__ import annotations

import hmac
import re
import time
from base64 import b64encode, urlsafe_b64decode
from binascii import a2b_base64
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keno.client.errors import NotTheirAnswer
from keno.identity.signature import HmacSecret, SigningKey
from keno.shapes import JsonWebKeys

_COMPONENTS: Final = '("@status" "content-digest" "signature";req)'
_INPUT: Final = re.compile(
    rf'keno=({re.escape(_COMPONENTS)};created=([0-9]{{1,12}});keyid="([A-Za-z0-9_-]+)";alg="(ed25519|hmac-sha256)")'
)
_SIGNATURE: Final = re.compile(r"keno=:((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?):")
_CLOCK_S: Final = 60
_UNSIGNED: Final = (400, 401, 408, 413, 421)
"""A request that was not signed well is refused without a signature."""


class AnswerChecker:
    """Checks answers to one operator's requests; `published` gives the server's keys as they are now."""

    def __init__(self, key_id: str, key: SigningKey, published: Callable[[], Awaitable[JsonWebKeys]]) -> None:
        self._key_id = key_id
        self._key = key
        self._published = published
        self._their_keys: dict[str, Ed25519PublicKey] = {}

    async def check(self, answer: httpx.Response, request_signature: str) -> None:
        """Raises NotTheirAnswer."""
        if answer.status_code in _UNSIGNED and "signature" not in answer.headers:
            return
        found = _INPUT.fullmatch(answer.headers.get("signature-input", ""))
        signature = _SIGNATURE.fullmatch(answer.headers.get("signature", ""))
        digest = f"sha-256=:{b64encode(sha256(answer.content).digest()).decode()}:"
        if found is None or signature is None or answer.headers.get("content-digest") != digest:
            raise NotTheirAnswer("the answer has no signature of the profile over its bytes")
        params, created_s, key_id, algorithm = found.groups()
        if abs(time.time() - int(created_s)) > _CLOCK_S or (algorithm == "ed25519") == isinstance(
            self._key, HmacSecret
        ):
            raise NotTheirAnswer("the answer was signed at another time, or with another kind of key")
        base = (
            f'"@status": {answer.status_code}\n"content-digest": {digest}\n"signature";req: {request_signature}\n'
            f'"@signature-params": {params}'
        ).encode()
        if not await self._is_theirs(key_id, a2b_base64(signature[1]), base):
            raise NotTheirAnswer("the signature of the answer is wrong")

    async def _is_theirs(self, key_id: str, signature: bytes, base: bytes) -> bool:
        if isinstance(self._key, HmacSecret):
            return key_id == self._key_id and hmac.compare_digest(
                hmac.digest(self._key.secret, base, "sha256"), signature
            )
        if key_id not in self._their_keys:
            await self._learn_keys()
        if key_id not in self._their_keys:
            return False
        try:
            self._their_keys[key_id].verify(signature, base)
        except InvalidSignature:
            return False
        return True

    async def _learn_keys(self) -> None:
        for each in (await self._published()).keys:
            raw = urlsafe_b64decode(each.x + "=" * (-len(each.x) % 4))
            self._their_keys[each.kid] = Ed25519PublicKey.from_public_bytes(raw)
