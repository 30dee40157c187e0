"""Logins of staff, with the authenticator that their credentials were put into, and who has logged in."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx

from keno.identity import totp
from keno.identity.staff import LoginRequest, Role
from keno.identity.staff_service import Credentials, StaffService
from support.gateway import JSON, Gateway


def authenticator_secret(credentials: Credentials) -> bytes:
    """What an authenticator reads."""
    (secret,) = parse_qs(urlsplit(credentials.totp_uri).query)["secret"]
    return base64.b32decode(secret)


def login(name: str, credentials: Credentials, now_ms: int, **changes: str) -> LoginRequest:
    """The right login at an instant, or one that `changes` make wrong."""
    code = totp.code(authenticator_secret(credentials), now_ms // 1000 // totp.STEP_S)
    return LoginRequest(**({"name": name, "password": credentials.password, "totp": code} | changes))


async def session_of(service: StaffService, name: str, role: Role, operator_id: UUID | None = None) -> str:
    """The token of somebody new who has logged in."""
    credentials, now_ms = await service.add(name, role, operator_id, actor="test"), time.time_ns() // 1_000_000
    _, token = await service.log_in(login(name, credentials, now_ms), "192.0.2.1", now_ms)
    return token


@dataclass(frozen=True)
class Member:
    """Somebody of the staff with a session, and a client that sends its token."""

    name: str
    client: httpx.AsyncClient
    token: str

    async def send(
        self, method: str, path: str, value: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One request; `value` goes as JSON, bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode() if value is not None else b""
        own = {"Authorization": f"Bearer {self.token}"} | (JSON if body else {})
        return await self.client.request(method, path, content=body, headers=own | (headers or {}))


async def member(gateway: Gateway, role: Role, operator_id: UUID | None = None, name: str | None = None) -> Member:
    """Somebody new who has the role and has logged in; called as the role, unless named."""
    named = name or role
    return Member(named, gateway.client, await session_of(gateway.platform.staff, named, role, operator_id))
