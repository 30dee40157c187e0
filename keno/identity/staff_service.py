"""Staff: added, reset, logged in with password and one-time password, and known by their session.

A session is a random token whose hash is in Redis; it belongs to the credentials it was opened with, and who it is of
is asked of PostgreSQL each time, so that a reset or a changed role holds at once. Passwords are made here and shown
once; what is kept is their argon2id hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.errors import KenoError
from keno.identity import lockout, store, totp
from keno.identity.lockout import Lockout
from keno.identity.staff import LoginRequest, Role, Staff, StaffError, checked_staff
from keno.infra import keywrap
from keno.reporting.store import log_action, log_admin_action

SESSION_IDLE_MS: Final = 30 * 60_000
SESSION_MAX_MS: Final = 12 * 3_600_000
_PASSWORD_BYTES: Final = 18
_TOKEN_BYTES: Final = 32
_HASHES_AT_ONCE_MAX: Final = 2
"""Each takes 64 MiB and a core for a while."""


class LoginError(KenoError):
    """Name, password and one-time password are not somebody's who may log in; which of them is told to nobody."""


class StaffSessionError(KenoError):
    """Not the token of a living session."""


class StaffStoreError(KenoError):
    """Redis could not say who a session is of."""


class Credentials(NamedTuple):
    """What somebody logs in with, shown this once. `totp_uri` is for their authenticator."""

    password: str
    totp_uri: str


class _Session(msgspec.Struct, frozen=True):
    staff_id: UUID
    credentials: int
    ends_ms: int


class StaffService:
    """Staff and their sessions. `platform_key` (32 bytes) wraps the secrets of their authenticators."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis, platform_key: bytes) -> None:
        self._pool = pool
        self._redis = redis
        self._platform_key = platform_key
        self._lockout = Lockout(redis)
        self._hasher = PasswordHasher()
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE_MAX)
        self._nobodys_hash: str | None = None

    async def add(self, name: str, role: Role, operator_id: UUID | None, *, actor: str) -> Credentials:
        """Add somebody. Raises StaffError."""
        checked_staff(name, role, operator_id)
        password, secret, hashed = await self._fresh_credentials()
        async with self._pool.acquire() as conn, conn.transaction():
            staff_id = await store.add_staff(conn, name, role, operator_id, hashed, self._wrapped(name, secret))
            after = {"name": name, "role": role, "operator": None if operator_id is None else str(operator_id)}
            await log_admin_action(conn, actor, "staff.added", str(staff_id), None, after)
        return Credentials(password, totp.provisioning_uri(secret, name))

    async def reset(self, name: str, *, actor: str) -> Credentials:
        """Replace what somebody logs in with; their sessions end. Raises StaffError."""
        password, secret, hashed = await self._fresh_credentials()
        async with self._pool.acquire() as conn, conn.transaction():
            staff_id = await store.reset_staff(conn, name, hashed, self._wrapped(name, secret))
            if staff_id is None:
                raise StaffError(f"there is nobody named {name}")
            await log_admin_action(conn, actor, "staff.reset", str(staff_id), None, {"name": name})
        return Credentials(password, totp.provisioning_uri(secret, name))

    async def disable(self, name: str, *, actor: str) -> None:
        """Let somebody in no more; their sessions end. Raises StaffError."""
        async with self._pool.acquire() as conn, conn.transaction():
            staff_id = await store.disable_staff(conn, name)
            if staff_id is None:
                raise StaffError(f"there is nobody named {name} who may log in")
            before, after = {"status": "active"}, {"status": "disabled", "name": name}
            await log_admin_action(conn, actor, "staff.disabled", str(staff_id), before, after)

    async def listed(self) -> list[Staff]:
        """Everybody, by name."""
        return await store.all_staff(self._pool)

    async def log_in(self, request: LoginRequest, address: str, now_ms: int) -> tuple[Staff, str]:
        """Who logged in, and the token of their session.

        Raises LoginError, `lockout.LockedError`, and StaffStoreError or `lockout.LockoutStoreError` where nobody can.
        """
        guessed = lockout.address(address), lockout.account(request.name)
        for each in guessed:
            await self._lockout.begin(each, now_ms)
        staff = await self._authenticated(request, now_ms)
        for each in guessed:
            await self._lockout.succeed(each)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        session = _Session(staff.id, staff.credentials, now_ms + SESSION_MAX_MS)
        await self._answer(self._redis.set(_name(token), msgspec.json.encode(session), px=SESSION_IDLE_MS))
        await log_action(self._pool, staff.actor, "staff.logged_in", str(staff.id), {"address": address})
        return staff, token

    async def authenticate(self, token: str, now_ms: int) -> Staff:
        """Who a session is of, as they are now. Raises StaffSessionError, StaffStoreError."""
        found = await self._answer(self._redis.getex(_name(token), px=SESSION_IDLE_MS))
        session = None if found is None else msgspec.json.decode(found, type=_Session)
        staff = None if session is None else await store.staff_by_id(self._pool, session.staff_id)
        if session is None or staff is None or staff.status != "active":
            raise StaffSessionError("the session is over")
        if staff.credentials != session.credentials or session.ends_ms <= now_ms:
            raise StaffSessionError("the session is over")
        return staff

    async def log_out(self, token: str) -> None:
        """End a session. Raises StaffStoreError."""
        await self._answer(self._redis.delete(_name(token)))

    async def _authenticated(self, request: LoginRequest, now_ms: int) -> Staff:
        stored = await store.stored_staff(self._pool, request.name)
        # Whoever is asked for, it takes as long and says as much.
        hashed = await self._nobody() if stored is None else stored.password_hash
        right = await self._in_thread(self._verified, hashed, request.password)
        secret = bytes(totp.SECRET_BYTES)
        if stored is not None:
            secret = keywrap.unwrap(self._platform_key, stored.totp_secret, _context(stored.staff.name))
        step = totp.matching_step(secret, request.totp, now_ms // 1000)
        if stored is None or not right or step is None or stored.staff.status != "active":
            raise LoginError("name, password and one-time password do not let anybody in")
        if not await store.spend_totp_step(self._pool, stored.staff.id, stored.staff.credentials, step):
            raise LoginError("name, password and one-time password do not let anybody in")
        if self._hasher.check_needs_rehash(hashed):
            rehashed = await self._in_thread(self._hasher.hash, request.password)
            await store.rehash_password(self._pool, stored.staff.id, hashed, rehashed)
        return stored.staff

    def _verified(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except VerifyMismatchError:
            return False

    async def _nobody(self) -> str:
        if self._nobodys_hash is None:
            self._nobodys_hash = await self._in_thread(self._hasher.hash, secrets.token_urlsafe(_PASSWORD_BYTES))
        return self._nobodys_hash

    async def _fresh_credentials(self) -> tuple[str, bytes, str]:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        return password, secrets.token_bytes(totp.SECRET_BYTES), await self._in_thread(self._hasher.hash, password)

    async def _in_thread(self, function: Any, *arguments: str) -> Any:
        async with self._hashing:
            return await asyncio.to_thread(function, *arguments)

    def _wrapped(self, name: str, secret: bytes) -> bytes:
        return keywrap.wrap(self._platform_key, secret, _context(name))

    async def _answer(self, command: Any) -> Any:
        try:
            return await command
        except (RedisError, OSError) as error:
            raise StaffStoreError("the store of staff sessions does not answer") from error


def _name(token: str) -> str:
    return f"keno:staff-session:{hashlib.sha256(token.encode()).hexdigest()}"


def _context(name: str) -> bytes:
    return b"keno:staff-totp:" + name.encode("ascii")
