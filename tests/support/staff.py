"""Logins of staff, with the authenticator that their credentials were put into."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

from keno.identity import totp
from keno.identity.staff import LoginRequest
from keno.identity.staff_service import Credentials


def authenticator_secret(credentials: Credentials) -> bytes:
    """What an authenticator reads."""
    (secret,) = parse_qs(urlsplit(credentials.totp_uri).query)["secret"]
    return base64.b32decode(secret)


def login(name: str, credentials: Credentials, now_ms: int, **changes: str) -> LoginRequest:
    """The right login at an instant, or one that `changes` make wrong."""
    code = totp.code(authenticator_secret(credentials), now_ms // 1000 // totp.STEP_S)
    return LoginRequest(**({"name": name, "password": credentials.password, "totp": code} | changes))
