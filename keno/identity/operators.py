"""What an operator and its keys are, and the rules their names and currencies follow.

No I/O here: `store.py` keeps them, `service.py` adds, revokes and authenticates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from keno.errors import KenoError
from keno.identity.networks import Network
from keno.identity.signature import Algorithm, VerifyingKey
from keno.money import CURRENCIES
from keno.risk.rates import Rate

KEYS_ACTIVE_MAX = 2
"""Two keys let an operator put the next one in place before it takes the last one away. The schema enforces it."""

WalletMode = Literal["transfer", "seamless"]
OperatorStatus = Literal["active", "suspended"]
OPERATOR_STATUS = "operator-status"
"""The kind of value as which it is cached."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class IdentityError(KenoError):
    """An operator or a key cannot be added as asked; the message says what would be right."""


class OperatorExistsError(IdentityError):
    """An operator has this name already."""


class OperatorNotFoundError(IdentityError):
    """No operator has this id."""


class KeyExistsError(IdentityError):
    """A key has this id already; key ids are unique over all operators and are never used again."""


class PublicKeyError(IdentityError):
    """Nobody can sign with this public key, or everybody can."""


class KeyLimitError(IdentityError):
    """The operator has KEYS_ACTIVE_MAX active keys: revoke one first."""


class Operator(NamedTuple):
    """A tenant, as the rest of the product sees it."""

    id: UUID
    name: str
    wallet_mode: WalletMode
    currencies: tuple[str, ...]
    status: OperatorStatus
    rate: Rate
    networks: tuple[Network, ...] = ()
    """From where its requests may come; from anywhere where there are none."""


class Key(NamedTuple):
    """An operator's key without its material. `revoked_ms` is None while the key is active."""

    id: str
    operator_id: UUID
    algorithm: Algorithm
    created_ms: int
    revoked_ms: int | None


class KnownKey(NamedTuple):
    """A key ready to verify with, and whose it is."""

    id: str
    revoked: bool
    verifying_key: VerifyingKey
    operator: Operator


def checked_name(name: str) -> str:
    """`name` itself, if an operator can be called so; otherwise IdentityError."""
    if _NAME.fullmatch(name) is None:
        raise IdentityError("an operator's name is 1 to 64 letters, digits, spaces and ._- and starts with no sign")
    return name


def checked_key_id(key_id: str) -> str:
    """`key_id` itself, if a signature can name it; otherwise IdentityError."""
    if _KEY_ID.fullmatch(key_id) is None:
        raise IdentityError("a key id is 1 to 64 letters, digits, _ and -")
    return key_id


def checked_currencies(currencies: Sequence[str]) -> tuple[str, ...]:
    """The currencies as a tuple, if each is known and none is repeated; otherwise IdentityError."""
    unknown = [code for code in currencies if code not in CURRENCIES]
    if unknown:
        raise IdentityError(f"unknown currencies: {', '.join(unknown)}")
    if not currencies or len(set(currencies)) != len(currencies):
        raise IdentityError("an operator has at least one currency, each once")
    return tuple(currencies)
