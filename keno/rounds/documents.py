"""Published paytables and rules by their hash, cached for good: what a hash names never changes."""

from __future__ import annotations

import asyncpg

from keno.infra.cache import FOR_GOOD_MS, Cache
from keno.rounds import room_store


class Documents:
    """The documents, byte for byte."""

    def __init__(self, pool: asyncpg.Pool, cache: Cache) -> None:
        self._pool = pool
        self._paytables = cache.kept("paytable", self._load_paytable, bytes, copy_ms=FOR_GOOD_MS)
        self._rules = cache.kept("rules", self._load_rules, bytes, copy_ms=FOR_GOOD_MS)

    async def paytable(self, digest: bytes) -> bytes | None:
        """The exact bytes of a published paytable."""
        return await self._paytables.find(digest.hex())

    async def rules(self, digest: bytes) -> bytes | None:
        """The exact bytes of published rules."""
        return await self._rules.find(digest.hex())

    async def _load_paytable(self, digest: str) -> bytes | None:
        return await room_store.published_paytable(self._pool, bytes.fromhex(digest))

    async def _load_rules(self, digest: str) -> bytes | None:
        return await room_store.published_rules(self._pool, bytes.fromhex(digest))
