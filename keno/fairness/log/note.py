"""Signed notes, checkpoints, cosignatures and verifier keys in the formats of C2SP (docs/log.md).

Pure. Notes: c2sp.org/signed-note; checkpoints: c2sp.org/tlog-checkpoint; cosignatures: c2sp.org/tlog-cosignature,
version 1 of Ed25519. Where keys come from and when to sign is not decided here.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keno.errors import KenoError

ED25519: Final = 1
COSIGNATURE_V1: Final = 4

_NAME = re.compile(r"[!-*,-~]{1,200}")
_SIGNATURES_MAX = 64
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_DASH = "\N{EM DASH}"


class NoteError(KenoError):
    """The text is not a note, checkpoint or key of the format."""


class Signature(NamedTuple):
    """A signature line: the key's name and id, and the bytes after the id."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key by which notes are believed. `kind` is ED25519 (a log) or COSIGNATURE_V1 (a witness)."""

    name: str
    kind: int
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Reads name+id+key; raises NoteError."""
        name, plus, rest = text.partition("+")
        key_id, plus, material = rest.partition("+")
        key = _base64(material)
        if _NAME.fullmatch(name) is None or not plus or len(key) != 33 or key[0] not in (ED25519, COSIGNATURE_V1):
            raise NoteError("a key is name+id+base64, of an Ed25519 key of a log or of a witness")
        found = cls(name, key[0], key[1:])
        if found.key_id.hex() != key_id:
            raise NoteError(f"the id of this key is {found.key_id.hex()}, not {key_id!r}")
        return found

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA256(name, newline, kind, key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:4]

    @property
    def text(self) -> str:
        """As C2SP writes it."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public_key).decode()}"

    def made(self, signature: Signature) -> bool:
        """Whether the line names this key; it may still be wrong."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, body: str, signature: Signature) -> bool:
        """Whether the line is this key's signature of the note text."""
        signed, raw = body.encode(), signature.signature
        if self.kind == COSIGNATURE_V1:
            if len(raw) != 72 or raw[0] & 0x80:
                return False
            signed, raw = _cosigned(int.from_bytes(raw[:8], "big"), body), raw[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(raw, signed)
        except (InvalidSignature, ValueError):
            return False
        return True


class Checkpoint(NamedTuple):
    """The head of a log's tree."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """The note text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def named(text: str) -> str:
    """A name that a key may have; raises NoteError."""
    if _NAME.fullmatch(text) is None:
        raise NoteError(f"{text!r} is no name of a key: printable ASCII without spaces and plus signs")
    return text


def log_key(private: Ed25519PrivateKey, name: str) -> VerifierKey:
    """The public half of a log's key."""
    return VerifierKey(name, ED25519, private.public_key().public_bytes_raw())


def witness_key(private: Ed25519PrivateKey, name: str) -> VerifierKey:
    """The public half of a witness's key."""
    return VerifierKey(name, COSIGNATURE_V1, private.public_key().public_bytes_raw())


def sign(private: Ed25519PrivateKey, name: str, body: str) -> Signature:
    """A log's signature of a note text."""
    return Signature(name, log_key(private, name).key_id, private.sign(body.encode()))


def cosign(private: Ed25519PrivateKey, name: str, body: str, at_s: int) -> Signature:
    """A witness's signature of a note text, at a time in seconds."""
    signed = private.sign(_cosigned(at_s, body))
    return Signature(name, witness_key(private, name).key_id, at_s.to_bytes(8, "big") + signed)


def note(body: str, *signatures: Signature) -> str:
    """The whole note."""
    return f"{body}\n{''.join(each.line for each in signatures)}"


def parse_note(text: str) -> tuple[str, list[Signature]]:
    """The text and the signatures of a note; raises NoteError."""
    body, blank, lines = text.rpartition("\n\n")
    if not body or not blank or not lines or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise NoteError("a note is text, a blank line and signatures")
    signatures = parse_signatures(lines)
    return body + "\n", signatures


def parse_signatures(lines: str) -> list[Signature]:
    """Signature lines, each with its newline; raises NoteError."""
    if not lines.endswith("\n") or lines.count("\n") > _SIGNATURES_MAX:
        raise NoteError(f"signatures are 1 to {_SIGNATURES_MAX} lines")
    found = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != _DASH or not parts[1] or "+" in parts[1]:
            raise NoteError("a signature is a dash, a name and base64")
        raw = _base64(parts[2])
        if len(raw) < 5:
            raise NoteError("a signature begins with the id of its key")
        found.append(Signature(parts[1], raw[:4], raw[4:]))
    return found


def parse_checkpoint(body: str) -> Checkpoint:
    """The head that a note text states; raises NoteError."""
    lines = body.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines) or _SIZE.fullmatch(lines[1]) is None:
        raise NoteError("a checkpoint is an origin, a size and a root")
    root = _base64(lines[2])
    if len(root) != 32:
        raise NoteError("a root has 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def _cosigned(at_s: int, body: str) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{body}".encode()


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise NoteError("not the canonical base64")
    return raw
