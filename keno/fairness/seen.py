"""Locks that operators have seen: each signs one with a key of its own, and the evidence of the round shows it.

So a house that shows one lock to some and another to others is found out by two signatures that it cannot make. Nothing
is stored that was not verified, and nothing stored is changed.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Meta

from keno._core import Ed25519Verifier
from keno.fairness import store
from keno.identity import store as identity_store
from keno.phrases import said
from keno.requests import ID_MAX, HashHex, RequestError, decode_as

CLOCK_MS: Final = 60_000
"""How far an operator's clock may be off."""


class SeenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lock of a round, when it was seen, and the signature of an active Ed25519 key of the operator on both."""

    lock: HashHex
    seen_ms: Annotated[int, Meta(ge=1, le=ID_MAX)]
    key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


class Seen(NamedTuple):
    """What stands, and whether it stood before."""

    lock: store.SeenLock
    replayed: bool


_decoder = msgspec.json.Decoder(SeenRequest)


def decode_seen(body: bytes) -> SeenRequest:
    """The countersignature in `body`; raises RequestError."""
    return decode_as(_decoder, body)


def seen_message(lock: bytes, seen_ms: int) -> bytes:
    """What is signed: `"keno1:seen" L u64 seen_ms`."""
    return b"keno1:seen" + lock + seen_ms.to_bytes(8, "big")


class SeenLocks:
    """Takes countersignatures of locks."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, operator_id: UUID, round_id: int, asked: SeenRequest) -> Seen:
        """Stores an operator's countersignature of the lock of a round, which is there.

        Raises RequestError, and has then stored nothing: `round_not_locked`, `lock_differs`, `key_not_found`,
        `invalid_request` for a time that cannot be, `seen_invalid`, and `seen_before` where the operator signed
        something else for this round.
        """
        lock = bytes.fromhex(asked.lock)
        locked = await store.locked_round(self._pool, round_id)
        if locked is None:
            raise RequestError("round_not_locked", said("round {round_id} has no lock yet", round_id=round_id))
        if lock != locked.lock:
            detail = said("the lock of round {round_id} is {lock}", round_id=round_id, lock=locked.lock.hex())
            raise RequestError("lock_differs", detail, "lock")
        if not locked.locked_ms - CLOCK_MS <= asked.seen_ms <= locked.now_ms + CLOCK_MS:
            like = "the lock is of {locked_ms}, and here it is {now_ms}"
            detail = said(like, locked_ms=locked.locked_ms, now_ms=locked.now_ms)
            raise RequestError("invalid_request", detail, "seen_ms")
        public_key = await self._public_key(operator_id, asked.key_id)
        signature = bytes.fromhex(asked.signature)
        if not Ed25519Verifier(public_key).verify(signature, seen_message(lock, asked.seen_ms)):
            raise RequestError("seen_invalid", "the key did not sign this lock and time", "signature")
        seen = store.SeenLock(lock, public_key, asked.seen_ms, signature)
        fresh = await store.add_seen_lock(self._pool, round_id, operator_id, seen)
        if not fresh and await store.seen_lock(self._pool, round_id, operator_id) != seen:
            detail = said("you have countersigned the lock of round {round_id} before", round_id=round_id)
            raise RequestError("seen_before", detail)
        return Seen(seen, replayed=not fresh)

    async def _public_key(self, operator_id: UUID, key_id: str) -> bytes:
        key = await identity_store.stored_key(self._pool, key_id)
        if key is None or key.operator.id != operator_id or key.revoked_ms is not None or key.algorithm != "ed25519":
            raise RequestError(
                "key_not_found", said("you have no active Ed25519 key {key_id}", key_id=key_id), "key_id"
            )
        return key.material
