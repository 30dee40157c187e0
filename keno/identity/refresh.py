"""Refresh tokens, and how those of one session follow each other. Pure.

A token names its session, itself and the token it was given for, under a MAC: so nothing of it is stored but the id of
the last one that was used. Of a session whose last used token is U,

- a token given for U is new: it becomes the last used one, and gets a successor;
- U itself again is a retry whose answer was lost: it gets another successor, and nothing changes;
- any other token was replaced by one that has been used since: somebody has a copy, and the session ends.

Of two successors of one token the second to be used is such another one. So a thief with a copy can't follow the player
unseen: whichever of the two comes second ends it for both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final, Literal, NamedTuple

ID_BYTES: Final = 16
_MAC_BYTES: Final = 24
# A multiple of three bytes has one spelling in base64.
assert (3 * ID_BYTES + _MAC_BYTES) % 3 == 0  # noqa: S101
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{96}")

NO_TOKEN: Final = bytes(ID_BYTES)
"""Stands for the token before a session's first one."""

Use = Literal["new", "retry", "reused"]


class RefreshToken(NamedTuple):
    """Ids of ID_BYTES each: of the session, of the token, and of the token that it was given for."""

    session: bytes
    id: bytes
    parent: bytes


def seal(key: bytes, token: RefreshToken) -> str:
    """The token as its holder gets it: 96 characters of base64url."""
    content = b"".join(token)
    return base64.urlsafe_b64encode(content + _mac(key, content)).decode("ascii")


def unseal(key: bytes, text: str) -> RefreshToken | None:
    """The token that was sealed like this under this key; None for anything else."""
    if _TEXT.fullmatch(text) is None:
        return None
    raw = base64.urlsafe_b64decode(text)
    content, mac = raw[: 3 * ID_BYTES], raw[3 * ID_BYTES :]
    if not hmac.compare_digest(mac, _mac(key, content)):
        return None
    return RefreshToken(content[:ID_BYTES], content[ID_BYTES : 2 * ID_BYTES], content[2 * ID_BYTES :])


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, b"keno:refresh-token:" + content, hashlib.sha256).digest()[:_MAC_BYTES]
