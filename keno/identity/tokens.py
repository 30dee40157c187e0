"""Access tokens of players: JWTs (RFC 7519, RFC 9068) signed with Ed25519 (RFC 9864), made and checked. Pure.

Read strictly: the header has `alg`, `kid` and `typ` and nothing else, and is judged before the library sees the
token; the key is chosen by its kid among those of this purpose, and the algorithm is ours, never the token's. Whether
the session still lives is asked elsewhere (`sessions.py`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from msgspec import Meta

from keno.errors import KenoError
from keno.requests import ID_MAX

ALGORITHM: Final = "Ed25519"
TYPE: Final = "at+jwt"
AUDIENCE: Final = "keno-player"
ACCESS_TOKEN_S: Final = 15 * 60
CLOCK_SKEW_MAX_S: Final = 5
"""How far the clock of the gateway that made a token may be ahead of that of the one that reads it."""

_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]{1,256})\.[A-Za-z0-9_-]{1,1024}\.[A-Za-z0-9_-]{86}")

TokenCode = Literal["token_invalid", "token_expired"]


class TokenError(KenoError):
    """Not an access token that lets anybody in. `code` is stable."""

    def __init__(self, code: TokenCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: Literal["Ed25519"]
    kid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    typ: Literal["at+jwt"]


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says: `sub` is the player's id with us, `sid` the session's in hex, times are Unix seconds."""

    iss: str
    aud: Literal["keno-player"]
    sub: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,18}\Z")]
    operator: UUID
    sid: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    iat: Annotated[int, Meta(ge=0, le=ID_MAX)]
    exp: Annotated[int, Meta(ge=0, le=ID_MAX)]


_header_decoder = msgspec.json.Decoder(_Header)


def issue(
    kid: str, key: OKPKey, *, issuer: str, player_id: int, operator_id: UUID, session_id: bytes, now_s: int
) -> str:
    """A token that holds for ACCESS_TOKEN_S."""
    claims: dict[str, str | int] = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(player_id),
        "operator": str(operator_id),
        "sid": session_id.hex(),
        "iat": now_s,
        "exp": now_s + ACCESS_TOKEN_S,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": kid, "typ": TYPE}, claims, key, algorithms=[ALGORITHM])


def verify(token: str, keys: Mapping[str, OKPKey], *, issuer: str, now_s: int) -> Claims:
    """What a token says that `issuer` made for us and that holds now. `keys` are those of this purpose, by kid.

    Raises TokenError.
    """
    key = keys.get(_kid(token))
    if key is None:
        raise TokenError("token_invalid", "no key of ours has this kid")
    try:
        decoded = jwt.decode(token, key, algorithms=[ALGORITHM])
        claims = msgspec.convert(decoded.claims, Claims)
    except JoseError as error:
        raise TokenError("token_invalid", "the token is not signed by us") from error
    except msgspec.ValidationError as error:
        raise TokenError("token_invalid", "the claims are not those of an access token") from error
    if claims.iss != issuer:
        raise TokenError("token_invalid", "the token is another issuer's")
    if claims.iat > now_s + CLOCK_SKEW_MAX_S:
        raise TokenError("token_invalid", "the token is not valid yet")
    if claims.exp <= now_s:
        raise TokenError("token_expired", "the token has expired")
    return claims


def _kid(token: str) -> str:
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise TokenError("token_invalid", "not a token of three parts in base64url")
    segment = found[1]
    try:
        return _header_decoder.decode(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))).kid
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenError("token_invalid", "not the header of an access token") from error
