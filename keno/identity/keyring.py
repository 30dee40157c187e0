"""The keys that signatures are verified with, cached in the process so that a signed request costs no SQL.

An entry lives CACHE_MS: a revoked key or a suspended operator is refused at most that much later. Unknown ids
are remembered as long, and the number of entries is bounded, so that invented ids fill no memory.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keno.identity import store
from keno.identity.operators import KnownKey
from keno.identity.signature import Ed25519Verifier, HmacSecret, VerifyingKey
from keno.infra import keywrap

CACHE_MS: Final = 1_000
CACHE_ENTRIES_MAX: Final = 4_096


class _Entry(NamedTuple):
    loaded_ms: int
    key: KnownKey | None


class Keyring:
    """Keys by id. `platform_key` is the 32 bytes that shared secrets are wrapped under."""

    def __init__(self, pool: asyncpg.Pool, platform_key: bytes) -> None:
        if len(platform_key) != 32:
            raise ValueError("the platform key has 32 bytes")
        self._pool = pool
        self._platform_key = platform_key
        self._entries: dict[str, _Entry] = {}
        self._loading: dict[str, asyncio.Task[KnownKey | None]] = {}

    async def find(self, key_id: str, now_ms: int) -> KnownKey | None:
        """The key of this id, revoked or not; None where there is none. At most CACHE_MS old."""
        entry = self._entries.get(key_id)
        if entry is not None and 0 <= now_ms - entry.loaded_ms < CACHE_MS:
            return entry.key
        loading = self._loading.get(key_id)
        if loading is None:
            loading = asyncio.create_task(self._load(key_id, now_ms))
            self._loading[key_id] = loading
            loading.add_done_callback(lambda _: self._loading.pop(key_id, None))
        # Shielded: a caller that goes away must not take the answer from those who wait with it.
        return await asyncio.shield(loading)

    def forget(self, key_id: str) -> None:
        """Drop what is cached of a key, after a change in this process."""
        self._entries.pop(key_id, None)

    def wrap(self, key_id: str, secret: bytes) -> bytes:
        """A shared secret as it is stored, bound to its key's id."""
        return keywrap.wrap(self._platform_key, secret, _context(key_id))

    async def _load(self, key_id: str, now_ms: int) -> KnownKey | None:
        stored = await store.stored_key(self._pool, key_id)
        key = None
        if stored is not None:
            key = KnownKey(stored.id, stored.revoked_ms is not None, self._verifying_key(stored), stored.operator)
        if len(self._entries) >= CACHE_ENTRIES_MAX:
            self._entries.clear()
        self._entries[key_id] = _Entry(now_ms, key)
        return key

    def _verifying_key(self, stored: store.StoredKey) -> VerifyingKey:
        if stored.algorithm == "ed25519":
            return Ed25519Verifier(Ed25519PublicKey.from_public_bytes(stored.material))
        return HmacSecret(keywrap.unwrap(self._platform_key, stored.material, _context(stored.id)))


def _context(key_id: str) -> bytes:
    return b"keno:operator-key:" + key_id.encode("ascii")
