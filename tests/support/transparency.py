"""What RFC 9162 and the C2SP documents say, written from them and not from our code: trees, tiles, notes, entries."""

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def mth(leaves: Sequence[bytes]) -> bytes:
    """The Merkle Tree Hash of RFC 9162, 2.1.1, by its recursive definition."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def split(size: int) -> int:
    """The largest power of two below `size`."""
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def proof(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n]) of 2.1.4.1."""
    return _subproof(m, leaves, True)


def _subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if whole else [mth(leaves)]
    k = split(n)
    if m <= k:
        return [*_subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*_subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def tile(level: int, index: int, leaves: Sequence[bytes]) -> bytes:
    """A tile as tlog-tiles defines it, as far as there are full subtrees for it."""
    span = 256**level
    starts = range(index * 256 * span, min((index + 1) * 256 * span, len(leaves) - span + 1), span)
    return b"".join(mth(leaves[start : start + span]) for start in starts)


def read_bundle(data: bytes) -> list[bytes]:
    """The entries of an entry bundle; it must end where an entry ends."""
    entries = []
    while data:
        (length,) = struct.unpack_from(">H", data)
        assert len(data) >= 2 + length
        entries.append(data[2 : 2 + length])
        data = data[2 + length :]
    return entries


@dataclass(frozen=True)
class Note:
    """A signed note, taken apart: its text, and of each signature the name, the key's id and what is behind it."""

    text: str
    signatures: list[tuple[str, bytes, bytes]]

    @classmethod
    def read(cls, data: bytes) -> "Note":
        lines = data.decode("utf-8").split("\n")
        assert lines.pop() == "", "the last line ends"
        last_blank = max(at for at, line in enumerate(lines) if line == "")
        signatures = []
        for line in lines[last_blank + 1 :]:
            dash, name, encoded = line.split(" ")
            assert dash == "\u2014"
            assert name
            assert "+" not in name
            raw = base64.b64decode(encoded, validate=True)
            signatures.append((name, raw[:4], raw[4:]))
        assert signatures
        return cls("\n".join(lines[:last_blank]) + "\n", signatures)

    def head(self) -> tuple[str, int, bytes]:
        """Origin, size and root of a checkpoint without extensions."""
        origin, size, root, end = self.text.split("\n")
        assert end == ""
        assert size == str(int(size))
        return origin, int(size), base64.b64decode(root, validate=True)


def read_vkey(text: str) -> tuple[str, bytes, int, bytes]:
    """Name, id, type and public key of a verifier key, whose id must be its own."""
    name, key_id, encoded = text.split("+", 2)
    raw = base64.b64decode(encoded, validate=True)
    digest = hashlib.sha256(name.encode() + b"\n" + raw).digest()
    assert digest[:4].hex() == key_id
    return name, digest[:4], raw[0], raw[1:]


def check_signed(note: Note, vkey: str) -> None:
    """The note has a valid signature of this key, of a log or of a witness."""
    name, key_id, kind, public = read_vkey(vkey)
    (signature,) = [raw for its_name, its_id, raw in note.signatures if (its_name, its_id) == (name, key_id)]
    message = note.text.encode()
    if kind == 4:
        (at_s,) = struct.unpack_from(">Q", signature)
        message = b"cosignature/v1\ntime %d\n" % at_s + message
        signature = signature[8:]
    else:
        assert kind == 1
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
