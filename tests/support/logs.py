"""A log of made-up rounds that may misbehave, made by the documents alone: its entries, checkpoints and tiles."""

import base64
import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.transparency import mth

ROOM = bytes(range(16))
NAME = "log.example/keno"
LOCK_MS = 1_800_000_000_000


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def seed_of(number: int) -> bytes:
    return sha(b"seed", u64(number))


def entry(kind: int, number: int, tag: bytes, *parts: bytes, tail: bytes = b"") -> bytes:
    context = ROOM + u64(number)
    return (
        b"keno1:log" + bytes([kind]) + context + sha(tag, context if kind < 3 else b"", *parts) + b"".join(parts) + tail
    )


def epoch_entry(first: int, count: int) -> bytes:
    return entry(1, first, b"keno1:epoch", count.to_bytes(4, "big"), bytes(32), bytes(32), u64(LOCK_MS - 10_000))


def lock_entry(number: int, before: tuple[int, bytes]) -> bytes:
    commit = sha(b"keno1:commit", ROOM, u64(number), seed_of(number))
    times = u64(0) + u64(LOCK_MS + 1_000 * number) + u64(0)
    return entry(2, number, b"keno1:lock", commit, bytes(32), bytes(32), times, before[1], tail=u64(before[0]))


def digest_of(data: bytes) -> bytes:
    return data[34:66]


def result_entry(number: int, lock: bytes, seed: bytes | None = None) -> bytes:
    values = lock, seed or seed_of(number), bytes(32), bytes(range(1, 21))
    return entry(3, number, b"keno1:result", *values, tail=u64(LOCK_MS))


def void_entry(number: int, lock: bytes) -> bytes:
    return entry(4, number, b"keno1:void", lock, seed_of(number), b"\x01", tail=u64(LOCK_MS))


def rounds(numbers: Iterable[int], before: tuple[int, bytes] = (0, bytes(32))) -> list[bytes]:
    """The lock and result of each round."""
    made = []
    for number in numbers:
        lock = lock_entry(number, before)
        before = number, digest_of(lock)
        made += [lock, result_entry(number, before[1])]
    return made


def honest(last: int) -> list[bytes]:
    """An epoch, and rounds 1 to `last` of it."""
    return [epoch_entry(1, 10_000), *rounds(range(1, last + 1))]


@dataclass
class FakeLog:
    """Serves `entries`, or the first `size` of them, under a checkpoint of theirs or with another `root`."""

    entries: list[bytes]
    private: Ed25519PrivateKey = field(default_factory=lambda: Ed25519PrivateKey.from_private_bytes(bytes(32)))
    signer: Ed25519PrivateKey | None = None
    size: int | None = None
    root: bytes | None = None
    cosigners: list[tuple[str, Ed25519PrivateKey]] = field(default_factory=list)
    changed: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    @property
    def vkey(self) -> str:
        return vkey_of(NAME, 1, self.private)

    def body(self) -> bytes:
        size = len(self.entries) if self.size is None else self.size
        root = mth(self.entries[:size]) if self.root is None else self.root
        return f"{NAME}\n{size}\n{base64.b64encode(root).decode()}\n".encode()

    def checkpoint(self) -> bytes:
        body = self.body()
        lines = signature_line(NAME, 1, self.private, (self.signer or self.private).sign(body))
        for name, private in self.cosigners:
            at = struct.pack(">Q", 1_800_000_000)
            lines += signature_line(name, 4, private, at + private.sign(b"cosignature/v1\ntime 1800000000\n" + body))
        return body + b"\n" + lines

    def fetch(self, path: str) -> bytes:
        self.fetched.append(path)
        data = self.checkpoint() if path == "checkpoint" else self._bundle(path)
        return self.changed.get(path, lambda same: same)(data)

    def _bundle(self, path: str) -> bytes:
        kind, _, rest = path.removeprefix("tile/").partition("/")
        assert kind == "entries"
        index, _, width = rest.partition(".p/")
        first = 256 * int(index.replace("/", "").replace("x", ""))
        chosen = self.entries[first : first + int(width or 256)]
        assert len(chosen) == int(width or 256)
        return b"".join(struct.pack(">H", len(each)) + each for each in chosen)


def key_id(name: str, kind: int, private: Ed25519PrivateKey) -> bytes:
    return sha(name.encode(), b"\n", bytes([kind]), private.public_key().public_bytes_raw())[:4]


def vkey_of(name: str, kind: int, private: Ed25519PrivateKey) -> str:
    material = bytes([kind]) + private.public_key().public_bytes_raw()
    return f"{name}+{key_id(name, kind, private).hex()}+{base64.b64encode(material).decode()}"


def signature_line(name: str, kind: int, private: Ed25519PrivateKey, signature: bytes) -> bytes:
    return f"\u2014 {name} {base64.b64encode(key_id(name, kind, private) + signature).decode()}\n".encode()
