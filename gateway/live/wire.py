"""Frames of RFC 6455 as a server sends them, encoded once for all who get them; and the codes it closes with. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

TEXT: Final = 0x1
PING: Final = 0x9
PONG: Final = 0xA


REASON_BYTES_MAX: Final = 123
"""A control frame has at most 125 bytes, and the code takes two."""


class Close(IntEnum):
    """Why a connection is closed. Those below 4000 are of the RFC; each of ours has one meaning."""

    NORMAL = 1000
    RESTART = 1012
    UNSUPPORTED = 1003
    TOO_BIG = 1009
    INTERNAL = 1011
    NOT_AUTHENTICATED = 4401
    SESSION_ENDED = 4403
    IDLE = 4408
    TOO_SLOW = 4409
    TOO_MANY_FRAMES = 4429
    TOO_MANY_CONNECTIONS = 4430


def reason_bytes(reason: str) -> bytes:
    """A reason to close as it is sent: staff may have made the text longer than fits."""
    return reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()


def encoded(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole unmasked message."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
    return head + payload
