"""One-time passwords by the clock (RFC 6238): HMAC-SHA1, six digits, 30-second steps, as authenticators do. Pure."""

from __future__ import annotations

import base64
import hmac
from typing import Final
from urllib.parse import quote

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20
SKEW_STEPS: Final = 1
"""How many steps the authenticator's clock may be off, either way."""


def code(secret: bytes, step: int) -> str:
    """The password of a step."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: bytes, given: str, now_s: int) -> int | None:
    """The step around now whose password this is; None for any other password."""
    now = now_s // STEP_S
    found = None
    for step in range(max(now - SKEW_STEPS, 0), now + SKEW_STEPS + 1):
        if hmac.compare_digest(code(secret, step).encode(), given.encode()):
            found = step
    return found


def provisioning_uri(secret: bytes, name: str) -> str:
    """What an authenticator reads from a QR code, to know the secret."""
    return f"otpauth://totp/Keno:{quote(name, safe='')}?secret={base64.b32encode(secret).decode()}&issuer=Keno"
