"""Operators, their keys, and who a signed request comes from.

Authorization (which operator may do what) belongs to the services that are called; how much is too much to `keno.risk`;
accounts to the wallet.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis

from keno._core import Ed25519Verifier, SignedRequest
from keno.errors import KenoError
from keno.identity import signature, store
from keno.identity.admission import Admission, Admissions
from keno.identity.keyring import Keyring
from keno.identity.operators import (
    OPERATOR_STATUS,
    IdentityError,
    Key,
    KnownKey,
    Operator,
    OperatorNotFoundError,
    PublicKeyError,
    WalletMode,
    checked_currencies,
    checked_key_id,
    checked_name,
)
from keno.identity.responses import ResponseKey
from keno.infra.cache import Cache
from keno.phrases import said
from keno.reporting.store import log_admin_action
from keno.risk.rates import PER_SECOND_MAX

ED25519_PUBLIC_BYTES = 32
HMAC_SECRET_BYTES = 32


class AuthenticationError(KenoError):
    """The signature is good or might be, but its key or nonce does not let the request in. `code` is stable."""

    def __init__(
        self, code: Literal["unknown_key", "key_revoked", "operator_suspended", "nonce_replayed"], detail: str
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Verified(msgspec.Struct, frozen=True, gc=False):
    """A request that an operator signed. It is not let in yet: its nonce may have been used before."""

    signed: SignedRequest
    key: KnownKey
    now_ms: int


class IdentityService:
    """Adds operators and keys, and authenticates operators by their signatures.

    Every change is recorded in the audit trail, in its transaction, under `actor`: who made it.
    """

    def __init__(self, pool: asyncpg.Pool, redis: Redis, platform_key: bytes, cache: Cache) -> None:
        self._pool = pool
        self._cache = cache
        self._keyring = Keyring(pool, platform_key, cache)
        self._admissions = Admissions(redis)
        self.response_key = ResponseKey(platform_key)

    async def close(self) -> None:
        """Answers everybody who waits to be let in."""
        await self._admissions.close()

    async def verify(
        self, method: str, target_uri: str, values_of: Callable[[str], Sequence[str]], body: bytes, now_ms: int
    ) -> Verified:
        """Who signed this request. `target_uri` is absolute; `values_of` gives the values of a lower-case header.

        Raises `signature.SignatureError`, `AuthenticationError`. A key's state is told only to who can sign with it.
        """
        signed = signature.parse(values_of)
        key = await self._keyring.find(signed.key_id)
        if key is None:
            raise AuthenticationError("unknown_key", said("no key {key_id}", key_id=signed.key_id))
        signature.verify(signed, key.verifying_key, method=method, target_uri=target_uri, body=body, now_ms=now_ms)
        if key.revoked:
            raise AuthenticationError("key_revoked", said("key {key_id} was revoked", key_id=key.id))
        operator = key.operator
        if operator.status != "active":
            raise AuthenticationError(
                "operator_suspended", said("operator {name} is {status}", name=operator.name, status=operator.status)
            )
        return Verified(signed, key, now_ms)

    def admit(self, verified: Verified, cost: int) -> Awaitable[Admission]:
        """Spends the nonce of a request that was verified, so that nobody else can burn it, and takes what it costs.

        The answer must be looked at: whether the nonce was used before, and whether the operator's rate lets it in.
        Raises `admission.AdmissionError` where nobody can be let in, at once or when it is awaited.
        """
        signed, key = verified.signed, verified.key
        return self._admissions.ask(
            key.id,
            signed.nonce,
            key.operator.id,
            key.operator.rate,
            cost,
            created_s=signed.created_s,
            now_ms=verified.now_ms,
        )

    async def add_operator(
        self, name: str, currencies: Sequence[str], wallet_mode: WalletMode = "transfer", *, actor: str
    ) -> Operator:
        """Add an operator without keys or accounts. Raises IdentityError, OperatorExistsError."""
        checked = checked_name(name), checked_currencies(currencies)
        async with self._pool.acquire() as conn, conn.transaction():
            operator = await store.add_operator(conn, *checked, wallet_mode)
            after = {"name": operator.name, "currencies": list(operator.currencies), "wallet_mode": wallet_mode}
            await log_admin_action(conn, actor, "operator.added", str(operator.id), None, after)
        return operator

    async def limit_rate(self, operator_id: UUID, per_second: int, *, actor: str) -> None:
        """Replace how many bets a second an operator may send; gateways follow within a second.

        Raises IdentityError, OperatorNotFoundError.
        """
        if not 1 <= per_second <= PER_SECOND_MAX:
            raise IdentityError(f"a rate is 1 to {PER_SECOND_MAX} bets a second, not {per_second}")
        async with self._pool.acquire() as conn, conn.transaction():
            before = await store.set_rate(conn, operator_id, per_second)
            if before is None:
                raise OperatorNotFoundError(f"no operator {operator_id}")
            changed = {"bets_per_s_max": before}, {"bets_per_s_max": per_second}
            await log_admin_action(conn, actor, "operator.rate_limited", str(operator_id), *changed)
        await self.changed(operator_id)

    async def changed(self, operator_id: UUID) -> None:
        """Tell every process, after the commit, that an operator's configuration has changed, or its keys."""
        await self._keyring.changed(*(key.id for key in await store.keys_of(self._pool, operator_id)))
        await self._cache.changed(OPERATOR_STATUS, str(operator_id))

    async def operator(self, name: str) -> Operator | None:
        """The operator of this name."""
        return await store.operator_by_name(self._pool, name)

    async def add_ed25519_key(self, operator_id: UUID, key_id: str, public_key: bytes, *, actor: str) -> Key:
        """Add an operator's raw 32-byte public key.

        Raises IdentityError, PublicKeyError, KeyExistsError, KeyLimitError, OperatorNotFoundError.
        """
        if len(public_key) != ED25519_PUBLIC_BYTES:
            raise IdentityError(f"an Ed25519 public key has {ED25519_PUBLIC_BYTES} bytes, not {len(public_key)}")
        if not Ed25519Verifier(public_key).is_sound:
            raise PublicKeyError(said("these 32 bytes are no public key of Ed25519"))
        return await self._add_key(operator_id, checked_key_id(key_id), "ed25519", public_key, actor)

    async def add_hmac_key(self, operator_id: UUID, key_id: str, *, actor: str) -> bytes:
        """Add a shared key; returns its secret, which is shown this once and kept wrapped.

        Raises IdentityError, KeyExistsError, KeyLimitError, OperatorNotFoundError.
        """
        secret = secrets.token_bytes(HMAC_SECRET_BYTES)
        wrapped = self._keyring.wrap(checked_key_id(key_id), secret)
        await self._add_key(operator_id, key_id, "hmac-sha256", wrapped, actor)
        return secret

    async def revoke_key(self, key_id: str, *, actor: str) -> bool:
        """Revoke a key for good; it is refused within a second. False where no active key has this id."""
        async with self._pool.acquire() as conn, conn.transaction():
            operator_id = await store.revoke_key(conn, key_id)
            if operator_id is not None:
                before, after = {"status": "active"}, {"status": "revoked", "operator": str(operator_id)}
                await log_admin_action(conn, actor, "key.revoked", key_id, before, after)
        await self._keyring.changed(key_id)
        return operator_id is not None

    async def keys(self, operator_id: UUID) -> list[Key]:
        """An operator's keys, oldest first, revoked ones included."""
        return await store.keys_of(self._pool, operator_id)

    async def _add_key(
        self, operator_id: UUID, key_id: str, algorithm: signature.Algorithm, material: bytes, actor: str
    ) -> Key:
        async with self._pool.acquire() as conn, conn.transaction():
            key = await store.add_key(conn, operator_id, key_id, algorithm, material)
            after = {"algorithm": algorithm, "operator": str(operator_id)}
            await log_admin_action(conn, actor, "key.added", key_id, None, after)
        await self._keyring.changed(key_id)
        return key
