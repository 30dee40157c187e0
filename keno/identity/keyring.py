"""The keys that signatures are verified with, and the operators whose they are, so that a signed request costs no SQL.

A revoked key or a suspended operator is refused within `cache.AGE_MS`, mostly at once.
"""

from __future__ import annotations

from collections.abc import Awaitable
from ipaddress import ip_network
from uuid import UUID

import asyncpg
import msgspec

from keno._core import Ed25519Verifier
from keno.identity import store
from keno.identity.operators import KnownKey, Operator, OperatorStatus, WalletMode
from keno.identity.signature import Algorithm, HmacSecret, VerifyingKey
from keno.infra import keywrap
from keno.infra.cache import Cache
from keno.risk.rates import Rate


class _Copy(msgspec.Struct, array_like=True):
    """A key with its operator as it is cached; what is secret of it stays wrapped."""

    id: str
    algorithm: Algorithm
    material: bytes
    revoked: bool
    operator_id: UUID
    name: str
    wallet_mode: WalletMode
    currencies: tuple[str, ...]
    status: OperatorStatus
    per_second: int
    networks: tuple[str, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Copy)


class Keyring:
    """Keys by id. `platform_key` is the 32 bytes that shared secrets are wrapped under."""

    def __init__(self, pool: asyncpg.Pool, platform_key: bytes, cache: Cache) -> None:
        if len(platform_key) != 32:
            raise ValueError("the platform key has 32 bytes")
        self._pool = pool
        self._platform_key = platform_key
        self._keys = cache.kept("key", self._load, self._read)

    def find(self, key_id: str) -> Awaitable[KnownKey | None]:
        """The key of this id, revoked or not; None where there is none."""
        return self._keys.find(key_id)

    async def changed(self, *key_ids: str) -> None:
        """Tell every process that keys have changed, or their operator."""
        await self._keys.changed(*key_ids)

    def wrap(self, key_id: str, secret: bytes) -> bytes:
        """A shared secret as it is stored, bound to its key's id."""
        return keywrap.wrap(self._platform_key, secret, _context(key_id))

    async def _load(self, key_id: str) -> bytes | None:
        stored = await store.stored_key(self._pool, key_id)
        if stored is None:
            return None
        operator = stored.operator
        copy = _Copy(
            stored.id,
            stored.algorithm,
            stored.material,
            stored.revoked_ms is not None,
            operator.id,
            operator.name,
            operator.wallet_mode,
            operator.currencies,
            operator.status,
            operator.rate.per_second,
            tuple(str(network) for network in operator.networks),
        )
        return _encoder.encode(copy)

    def _read(self, data: bytes) -> KnownKey:
        copy = _decoder.decode(data)
        operator = Operator(
            copy.operator_id,
            copy.name,
            copy.wallet_mode,
            copy.currencies,
            copy.status,
            Rate(copy.per_second),
            tuple(ip_network(network) for network in copy.networks),
        )
        return KnownKey(copy.id, copy.revoked, self._verifying_key(copy), operator)

    def _verifying_key(self, copy: _Copy) -> VerifyingKey:
        if copy.algorithm == "ed25519":
            return Ed25519Verifier(copy.material)
        return HmacSecret(keywrap.unwrap(self._platform_key, copy.material, _context(copy.id)))


def _context(key_id: str) -> bytes:
    return b"keno:operator-key:" + key_id.encode("ascii")
