"""The SQL of operators and their keys. Every function takes a connection or a pool and is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from keno.identity.operators import (
    Key,
    KeyExistsError,
    KeyLimitError,
    Operator,
    OperatorExistsError,
    OperatorNotFoundError,
    WalletMode,
)
from keno.identity.signature import Algorithm
from keno.infra.postgres import Executor
from keno.risk.rates import Rate


class StoredKey(NamedTuple):
    """A key as it is kept: `material` is the public key, or the wrapped secret."""

    id: str
    algorithm: Algorithm
    material: bytes
    revoked_ms: int | None
    operator: Operator


async def add_operator(conn: Executor, name: str, currencies: Sequence[str], wallet_mode: WalletMode) -> Operator:
    """Insert an operator. Raises OperatorExistsError."""
    try:
        rows = await conn.fetch(
            "INSERT INTO operators (name, currencies, wallet_mode) VALUES ($1, $2, $3) "
            "RETURNING id, name, wallet_mode, currencies, status, bets_per_s_max",
            name,
            list(currencies),
            wallet_mode,
        )
    except asyncpg.UniqueViolationError as error:
        raise OperatorExistsError(f"there is an operator named {name}") from error
    return _operator(rows[0])


async def operator_by_name(conn: Executor, name: str) -> Operator | None:
    """The operator of this name."""
    row = await conn.fetchrow(
        "SELECT id, name, wallet_mode, currencies, status, bets_per_s_max FROM operators WHERE name = $1", name
    )
    return None if row is None else _operator(row)


async def add_key(conn: Executor, operator_id: UUID, key_id: str, algorithm: Algorithm, material: bytes) -> Key:
    """Insert a key. Raises KeyExistsError, KeyLimitError, OperatorNotFoundError."""
    try:
        rows = await conn.fetch(
            "INSERT INTO operator_keys (key_id, operator_id, algorithm, material) VALUES ($1, $2, $3, $4) "
            "RETURNING key_id, operator_id, algorithm, created_ms, revoked_ms",
            key_id,
            operator_id,
            algorithm,
            material,
        )
    except asyncpg.UniqueViolationError as error:
        raise KeyExistsError(f"there is a key {key_id}") from error
    except asyncpg.ForeignKeyViolationError as error:
        raise OperatorNotFoundError(f"no operator {operator_id}") from error
    except asyncpg.CheckViolationError as error:
        # The service checked the id and the algorithm, so what is left is the trigger two_active_keys.
        raise KeyLimitError(f"operator {operator_id} has two active keys: revoke one first") from error
    return Key(*rows[0])


async def keys_of(conn: Executor, operator_id: UUID) -> list[Key]:
    """An operator's keys, oldest first."""
    rows = await conn.fetch(
        "SELECT key_id, operator_id, algorithm, created_ms, revoked_ms FROM operator_keys WHERE operator_id = $1 "
        "ORDER BY created_ms, key_id",
        operator_id,
    )
    return [Key(*row) for row in rows]


async def revoke_key(conn: Executor, key_id: str) -> UUID | None:
    """Revoke a key for good; the operator it was of, or None where no active key has this id."""
    operator_id: UUID | None = await conn.fetchval(
        "UPDATE operator_keys SET revoked_ms = now_ms() WHERE key_id = $1 AND revoked_ms IS NULL RETURNING operator_id",
        key_id,
    )
    return operator_id


async def set_rate(conn: Executor, operator_id: UUID, per_second: int) -> int | None:
    """Replace an operator's rate; what it was before, or None where there is no such operator."""
    before: int | None = await conn.fetchval(
        "UPDATE operators AS o SET bets_per_s_max = $2 FROM operators AS before "
        "WHERE o.id = $1 AND before.id = o.id RETURNING before.bets_per_s_max",
        operator_id,
        per_second,
    )
    return before


async def stored_key(conn: Executor, key_id: str) -> StoredKey | None:
    """A key with its material and its operator, revoked or not."""
    row = await conn.fetchrow(
        "SELECT k.key_id, k.algorithm, k.material, k.revoked_ms, o.id, o.name, o.wallet_mode, o.currencies, o.status, "
        "o.bets_per_s_max "
        "FROM operator_keys k JOIN operators o ON o.id = k.operator_id WHERE k.key_id = $1",
        key_id,
    )
    if row is None:
        return None
    return StoredKey(row["key_id"], row["algorithm"], row["material"], row["revoked_ms"], _operator(row))


def _operator(row: asyncpg.Record) -> Operator:
    return Operator(
        row["id"],
        row["name"],
        row["wallet_mode"],
        tuple(row["currencies"]),
        row["status"],
        Rate(row["bets_per_s_max"]),
    )
