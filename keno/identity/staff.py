"""Who works with the portal, and what their roles let them see. Pure.

owner           everything, of all operators, staff too
operator_admin  everything of one operator
support         players, bets and rounds; of one operator or of all
auditor         reads everything, changes nothing; of one operator or of all
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from keno.errors import KenoError
from keno.requests import decode_as

Role = Literal["owner", "operator_admin", "support", "auditor"]
StaffStatus = Literal["active", "disabled"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


class StaffError(KenoError):
    """Somebody cannot be added or changed as asked; the message says what would be right."""


class Staff(NamedTuple):
    """Somebody who may log in. Without an operator they see all of them. `credentials` counts the resets."""

    id: UUID
    name: str
    role: Role
    operator_id: UUID | None
    credentials: int
    status: StaffStatus

    @property
    def actor(self) -> str:
        """Who they are in the audit trail."""
        return f"staff {self.name}"

    def sees(self, operator_id: UUID) -> bool:
        """Whether what belongs to an operator is there for them."""
        return self.operator_id is None or self.operator_id == operator_id


class LoginRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A login. Only the form is judged: whether there is such a name is told to nobody."""

    name: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
    password: Annotated[str, Meta(max_length=256)]
    totp: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]


_login_decoder = msgspec.json.Decoder(LoginRequest)


def decode_login(body: bytes) -> LoginRequest:
    """The login in `body`; raises RequestError."""
    return decode_as(_login_decoder, body)


def checked_staff(name: str, role: Role, operator_id: UUID | None) -> str:
    """The name itself, if somebody can be called so and have the role; otherwise StaffError."""
    if _NAME.fullmatch(name) is None:
        raise StaffError("a name is 1 to 64 lower-case letters, digits and ._@+- and begins with a letter or digit")
    if role == "owner" and operator_id is not None:
        raise StaffError("an owner is of no operator")
    if role == "operator_admin" and operator_id is None:
        raise StaffError("an operator_admin is of an operator")
    return name
