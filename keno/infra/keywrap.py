"""Wrapping of secrets at rest with AES-256-GCM, and keys that are derived from others with HKDF-SHA256.

A wrapped secret is nonce (12 bytes), ciphertext, tag. The context is authenticated with it, so that a secret copied to
another row does not open. Where the wrapping key comes from is decided in `keno.bootstrap`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from keno.errors import KenoError

_NONCE_BYTES = 12
_TAG_BYTES = 16


class UnwrapError(KenoError):
    """The wrapped bytes were not made with this key and context."""


def wrap(key: bytes | bytearray, secret: bytes | bytearray, context: bytes) -> bytes:
    """Wraps `secret` under a 32-byte key."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret, context)


def unwrap(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    """Opens what `wrap` made; raises UnwrapError for another key, another context or changed bytes."""
    try:
        return AESGCM(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise UnwrapError("wrapped secret does not open with this key") from error


def unwrap_wipeable(key: bytes | bytearray, wrapped: bytes, context: bytes) -> bytearray:
    """As `unwrap`, into memory that the caller wipes (`wiped`)."""
    secret = bytearray(max(0, len(wrapped) - _NONCE_BYTES - _TAG_BYTES))
    try:
        AESGCM(key).decrypt_into(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context, secret)
    except (InvalidTag, ValueError) as error:
        raise UnwrapError("wrapped secret does not open with this key") from error
    return secret


@contextmanager
def wiped(secret: bytearray) -> Iterator[bytearray]:
    """Gives a secret, and overwrites it with zeros at the end."""
    try:
        yield secret
    finally:
        secret[:] = bytes(len(secret))


def derive(key: bytes, purpose: bytes) -> bytes:
    """Another 32-byte key for one purpose, which tells nothing about `key`."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=purpose).derive(key)
