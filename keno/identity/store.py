"""The SQL of operators, their keys, ours, and staff. Every function takes a connection or pool and is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from keno.identity.networks import Network
from keno.identity.operators import (
    Key,
    KeyExistsError,
    KeyLimitError,
    Operator,
    OperatorExistsError,
    OperatorNotFoundError,
    OperatorStatus,
    WalletMode,
)
from keno.identity.signature import Algorithm
from keno.identity.staff import Role, Staff, StaffError
from keno.infra.postgres import Connection, Executor
from keno.phrases import said
from keno.risk.rates import Rate

Purpose = Literal["player-token", "wallet-callback"]
KeyState = Literal["next", "current", "retired", "revoked"]


class StoredKey(NamedTuple):
    """A key as it is kept: `material` is the public key, or the wrapped secret."""

    id: str
    algorithm: Algorithm
    material: bytes
    revoked_ms: int | None
    operator: Operator


class StoredSigningKey(NamedTuple):
    """A key that we sign with, as it is kept: the private half wrapped, and none once it has stopped to sign."""

    kid: str
    purpose: Purpose
    state: KeyState
    public_key: bytes
    private_key: bytes | None
    created_ms: int
    changed_ms: int


async def add_operator(conn: Executor, name: str, currencies: Sequence[str], wallet_mode: WalletMode) -> Operator:
    """Insert an operator. Raises OperatorExistsError."""
    try:
        rows = await conn.fetch(
            "INSERT INTO operators (name, currencies, wallet_mode) VALUES ($1, $2, $3) "
            "RETURNING id, name, wallet_mode, currencies, status, bets_per_s_max, networks",
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
        "SELECT id, name, wallet_mode, currencies, status, bets_per_s_max, networks FROM operators WHERE name = $1",
        name,
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
        raise KeyExistsError(said("there is a key {key_id}", key_id=key_id)) from error
    except asyncpg.ForeignKeyViolationError as error:
        raise OperatorNotFoundError(f"no operator {operator_id}") from error
    except asyncpg.CheckViolationError as error:
        # The service checked the id and the algorithm, so what is left is the trigger two_active_keys.
        raise KeyLimitError(
            said("operator {operator_id} has two active keys: revoke one first", operator_id=operator_id)
        ) from error
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
        "o.bets_per_s_max, o.networks "
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
        tuple(row["networks"]),
    )


async def hold_operator(conn: Connection, operator_id: UUID) -> None:
    """Lets one transaction at a time change an operator and its keys."""
    await conn.execute("SELECT FROM operators WHERE id = $1 FOR NO KEY UPDATE", operator_id)


async def networks_of(conn: Executor, operator_id: UUID) -> tuple[Network, ...]:
    """From where an operator's requests may come."""
    return tuple(await conn.fetchval("SELECT networks FROM operators WHERE id = $1", operator_id))


async def set_networks(conn: Executor, operator_id: UUID, networks: Sequence[Network]) -> None:
    """Replaces from where an operator's requests may come."""
    await conn.execute("UPDATE operators SET networks = $2 WHERE id = $1", operator_id, list(networks))


async def operator_status(conn: Executor, operator_id: UUID) -> OperatorStatus | None:
    """An operator's status."""
    status: OperatorStatus | None = await conn.fetchval("SELECT status FROM operators WHERE id = $1", operator_id)
    return status


async def player_id(conn: Executor, operator_id: UUID, player: str) -> int | None:
    """Our number of an operator's player."""
    found: int | None = await conn.fetchval(
        "SELECT id FROM players WHERE operator_id = $1 AND reference = $2", operator_id, player
    )
    return found


# ---- keys that we sign with ----


async def hold_signing_keys(conn: Connection) -> None:
    """Lets one transaction at a time change which keys sign."""
    await conn.execute("SELECT pg_advisory_xact_lock(7306)")


async def signing_keys(conn: Executor, retired_for_ms: int) -> list[StoredSigningKey]:
    """The keys that sign or will, and those that were retired within that time; the newest first."""
    rows = await conn.fetch(
        "SELECT kid, purpose, state, public_key, private_key, created_ms, changed_ms FROM signing_keys "
        "WHERE state IN ('next', 'current') OR (state = 'retired' AND changed_ms > now_ms() - $1::bigint) "
        "ORDER BY created_ms DESC, kid",
        retired_for_ms,
    )
    return [StoredSigningKey(*row) for row in rows]


async def add_signing_key(
    conn: Connection, kid: str, purpose: Purpose, state: KeyState, public_key: bytes, private_key: bytes
) -> None:
    """Insert a key with its private half wrapped."""
    await conn.execute(
        "INSERT INTO signing_keys (kid, purpose, state, public_key, private_key) VALUES ($1, $2, $3, $4, $5)",
        kid,
        purpose,
        state,
        public_key,
        private_key,
    )


async def stop_signing_key(conn: Connection, purpose: Purpose, state: Literal["retired", "revoked"]) -> str | None:
    """Ends the current key of a purpose and erases its private half; its kid."""
    kid: str | None = await conn.fetchval(
        "UPDATE signing_keys SET state = $2, private_key = NULL, changed_ms = now_ms() "
        "WHERE purpose = $1 AND state = 'current' RETURNING kid",
        purpose,
        state,
    )
    return kid


async def promote_signing_key(conn: Connection, purpose: Purpose) -> str | None:
    """Makes the next key of a purpose the current one; its kid, or None where there is none."""
    kid: str | None = await conn.fetchval(
        "UPDATE signing_keys SET state = 'current', changed_ms = now_ms() "
        "WHERE purpose = $1 AND state = 'next' RETURNING kid",
        purpose,
    )
    return kid


# ---- staff ----


class StoredStaff(NamedTuple):
    """Somebody with what they log in with, as it is kept."""

    staff: Staff
    password_hash: str
    totp_secret: bytes


_STAFF = "id, name, role, operator_id, credentials, status"


async def add_staff(
    conn: Executor, name: str, role: Role, operator_id: UUID | None, password_hash: str, totp_secret: bytes
) -> UUID:
    """Insert somebody; the id. Raises StaffError."""
    try:
        staff_id: UUID = await conn.fetchval(
            "INSERT INTO staff (name, role, operator_id, password_hash, totp_secret) VALUES ($1, $2, $3, $4, $5) "
            "RETURNING id",
            name,
            role,
            operator_id,
            password_hash,
            totp_secret,
        )
    except asyncpg.UniqueViolationError as error:
        raise StaffError(f"there is somebody named {name}") from error
    return staff_id


async def reset_staff(conn: Executor, name: str, password_hash: str, totp_secret: bytes) -> UUID | None:
    """Replaces what somebody logs in with, and lets them in again; the id, or None where there is no such name."""
    staff_id: UUID | None = await conn.fetchval(
        "UPDATE staff SET password_hash = $2, totp_secret = $3, totp_step = 0, credentials = credentials + 1, "
        "status = 'active' WHERE name = $1 RETURNING id",
        name,
        password_hash,
        totp_secret,
    )
    return staff_id


async def disable_staff(conn: Executor, name: str) -> UUID | None:
    """Disables somebody; the id, or None where nobody active has this name."""
    staff_id: UUID | None = await conn.fetchval(
        "UPDATE staff SET status = 'disabled' WHERE name = $1 AND status = 'active' RETURNING id", name
    )
    return staff_id


async def all_staff(conn: Executor) -> list[Staff]:
    """Everybody, by name."""
    return [Staff(*row) for row in await conn.fetch(f"SELECT {_STAFF} FROM staff ORDER BY name")]  # noqa: S608


async def staff_by_id(conn: Executor, staff_id: UUID) -> Staff | None:
    """Somebody by their id."""
    row = await conn.fetchrow(f"SELECT {_STAFF} FROM staff WHERE id = $1", staff_id)  # noqa: S608
    return None if row is None else Staff(*row)


async def stored_staff(conn: Executor, name: str) -> StoredStaff | None:
    """Somebody by their name, with what they log in with."""
    row = await conn.fetchrow(f"SELECT {_STAFF}, password_hash, totp_secret FROM staff WHERE name = $1", name)  # noqa: S608
    return None if row is None else StoredStaff(Staff(*list(row)[:6]), row["password_hash"], row["totp_secret"])


async def spend_totp_step(conn: Executor, staff_id: UUID, credentials: int, step: int) -> bool:
    """Whether the password of this step and later ones are still to be used; uses it up."""
    spent = await conn.fetchval(
        "UPDATE staff SET totp_step = $3 WHERE id = $1 AND credentials = $2 AND status = 'active' AND totp_step < $3 "
        "RETURNING true",
        staff_id,
        credentials,
        step,
    )
    return spent is not None


async def rehash_password(conn: Executor, staff_id: UUID, before: str, after: str) -> None:
    """Replaces the hash of a password by another hash of it, unless the password was changed meanwhile."""
    await conn.execute(
        "UPDATE staff SET password_hash = $3 WHERE id = $1 AND password_hash = $2", staff_id, before, after
    )
