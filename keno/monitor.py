"""keno monitor: follows the public log of a keno server and reports what must not happen in it.

This file is for auditors. It needs Python 3.11 and nothing else, imports nothing of the game server, and was written
from docs/log.md and the C2SP documents alone. Fetch the log's key from somewhere other than the log.

    python -I -S monitor.py URL --key KEY [--witness-key KEY]... [--state FILE] [--once] [--result-limit-s N]

URL is the log's prefix (https://keno.example/log). Of each checkpoint it checks the signature and, if asked to, the
cosignatures; it fetches every entry, recomputes the tree's root from them, and with that also checks that the log has
only grown since the last time. Of the entries it checks that each parses and hashes to what it states, that every lock
lies in an epoch that was logged before it and names the locked round before it (so that none is left out), and that
every outcome opens its lock's commitment. What it has seen is kept in the state file; without one it begins from the
first entry.

Exit status, as keno-verify: 0 all was right; 1 a violation, which is printed with the signed notes that prove it; 2
malformed answers or wrong use; 3 nothing is wrong, but something is missing: the log could not be reached, a
cosignature is not there, or a lock has had no outcome for longer than the limit.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

RIGHT, VIOLATION, MALFORMED, INCOMPLETE = 0, 1, 2, 3

TILE = 256
EPOCH, LOCK, RESULT, VOID = 1, 2, 3, 4
LOG_SIGNATURE, COSIGNATURE = 1, 4
ANSWER_BYTES_MAX = 1 << 25
TIMEOUT_S = 20.0

Fetch = Callable[[str], bytes]
"""Gives what the log serves under a path; raises UnreachableError."""


class UnreachableError(Exception):
    """The log did not answer."""


class MalformedError(Exception):
    """An answer, a key or the state file is not of its format."""


class ViolationError(Exception):
    """The log has done what it must not do."""


# --------------------------------------------------------------------------------------------------------------------
# Ed25519 (RFC 8032), verification only. Points are (x, y, z, t) with x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    m, n = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    c, d = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar: int, point: Point) -> Point:
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def decompress(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - xx) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


@cache
def base_point() -> Point:
    found = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert found is not None
    return found


def ed25519_verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    a, r = decompress(public_key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    left, right = times(s, base_point()), add(r, times(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# --------------------------------------------------------------------------------------------------------------------
# Notes, checkpoints and keys: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature.


def from_base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedError("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise MalformedError("not canonical base64")
    return raw


def decimal(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or str(int(text[:20])) != text:
        raise MalformedError("not a decimal number")
    return int(text)


class Key(NamedTuple):
    """A verifier key: its name, its id, its kind of signature, and 32 bytes."""

    name: str
    id: bytes
    kind: int
    public: bytes

    @classmethod
    def read(cls, text: str, kind: int) -> "Key":
        parts = text.split("+", 2)
        raw = from_base64(parts[2]) if len(parts) == 3 else b""
        if len(raw) != 33 or raw[0] != kind or not parts[0]:
            raise MalformedError("a key reads name+id+base64")
        found = hashlib.sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
        if found.hex() != parts[1]:
            raise MalformedError("the id of a key does not belong to it")
        return cls(parts[0], found, kind, raw[1:])

    def has_signed(self, note: "Note") -> bool | None:
        """Whether the note's signature of this key is right; None where there is none of it."""
        mine = [raw for name, key_id, raw in note.signatures if (name, key_id) == (self.name, self.id)]
        return all(self._made(note.body, raw) for raw in mine) if mine else None

    def _made(self, body: str, signature: bytes) -> bool:
        message = body.encode()
        if self.kind == COSIGNATURE:
            message = b"cosignature/v1\ntime %d\n" % int.from_bytes(signature[:8], "big") + message
            signature = signature[8:]
        return ed25519_verifies(self.public, message, signature)


@dataclass(frozen=True)
class Note:
    """A checkpoint as it was served, taken apart."""

    text: str
    body: str
    signatures: list[tuple[str, bytes, bytes]]
    origin: str
    size: int
    root: bytes

    @classmethod
    def read(cls, data: bytes) -> "Note":
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise MalformedError("the checkpoint is not UTF-8") from None
        body, blank, lines = text.rpartition("\n\n")
        head = body.split("\n")
        if not blank or len(head) < 3 or not all(head) or not lines.endswith("\n"):
            raise MalformedError("the checkpoint is not a signed note of origin, size and root")
        signatures = []
        for line in lines[:-1].split("\n"):
            parts = line.split(" ")
            raw = from_base64(parts[-1])
            if len(parts) != 3 or parts[0] != "\N{EM DASH}" or len(raw) < 5:
                raise MalformedError("a line of the checkpoint is no signature")
            signatures.append((parts[1], raw[:4], raw[4:]))
        root = from_base64(head[2])
        if len(root) != 32:
            raise MalformedError("the root has not 32 bytes")
        return cls(text, body + "\n", signatures, head[0], decimal(head[1]), root)


# --------------------------------------------------------------------------------------------------------------------
# The tree (RFC 9162), grown by one leaf at a time: the perfect subtrees it consists of, largest first.


def hashed(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def grow(peaks: list[bytes], size: int, entry: bytes) -> None:
    """Appends the entry to the tree of `size` entries whose perfect subtrees `peaks` are."""
    digest = hashed(b"\x00", entry)
    while size & 1:
        digest = hashed(b"\x01", peaks.pop(), digest)
        size >>= 1
    peaks.append(digest)


def root_of(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return hashed()
    digest = peaks[-1]
    for peak in reversed(peaks[:-1]):
        digest = hashed(b"\x01", peak, digest)
    return digest


# --------------------------------------------------------------------------------------------------------------------
# Entries (docs/log.md), and what must hold from one to the next.


@dataclass
class Room:
    """What is known of a room: its epochs' rounds, its last lock, and the locks that wait for their outcome."""

    epochs: list[tuple[int, int]] = field(default_factory=list)
    number: int = 0
    lock: bytes = bytes(32)
    waiting: dict[int, tuple[bytes, bytes, int]] = field(default_factory=dict)


SIZES = {EPOCH: 142, LOCK: 226, RESULT: 190, VOID: 139}


class Entry(NamedTuple):
    """The head of an entry, and what follows it."""

    kind: int
    room: bytes
    number: int
    digest: bytes
    rest: bytes

    @classmethod
    def read(cls, data: bytes) -> "Entry":
        if data[:9] != b"keno1:log" or len(data) < 10 or SIZES.get(data[9]) != len(data):
            raise ViolationError("is none of the kinds that a log has")
        return cls(data[9], data[10:26], int.from_bytes(data[26:34], "big"), data[34:66], data[66:])

    @property
    def context(self) -> bytes:
        return self.room + self.number.to_bytes(8, "big")


def follow(rooms: dict[bytes, Room], data: bytes) -> None:
    """Takes the next entry of the log; raises ViolationError."""
    entry = Entry.read(data)
    room = rooms.setdefault(entry.room, Room())
    {EPOCH: follow_epoch, LOCK: follow_lock, RESULT: follow_result, VOID: follow_void}[entry.kind](room, entry)


def expect(condition: bool, entry: Entry, fault: str) -> None:
    if not condition:
        what = {EPOCH: "epoch from round", LOCK: "lock of round", RESULT: "result of round", VOID: "void of round"}
        raise ViolationError(f"{what[entry.kind]} {entry.number} of room {entry.room.hex()}: {fault}")


def follow_epoch(room: Room, entry: Entry) -> None:
    count = int.from_bytes(entry.rest[:4], "big")
    expect(entry.digest == hashed(b"keno1:epoch", entry.context, entry.rest), entry, "does not hash to what it states")
    end = sum(room.epochs[-1]) if room.epochs else 1
    expect(count > 0 and entry.number >= end, entry, "overlaps the epoch before it")
    expect(entry.number > room.number, entry, "comes after a lock of its rounds")
    room.epochs = [*(each for each in room.epochs if sum(each) > room.number), (entry.number, count)]


def follow_lock(room: Room, entry: Entry) -> None:
    parts, prev_lock, prev_number = entry.rest[:-8], entry.rest[-40:-8], int.from_bytes(entry.rest[-8:], "big")
    expect(entry.digest == hashed(b"keno1:lock", entry.context, parts), entry, "does not hash to what it states")
    expect(entry.number > room.number, entry, f"comes after round {room.number}")
    expect(
        (prev_number, prev_lock) == (room.number, room.lock),
        entry,
        f"follows round {prev_number}, but the last one in the log is {room.number}: a locked round was not logged",
    )
    covered = any(first <= entry.number < first + count for first, count in room.epochs)
    expect(covered, entry, "lies in no epoch that was logged before it")
    commit, lock_ms = entry.rest[:32], int.from_bytes(entry.rest[104:112], "big")
    room.number, room.lock = entry.number, entry.digest
    room.waiting[entry.number] = (entry.digest, commit, lock_ms)


def follow_result(room: Room, entry: Entry) -> None:
    expect(entry.digest == hashed(b"keno1:result", entry.rest[:-8]), entry, "does not hash to what it states")
    numbers = entry.rest[96:116]
    expect(len(set(numbers)) == 20 and all(1 <= n <= 80 for n in numbers), entry, "is not 20 numbers of 80")
    follow_outcome(room, entry)


def follow_void(room: Room, entry: Entry) -> None:
    expect(entry.digest == hashed(b"keno1:void", entry.rest[:-8]), entry, "does not hash to what it states")
    follow_outcome(room, entry)


def follow_outcome(room: Room, entry: Entry) -> None:
    expect(entry.number in room.waiting, entry, "has no lock before it, or is the second outcome")
    lock, commit, _ = room.waiting.pop(entry.number)
    expect(entry.rest[:32] == lock, entry, "is of another lock than the one in the log")
    seed = entry.rest[32:64]
    expect(hashed(b"keno1:commit", entry.context, seed) == commit, entry, "does not open the commitment of its lock")


# --------------------------------------------------------------------------------------------------------------------
# Following a log.


class Seen(NamedTuple):
    """What one look at the log gave: its size, how many entries were new, and what is missing."""

    size: int
    new: int
    missing: list[str]


@dataclass
class Monitor:
    """What has been seen of a log, and the keys by which it is believed."""

    key: Key
    witnesses: Sequence[Key] = ()
    result_limit_ms: int = 600_000
    size: int = 0
    peaks: list[bytes] = field(default_factory=list)
    note: str = ""
    rooms: dict[bytes, Room] = field(default_factory=dict)

    def look(self, fetch: Fetch, now_ms: int) -> Seen:
        """Follows the log to its newest checkpoint.

        Raises ViolationError, MalformedError or UnreachableError; then what had been seen before stays as it was.
        """
        note = Note.read(fetch("checkpoint"))
        self._believe(note)
        missing = [f"no cosignature of {each.name}" for each in self.witnesses if each.has_signed(note) is None]
        for each in self.witnesses:
            if each.has_signed(note) is False:
                raise ViolationError(f"the cosignature of {each.name} is wrong\n{note.text}")
        if note.size < self.size:
            raise ViolationError(f"the tree has shrunk from {self.size} to {note.size}\n{self.note}\n{note.text}")
        peaks, rooms = list(self.peaks), read_rooms(written_rooms(self.rooms))
        for index, entry in self._entries(fetch, note.size):
            grow(peaks, index, entry)
            try:
                follow(rooms, entry)
            except ViolationError as error:
                # Only what the root covers is the log's word: a server that garbles an entry is told by the root below.
                if self._root_with_rest(fetch, peaks, index, note.size) != note.root:
                    break
                raise ViolationError(f"entry {index}: {error}\n{note.text}") from None
        if root_of(peaks) != note.root:
            what = "entries that were seen and those that are new" if self.size else "entries that are served"
            raise ViolationError(
                f"the root is not that of the {what}: the log was forked or rewritten\n{self.note}\n{note.text}"
            )
        new = note.size - self.size
        self.size, self.peaks, self.note, self.rooms = note.size, peaks, note.text, rooms
        return Seen(note.size, new, missing + self._overdue(now_ms))

    def _believe(self, note: Note) -> None:
        signed = self.key.has_signed(note)
        if signed is None:
            raise ViolationError(f"the checkpoint is not signed by {self.key.name}+{self.key.id.hex()}\n{note.text}")
        if not signed:
            raise ViolationError(f"the signature of the checkpoint is wrong\n{note.text}")
        if note.origin != self.key.name:
            raise ViolationError(f"the checkpoint is of another log\n{note.text}")

    def _root_with_rest(self, fetch: Fetch, peaks: Sequence[bytes], index: int, size: int) -> bytes:
        grown = list(peaks)
        for at, entry in entries(fetch, index + 1, size):
            grow(grown, at, entry)
        return root_of(grown)

    def _entries(self, fetch: Fetch, size: int) -> Iterator[tuple[int, bytes]]:
        return entries(fetch, self.size, size)

    def _overdue(self, now_ms: int) -> list[str]:
        return [
            f"round {number} of room {room.hex()} was locked at {lock_ms} and has no outcome"
            for room, known in self.rooms.items()
            for number, (_, _, lock_ms) in known.waiting.items()
            if now_ms - lock_ms > self.result_limit_ms
        ]


def entries(fetch: Fetch, first: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Entries `first` to `size` with their indexes, from entry bundles."""
    for tile in range(first // TILE, -(-size // TILE) if size > first else 0):
        width = min(TILE, size - tile * TILE)
        found = read_bundle(fetch(f"tile/entries/{tile_path(tile)}" + (f".p/{width}" if width < TILE else "")))
        if len(found) != width:
            raise MalformedError(f"entry bundle {tile} has {len(found)} entries, not {width}")
        for offset, entry in enumerate(found):
            if tile * TILE + offset >= first:
                yield tile * TILE + offset, entry


def tile_path(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups)


def read_bundle(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data) or at + 2 > len(data):
            raise MalformedError("an entry bundle ends within an entry")
        found.append(data[at + 2 : end])
        at = end
    return found


# --------------------------------------------------------------------------------------------------------------------
# The state file, the network and the command.


def written_rooms(rooms: dict[bytes, Room]) -> dict[str, Any]:
    return {
        key.hex(): {
            "epochs": room.epochs,
            "number": room.number,
            "lock": room.lock.hex(),
            "waiting": [[n, lock.hex(), commit.hex(), ms] for n, (lock, commit, ms) in room.waiting.items()],
        }
        for key, room in rooms.items()
    }


def read_rooms(written: dict[str, Any]) -> dict[bytes, Room]:
    return {
        bytes.fromhex(key): Room(
            [(int(first), int(count)) for first, count in room["epochs"]],
            int(room["number"]),
            bytes.fromhex(room["lock"]),
            {int(n): (bytes.fromhex(lock), bytes.fromhex(commit), int(ms)) for n, lock, commit, ms in room["waiting"]},
        )
        for key, room in written.items()
    }


def save(monitor: Monitor, path: str) -> None:
    """Replaces the state file as a whole; raises MalformedError where it cannot be written."""
    state = {
        "key": f"{monitor.key.name}+{monitor.key.id.hex()}",
        "size": monitor.size,
        "peaks": [peak.hex() for peak in monitor.peaks],
        "note": monitor.note,
        "rooms": written_rooms(monitor.rooms),
    }
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise MalformedError(f"the state file cannot be written: {error}") from None


def load(monitor: Monitor, path: str) -> None:
    """Takes up the state file, if there is one; raises MalformedError for one that is not of this log or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        if state["key"] != f"{monitor.key.name}+{monitor.key.id.hex()}":
            raise MalformedError("the state file is of another log")
        monitor.size = int(state["size"])
        monitor.peaks = [bytes.fromhex(peak) for peak in state["peaks"]]
        monitor.note = str(state["note"])
        monitor.rooms = read_rooms(state["rooms"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedError(f"the state file cannot be read: {error!r}") from None
    if len(monitor.peaks) != monitor.size.bit_count():
        raise MalformedError("the state file is damaged: its hashes are not those of a tree of its size")
    if monitor.size:
        kept = Note.read(monitor.note.encode())
        if (kept.size, kept.root) != (monitor.size, root_of(monitor.peaks)) or not monitor.key.has_signed(kept):
            raise MalformedError("the state file is damaged: its hashes are not those of the checkpoint in it")


def http(prefix: str) -> Fetch:
    """Fetches from a log under a URL."""

    def fetch(path: str) -> bytes:
        request = urllib.request.Request(f"{prefix.rstrip('/')}/{path}", headers={"User-Agent": "keno-monitor"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                data: bytes = answer.read(ANSWER_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise UnreachableError(f"{path}: status {error.code}") from None
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{path}: {error}") from None
        if len(data) > ANSWER_BYTES_MAX:
            raise MalformedError(f"{path} is too long")
        return data

    return fetch


def look(monitor: Monitor, fetch: Fetch, state: str | None, now_ms: int, say: Callable[[str], None]) -> int:
    """One look at the log, told in words; the exit status."""
    try:
        seen = monitor.look(fetch, now_ms)
        if state is not None and seen.new:
            save(monitor, state)
    except ViolationError as error:
        say(f"VIOLATION: {error}")
        return VIOLATION
    except MalformedError as error:
        say(f"malformed: {error}")
        return MALFORMED
    except UnreachableError as error:
        say(f"not checked: the log cannot be reached: {error}")
        return INCOMPLETE
    for each in seen.missing:
        say(f"missing: {each}")
    if seen.new or seen.missing:
        say(f"{monitor.key.name}: {seen.size} entries, {seen.new} of them new, all right")
    return INCOMPLETE if seen.missing else RIGHT


def say_plainly(text: str) -> None:
    """Prints; what a log sends must not be able to steer a terminal."""
    print("\n".join(line if line.isprintable() else ascii(line) for line in text.split("\n")), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="keno monitor", description="Follow the public log of a keno server.")
    parser.add_argument("url", metavar="URL", help="where the log is served: https://keno.example/log")
    parser.add_argument("--key", required=True, help="the log's key (keno log key)")
    parser.add_argument("--witness-key", action="append", default=[], metavar="KEY", help="a witness that must cosign")
    parser.add_argument("--state", metavar="FILE", help="where to keep what was seen")
    parser.add_argument("--once", action="store_true", help="look once, and exit")
    parser.add_argument("--every-s", type=float, default=10.0, metavar="N", help="seconds between two looks")
    parser.add_argument("--result-limit-s", type=int, default=600, metavar="N", help="how long a lock may wait")
    options = parser.parse_args(argv)
    if not options.url.startswith(("http://", "https://")):
        parser.error("URL begins with http:// or https://")
    try:
        witnesses = [Key.read(text, COSIGNATURE) for text in options.witness_key]
        monitor = Monitor(Key.read(options.key, LOG_SIGNATURE), witnesses, options.result_limit_s * 1000)
        if options.state is not None:
            load(monitor, options.state)
    except MalformedError as error:
        say_plainly(f"malformed: {error}")
        return MALFORMED
    fetch = http(options.url)
    while True:
        status = look(monitor, fetch, options.state, int(time.time() * 1000), say_plainly)
        if options.once or status in (VIOLATION, MALFORMED):
            return status
        try:
            time.sleep(options.every_s)
        except KeyboardInterrupt:
            return status


if __name__ == "__main__":
    sys.exit(main())
