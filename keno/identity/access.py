"""What is decided for an operator about who may sign for it, and from where: over its API, by staff, or on the command
line.

Every change is recorded in the audit trail, in its transaction, under `actor`. It holds in every process within a
second (`cache.AGE_MS`). Authentication itself is in `service.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Meta

from keno.identity import store
from keno.identity.networks import Network
from keno.identity.operators import IdentityError, Key, KeyExistsError, KeyLimitError
from keno.identity.service import IdentityService
from keno.phrases import said
from keno.reporting.store import log_admin_action
from keno.requests import HashHex, RequestError, decode_as


class KeyNotFoundError(IdentityError):
    """The operator has no key of this id."""


class LastKeyError(IdentityError):
    """The operator would have no active key left, and could sign nothing any more."""


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to add: an Ed25519 public key in hex, or a shared secret that we make."""

    key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    algorithm: Literal["ed25519", "hmac-sha256"]
    public_key: HashHex | None = None


class NetworksRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All networks that requests may come from; none: they may come from anywhere."""

    networks: list[str]


class AddedKey(NamedTuple):
    """A key, the secret that is shown this once, and whether the very same key was there before."""

    key: Key
    secret: bytes | None
    replayed: bool


_key_decoder = msgspec.json.Decoder(KeyRequest)
_networks_decoder = msgspec.json.Decoder(NetworksRequest)


def decode_key(body: bytes) -> KeyRequest:
    """The key in `body`; raises RequestError."""
    request = decode_as(_key_decoder, body)
    if (request.public_key is not None) != (request.algorithm == "ed25519"):
        raise RequestError("invalid_request", "ed25519 has a public_key, and only ed25519 has one", "public_key")
    return request


def decode_networks(body: bytes) -> NetworksRequest:
    """The networks in `body`; raises RequestError."""
    return decode_as(_networks_decoder, body)


class AccessService:
    """Keys and networks of operators. `identity` adds the keys."""

    def __init__(self, pool: asyncpg.Pool, identity: IdentityService) -> None:
        self._pool = pool
        self._identity = identity

    async def has_operator(self, operator_id: UUID) -> bool:
        """Whether there is such an operator."""
        return await store.operator_status(self._pool, operator_id) is not None

    async def keys(self, operator_id: UUID) -> list[Key]:
        """An operator's keys, oldest first, revoked ones included."""
        return await store.keys_of(self._pool, operator_id)

    async def add_key(self, operator_id: UUID, request: KeyRequest, *, actor: str) -> AddedKey:
        """Add a key. The same public key under the same id again is the same key.

        Raises PublicKeyError, KeyExistsError, KeyLimitError.
        """
        if request.public_key is None:
            secret = await self._identity.add_hmac_key(operator_id, request.key_id, actor=actor)
            return AddedKey(await self._key(operator_id, request.key_id), secret, replayed=False)
        public_key = bytes.fromhex(request.public_key)
        try:
            key = await self._identity.add_ed25519_key(operator_id, request.key_id, public_key, actor=actor)
        except (KeyExistsError, KeyLimitError):
            there = await store.stored_key(self._pool, request.key_id)
            asked = operator_id, public_key, None
            if there is None or (there.operator.id, there.material, there.revoked_ms) != asked:
                raise
            return AddedKey(await self._key(operator_id, request.key_id), None, replayed=True)
        return AddedKey(key, None, replayed=False)

    async def revoke_key(self, operator_id: UUID, key_id: str, *, actor: str) -> Key:
        """Revoke an operator's key for good, unless it is its last; one that is revoked stays as it is.

        Raises KeyNotFoundError, LastKeyError.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            # One at a time for an operator: two keys that revoke each other would both be gone.
            await store.hold_operator(conn, operator_id)
            active = [key.id for key in await store.keys_of(conn, operator_id) if key.revoked_ms is None]
            if active == [key_id]:
                raise LastKeyError("this is the operator's last key: add another one first")
            if key_id in active:
                await store.revoke_key(conn, key_id)
                before, after = {"status": "active"}, {"status": "revoked", "operator": str(operator_id)}
                await log_admin_action(conn, actor, "key.revoked", key_id, before, after)
        await self._identity.changed(operator_id)
        return await self._key(operator_id, key_id)

    async def networks(self, operator_id: UUID) -> tuple[Network, ...]:
        """From where an operator's requests may come; from anywhere where there are none."""
        return await store.networks_of(self._pool, operator_id)

    async def set_networks(self, operator_id: UUID, networks: tuple[Network, ...], *, actor: str) -> None:
        """Replace from where an operator's requests may come."""
        async with self._pool.acquire() as conn, conn.transaction():
            await store.hold_operator(conn, operator_id)
            before = await store.networks_of(conn, operator_id)
            await store.set_networks(conn, operator_id, networks)
            change = [{"networks": [str(network) for network in each]} for each in (before, networks)]
            await log_admin_action(conn, actor, "operator.networks_set", str(operator_id), *change)
        await self._identity.changed(operator_id)

    async def _key(self, operator_id: UUID, key_id: str) -> Key:
        for key in await self.keys(operator_id):
            if key.id == key_id:
                return key
        raise KeyNotFoundError(said("the operator has no key {key_id}", key_id=key_id))
