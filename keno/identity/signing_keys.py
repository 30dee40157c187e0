"""The keys that we sign with: made, rotated, published, and cached in the process.

Each purpose has a current key and the next one, which is published before it signs, so that whoever caches our key set
knows it by then. A key that was rotated out is published and believed until what it signed last has expired. Private
halves are wrapped by the platform key and erased at the rotation. Every process sees a change within CACHE_MS, and a
key is believed that much longer, because another process may sign with it until then.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from keno.identity import store
from keno.identity.store import Purpose
from keno.identity.tokens import ACCESS_TOKEN_S, ALGORITHM, CLOCK_SKEW_MAX_S
from keno.infra import keywrap
from keno.infra.postgres import Connection
from keno.reporting.store import log_admin_action

CACHE_MS: Final = 1_000
RETIRED_MS: Final = (ACCESS_TOKEN_S + CLOCK_SKEW_MAX_S) * 1_000 + 2 * CACHE_MS
"""How long a key that was rotated out is published and believed."""


class SigningKey(NamedTuple):
    """A key that we sign with now, private half included."""

    kid: str
    key: OKPKey


class _Loaded(NamedTuple):
    loaded_ms: int
    public: dict[Purpose, dict[str, OKPKey]]
    current: dict[Purpose, SigningKey]


class SigningKeys:
    """Our keys by purpose. `platform_key` is the 32 bytes that private halves are wrapped under."""

    def __init__(self, pool: asyncpg.Pool, platform_key: bytes) -> None:
        self._pool = pool
        self._platform_key = platform_key
        self._loaded: _Loaded | None = None
        self._loading: asyncio.Task[_Loaded] | None = None

    async def current(self, purpose: Purpose, now_ms: int) -> SigningKey:
        """The key to sign with; the first one of a purpose is made when it is first asked for."""
        loaded = await self._fresh(now_ms)
        if purpose not in loaded.current:
            await self._make_first(purpose)
            self._loaded = None
            loaded = await self._fresh(now_ms)
        return loaded.current[purpose]

    async def verifying(self, purpose: Purpose, now_ms: int) -> Mapping[str, OKPKey]:
        """The public keys of a purpose that are believed now, by kid."""
        return (await self._fresh(now_ms)).public.get(purpose, {})

    async def jwks(self, now_ms: int) -> dict[str, Any]:
        """The key set of RFC 7517: every key that signs, will sign, or signed what may still hold."""
        loaded = await self._fresh(now_ms)
        return {"keys": [key.as_dict(private=False) for keys in loaded.public.values() for key in keys.values()]}

    async def rotate(self, purpose: Purpose, *, compromised: bool = False, actor: str) -> str:
        """The next key signs from now on, and a new next one is made; the kid that signs now.

        The old key is believed until what it signed has expired; a compromised one is not believed from now on.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await store.hold_signing_keys(conn)
            stopped = await store.stop_signing_key(conn, purpose, "revoked" if compromised else "retired")
            kid = await store.promote_signing_key(conn, purpose)
            if kid is None:
                kid = await self._make(conn, purpose, "current")
            await self._make(conn, purpose, "next")
            before, after = {"kid": stopped}, {"kid": kid, "compromised": compromised}
            await log_admin_action(conn, actor, "signing_key.rotated", purpose, before, after)
        self._loaded = None
        return kid

    async def listed(self) -> list[store.StoredSigningKey]:
        """The keys that are published, the newest first."""
        return await store.signing_keys(self._pool, RETIRED_MS)

    async def _make_first(self, purpose: Purpose) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await store.hold_signing_keys(conn)
            there = {key.state for key in await store.signing_keys(conn, 0) if key.purpose == purpose}
            for state in ("current", "next"):
                if state not in there:
                    await self._make(conn, purpose, state)

    async def _make(self, conn: Connection, purpose: Purpose, state: store.KeyState) -> str:
        kid, private = secrets.token_urlsafe(12), Ed25519PrivateKey.generate()
        wrapped = keywrap.wrap(self._platform_key, private.private_bytes_raw(), _context(purpose, kid))
        await store.add_signing_key(conn, kid, purpose, state, private.public_key().public_bytes_raw(), wrapped)
        return kid

    async def _fresh(self, now_ms: int) -> _Loaded:
        loaded = self._loaded
        if loaded is not None and 0 <= now_ms - loaded.loaded_ms < CACHE_MS:
            return loaded
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(now_ms))
            self._loading.add_done_callback(self._end_loading)
        # Shielded: a caller that goes away must not take the answer from those who wait with it.
        return await asyncio.shield(self._loading)

    def _end_loading(self, _: object) -> None:
        self._loading = None

    async def _load(self, now_ms: int) -> _Loaded:
        stored = await store.signing_keys(self._pool, RETIRED_MS)
        public: dict[Purpose, dict[str, OKPKey]] = {}
        current: dict[Purpose, SigningKey] = {}
        for each in stored:
            public.setdefault(each.purpose, {})[each.kid] = OKPKey.import_key(_jwk(each))
            if each.state == "current":
                current[each.purpose] = SigningKey(each.kid, self._private(each))
        self._loaded = _Loaded(now_ms, public, current)
        return self._loaded

    def _private(self, stored: store.StoredSigningKey) -> OKPKey:
        assert stored.private_key is not None, "a current key has its private half"  # noqa: S101
        raw = keywrap.unwrap(self._platform_key, stored.private_key, _context(stored.purpose, stored.kid))
        return OKPKey.import_key(_jwk(stored) | {"d": _base64url(raw)})


def _jwk(stored: store.StoredSigningKey) -> dict[str, Any]:
    x = _base64url(stored.public_key)
    return {"kty": "OKP", "crv": "Ed25519", "kid": stored.kid, "use": "sig", "alg": ALGORITHM, "x": x}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _context(purpose: Purpose, kid: str) -> bytes:
    return f"keno:signing-key:{purpose}:{kid}".encode("ascii")
