"""keno-verify: checks rounds of a keno room from their published evidence, and trusts nobody who took part.

This file is for auditors, players and regulators. It needs Python 3.11 and nothing else, imports nothing of the game
server, and nothing of the server imports it: it was written from the protocol alone (`docs/fairness.md`,
`docs/evidence.md`), so the two agree only if both follow it. It stands in the order of the protocol.

    python -I -S verifier.py [--quiet | --json] [--drand FILE] [--log-key KEY] [--witness-key KEY]... [--anchor RPC_URL]
        FILE...
    keno-verify --bls FILE...                         where py_ecc is installed
    keno-verify receipt [--jwks FILE] [--evidence BUNDLE] FILE...     whether accepted bets are in the lock

Exit status: 0 all that had to be checked is right; 1 a violation; 2 malformed input or wrong use; 3 nothing is wrong,
but necessary evidence is missing. Over several rounds the worst counts: 2, then 1, then 3.

What it does not do: it has no network but for `--anchor`, so it cannot know *when* something was published (the
transparency log and the signed receipts are for that); and the standard library has no BLS12-381, so by itself it does
not verify the signature of a beacon. Either `--bls` does with py_ecc, or fetch the beacon from drand yourself, and
`--drand` compares it; without both a round drawn in profile E or B is incomplete (3) at best, because a house that
invents the beacon chooses the draw.
"""

import argparse
import binascii
import gc
import hashlib
import hmac
import importlib
import json
import os
import re
import struct
import sys
import time
import urllib.error
import urllib.request
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache
from http.client import HTTPException
from itertools import pairwise
from math import comb, gcd
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, TypeAlias, get_origin, get_type_hints

VERIFIED, VIOLATION, MALFORMED, INCOMPLETE = 0, 1, 2, 3
PRECEDENCE = (VERIFIED, INCOMPLETE, VIOLATION, MALFORMED)

NUMBERS, DRAWN, PICKS_MAX = 80, 20, 10
ZERO_HASH = bytes(32)

# drand quicknet: one beacon every 3 s, the signature a compressed point of G1.
QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
GENESIS_MS, PERIOD_MS, SIGNATURE_BYTES = 1_692_803_367_000, 3_000, 48
QUICKNET_KEY = bytes.fromhex(
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451"
    "0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
)
SIGNATURE_TAG = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
# A beacon of somebody's own, for demonstrations: quicknet's clock, another key, and this name in its hash.
LOCAL_BEACON = "keno-local-not-public"
GUARD_MS_MIN = 2_000
EPOCH_BEACON_DELAY_MS = 30_000


# --------------------------------------------------------------------------------------------------------------------
# Hashes and trees. Integers are big-endian; tags are ASCII without a terminator.


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def u8(value: int) -> bytes:
    return value.to_bytes(1)


def u32(value: int) -> bytes:
    return value.to_bytes(4)


def u64(value: int) -> bytes:
    return value.to_bytes(8)


def leaf_hash(data: bytes) -> bytes:
    """RFC 9162, 2.1.1: a leaf can never pass for a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root of the RFC 9162 tree over leaf data; SHA256("") for no leaves."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def root_of_hashes(level: Sequence[bytes]) -> bytes:
    """The same from leaf hashes. An odd last node moves up unpaired: the RFC's split at the largest power of two."""
    if not level:
        return sha256()
    while len(level) > 1:
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above if len(level) % 2 == 0 else [*above, level[-1]]
    return level[0]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Root to which an inclusion path (nearest sibling first) leads; None if a tree of this size has no such path.

    It goes up as `root_of_hashes` does: a node that is the last of its level and has no sibling has none in the path.
    """
    if not 0 <= index < size:
        return None
    root, last, used = leaf, size - 1, 0
    while last:
        if index % 2 or index < last:
            if used == len(path):
                return None
            root = node_hash(path[used], root) if index % 2 else node_hash(root, path[used])
            used += 1
        index, last = index // 2, last // 2
    return root if used == len(path) else None


# --------------------------------------------------------------------------------------------------------------------
# The draw.


def draw_block(seed: bytes, x: bytes, beacon: bytes, index: int) -> bytes:
    """Block `index` of the random stream of a draw, 32 bytes."""
    return hmac.digest(seed, b"keno1:draw" + x + beacon + u32(index), "sha256")


def draw(seed: bytes, x: bytes, beacon: bytes) -> list[int]:
    """The 20 distinct numbers of 1..80, in draw order.

    Bytes from 240 on are skipped, so that each accepted byte is uniform on 80 values; so are numbers already drawn.
    """
    numbers: dict[int, None] = {}  # in the order in which they came
    index = 0
    while len(numbers) < DRAWN:
        block = draw_block(seed, x, beacon, index)
        numbers |= dict.fromkeys([byte % NUMBERS + 1 for byte in block if byte < 240])
        index += 1
    return list(numbers)[:DRAWN]


def drand_round_after(time_ms: int) -> int:
    """First quicknet round published at `time_ms` or later."""
    return max(-((GENESIS_MS - time_ms) // PERIOD_MS), 0) + 1


def drand_time_ms(drand_round: int) -> int:
    return GENESIS_MS + (drand_round - 1) * PERIOD_MS


# --------------------------------------------------------------------------------------------------------------------
# Money, in integer minor units.


@cache
def chance(picks: int, hits: int) -> Fraction:
    """Hypergeometric: the probability that `hits` of `picks` numbers are among the 20 of 80."""
    return Fraction(comb(DRAWN, hits) * comb(NUMBERS - DRAWN, picks - hits), comb(NUMBERS, picks))


def paytable_rtp(multipliers: Mapping[int, Sequence[int]], scale: int) -> dict[int, Fraction]:
    """Exact return to player by number of picks. `multipliers[picks][hits]` is in units of 1/`scale`."""
    return {
        picks: sum((chance(picks, hits) * multiplier for hits, multiplier in enumerate(row)), Fraction(0)) / scale
        for picks, row in multipliers.items()
    }


def payout(stake_minor: int, multiplier: int, scale: int, win_max_minor: int) -> tuple[int, int]:
    """What a bet is paid, and what the maximum win cut from it: (payout_minor, cut_minor)."""
    won_minor = stake_minor * multiplier // scale
    payout_minor = min(won_minor, win_max_minor)
    return payout_minor, won_minor - payout_minor


# --------------------------------------------------------------------------------------------------------------------
# Strict reading. What JSON leaves open (duplicate keys, NaN, 1.0 for 1, true for 1, lone surrogates) is refused.


class MalformedError(Exception):
    """The input is not an evidence bundle."""


Reader = Callable[[Any], Any]


def distinct_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def refuse_literal(literal: str) -> Any:
    raise ValueError(f"{literal[:40]} is not an integer")


decode_json = json.JSONDecoder(
    object_pairs_hook=distinct_members, parse_float=refuse_literal, parse_constant=refuse_literal
).decode


def strict_json(text: str) -> Any:
    """The JSON value of `text`, without floats, duplicate keys and lone surrogates; else `MalformedError`."""
    try:
        value = decode_json(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not strict JSON: {error}") from None
    return value


def record(value: Any, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """The members of an object with exactly these keys, each read by its reader."""
    if type(value) is not dict:
        raise MalformedError("not an object")
    if value.keys() != fields.keys():
        missing, unknown = sorted(fields.keys() - value.keys()), sorted(value.keys() - fields.keys())
        raise MalformedError(f"keys missing: {missing!a}, unknown: {unknown!a}")
    members = {}
    for key, read in fields.items():
        try:
            members[key] = read(value[key])
        except MalformedError as error:
            raise MalformedError(f"{key}: {error}") from None
    return members


def any_hex(value: Any) -> bytes:
    try:
        data = bytes.fromhex(value)
    except (TypeError, ValueError):
        raise MalformedError("not hex") from None
    if data.hex() != value:
        raise MalformedError("not plain lower-case hex")
    return data


def hex_of(size: int) -> Reader:
    digits = 2 * size

    def read(value: Any) -> bytes:
        try:
            data = bytes.fromhex(value)
        except (TypeError, ValueError):
            raise MalformedError("not hex") from None
        if data.hex() != value:
            raise MalformedError("not plain lower-case hex")
        if len(value) != digits:
            raise MalformedError(f"{len(data)} bytes where {size} belong")
        return data

    return read


def integer(bits: int, least: int = 0) -> Reader:
    limit = 1 << bits

    def read(value: Any) -> int:
        if type(value) is not int or not least <= value < limit:
            raise MalformedError(f"not an integer of {bits} bits, {least} or more")
        return value

    return read


def string(value: Any) -> str:
    if type(value) is not str:
        raise MalformedError("not a string")
    return value


def one_of(*allowed: str) -> Reader:
    def read(value: Any) -> str:
        if value not in allowed:
            raise MalformedError(f"none of {', '.join(allowed)}")
        return string(value)

    return read


def list_of(item: Reader, size: int | None = None) -> Reader:
    def read(value: Any) -> list[Any]:
        if type(value) is not list or size not in (None, len(value)):
            raise MalformedError("not a list" if size is None else f"not a list of {size}")
        return [item(member) for member in value]

    return read


def fraction(value: Any) -> Fraction:
    """An exact fraction in lowest terms, "47/50"."""
    match = re.fullmatch(r"([0-9]{1,60})/([0-9]{1,60})", string(value))
    if match is None or int(match[2]) == 0:
        raise MalformedError("not a fraction")
    numerator, denominator = int(match[1]), int(match[2])
    if gcd(numerator, denominator) != 1 or f"{numerator}/{denominator}" != value:
        raise MalformedError("not a fraction in lowest terms")
    return Fraction(numerator, denominator)


# --------------------------------------------------------------------------------------------------------------------
# The lines of a bundle. The annotation of a field says how its member of the JSON object is read.

Text = Annotated[str, string]
Hash = Annotated[bytes, hex_of(32)]
Bytes16 = Annotated[bytes, hex_of(16)]
U8 = Annotated[int, integer(8)]
U32 = Annotated[int, integer(32)]
U64 = Annotated[int, integer(64)]
Positive = Annotated[int, integer(64, least=1)]
Hashes = Annotated[list[bytes], list_of(hex_of(32))]
Numbers = Annotated[list[int], list_of(integer(64))]


@cache
def readers(shape: type) -> dict[str, Reader]:
    """The reader of each field of a class whose fields are annotated as above."""
    hints = get_type_hints(shape, include_extras=True)
    return {key: hint.__metadata__[0] for key, hint in hints.items() if get_origin(hint) is Annotated}


class Currency(NamedTuple):
    """A currency's limits; `exponent` is its number of decimal places. Only `round_win_max_minor` need not be there."""

    exponent: U8
    stake_min_minor: U64
    stake_max_minor: U64
    stake_step_minor: Positive
    win_max_minor: U64
    round_win_max_minor: U64 | None = None


def currency_limits(value: Any) -> Currency:
    fields = readers(Currency)
    if type(value) is dict and "round_win_max_minor" in value:
        fields = fields | {"round_win_max_minor": integer(64)}
    return Currency(**record(value, fields))


def currencies(value: Any) -> dict[bytes, Currency]:
    """Currencies by their 8 bytes in a bet leaf."""
    if type(value) is not dict or not all(re.fullmatch("[0-9A-Za-z]{1,8}", code) for code in value):
        raise MalformedError("not currencies by code")
    return {currency_bytes(code): currency_limits(limits) for code, limits in value.items()}


def currency_bytes(code: str) -> bytes:
    return code.encode().ljust(8, b"\0")


def currency_code(currency: bytes) -> str:
    return currency.rstrip(b"\0").decode("ascii", "backslashreplace")


def by_picks(reader: Callable[[int], Reader]) -> Reader:
    """An object with a member for each number of picks, "1" to "10"."""
    members = {str(picks): reader(picks) for picks in range(1, PICKS_MAX + 1)}
    return lambda value: {int(picks): member for picks, member in record(value, members).items()}


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """A rules document."""

    protocol: Text
    numbers: U8
    drawn: U8
    profile: Text
    guard_ms: U64
    beacon_chain: Annotated[str | None, lambda value: None if value is None else string(value)]
    rtp_bounds: Annotated[list[Fraction], list_of(fraction, 2)]
    paytables: Hashes
    currencies: Annotated[dict[bytes, Currency], currencies]


@dataclass(frozen=True, slots=True, eq=False)
class Paytable:
    """A paytable document. `rtp` is what it states, `exact_rtp` what it is."""

    name: Text
    version: U64
    scale: Positive
    multipliers: Annotated[dict[int, list[int]], by_picks(lambda picks: list_of(integer(64), picks + 1))]
    rtp: Annotated[dict[int, Fraction], by_picks(lambda picks: fraction)]
    exact_rtp: dict[int, Fraction]


@lru_cache(maxsize=1024)
def read_content(kind: str, text: str) -> Rules | Paytable:
    if kind == "rules":
        return Rules(**record(strict_json(text), readers(Rules)))
    members = record(strict_json(text), readers(Paytable))
    return Paytable(**members, exact_rtp=paytable_rtp(members["multipliers"], members["scale"]))


@dataclass(frozen=True, slots=True)
class Document:
    """A published document. `content` is None if the text does not have the stated hash: then it is nobody's word."""

    type: Text
    kind: Annotated[str, one_of("rules", "paytable")]
    hash: Hash
    text: Text
    digest: bytes
    content: Rules | Paytable | None = field(compare=False)


def read_document(line: Any) -> Document:
    members = record(line, readers(Document))
    kind, digest = members["kind"], sha256(members["text"].encode())
    try:
        content = read_content(kind, members["text"]) if digest == members["hash"] else None
    except MalformedError as error:
        raise MalformedError(f"{kind} document: {error}") from None
    return Document(**members, digest=digest, content=content)


@dataclass(frozen=True, slots=True)
class Epoch:
    """A batch of rounds whose seeds were committed together."""

    type: Text
    room: Bytes16
    first: U64
    count: U32
    commits_root: Hash
    key_commit: Hash
    opened_ms: U64
    epoch: Hash


class Draw(NamedTuple):
    """The outcome of a drawn round."""

    x: Hash
    beacon: Hash
    block0: Hash
    numbers: Numbers
    result: Hash


class Void(NamedTuple):
    """The outcome of a void round."""

    void: Hash
    void_reason: U8


@dataclass(frozen=True, slots=True)
class Round:
    """A round line. Exactly one of `bets` (leaf data) and `bet_leaves` (leaf hashes) is not None."""

    type: Text
    profile: Annotated[str, one_of("S", "E", "B")]
    room: Bytes16
    round: U64
    epoch_first: U64
    epoch_count: U32
    key_commit: Hash
    commits_root: Hash
    commit: Hash
    commit_path: Hashes
    rules: Hash
    bets_root: Hash
    bets_count: U64
    lock_ms: U64
    guard_ms: U64
    beacon_round: U64
    beacon_sig: Annotated[bytes, any_hex]
    prev_lock: Hash
    lock: Hash
    seed: Hash
    outcome: Draw | Void
    bets: list[bytes] | None = None
    bet_leaves: list[bytes] | None = None
    epoch_key: bytes | None = None

    @property
    def context(self) -> bytes:
        """`ctx` of the protocol."""
        return self.room + u64(self.round)

    @property
    def name(self) -> str:
        return f"round {self.round} of room {self.room.hex()}"


@cache
def round_readers(public: bool, void: bool, epoch_over: bool) -> dict[str, Reader]:
    bets = {"bet_leaves": list_of(hex_of(32))} if public else {"bets": list_of(any_hex)}
    epoch_key = {"epoch_key": hex_of(32)} if epoch_over else {}
    return readers(Round) | bets | readers(Void if void else Draw) | epoch_key


def read_round(line: Any) -> Round:
    members = record(line, round_readers("bet_leaves" in line, "void" in line, "epoch_key" in line))
    outcome = Void if "void" in members else Draw
    members["outcome"] = outcome(*[members.pop(key) for key in outcome._fields])
    return Round(**members)


@dataclass(frozen=True, slots=True)
class BeaconChain:
    """A chain of beacons as drand describes it: its hash covers all the rest."""

    type: Text
    hash: Hash
    public_key: Annotated[bytes, hex_of(96)]
    period: U32
    genesis_time: U64
    group_hash: Hash
    beacon_id: Text

    @property
    def faults(self) -> list[str]:
        """Why rules may not name it; quicknet needs no such line."""
        clock = u32(self.period) + u64(self.genesis_time)
        faults = []
        if sha256(clock, self.public_key, self.group_hash, self.beacon_id.encode()) != self.hash:
            faults.append("the beacon chain's line does not have its hash")
        if (self.period * 1000, self.genesis_time * 1000) != (PERIOD_MS, GENESIS_MS):
            faults.append("the beacon chain does not keep quicknet's clock")
        if self.hash.hex() != QUICKNET and self.beacon_id != LOCAL_BEACON:
            faults.append("the beacon chain is neither drand quicknet nor a local beacon that says so")
        return faults


class Win(NamedTuple):
    """What one bet is paid."""

    bet: Bytes16
    hits: U64
    payout_minor: U64
    cut_minor: U64


@dataclass(frozen=True, slots=True)
class Payouts:
    """The winning bets of a round."""

    type: Text
    room: Bytes16
    round: U64
    payouts: Annotated[list[Win], list_of(lambda value: Win(**record(value, readers(Win))))]


LEAF = struct.Struct(">16s 16s 16s 32s 10s Q 8s 32s")


class Bet(NamedTuple):
    """Bet leaf data; bit n-1 of `picks` stands for number n."""

    salt: bytes
    id: bytes
    operator: bytes
    account: bytes
    picks: int
    stake_minor: int
    currency: bytes
    paytable: bytes


def read_leaf(data: bytes) -> Bet:
    salt, bet_id, operator, account, picks, stake_minor, currency, paytable = LEAF.unpack(data)
    return Bet(salt, bet_id, operator, account, int.from_bytes(picks), stake_minor, currency, paytable)


# --------------------------------------------------------------------------------------------------------------------
# A file of bundles: what is in it, and whether each line belongs to a round.

Key = tuple[str, *tuple[bytes | int, ...]]
Line: TypeAlias = "Document | Epoch | BeaconChain | Round | Payouts | Logged | Seen | Anchor"


def read_line(text: str) -> tuple[Key, Line]:
    """A line and the name by which rounds refer to it."""
    shared = not text.startswith(('{"type":"round"', '{"type": "round"', '{"type":"payouts"', '{"type": "payouts"'))
    return read_shared_line(text) if shared and len(text) < SHARED_LINE_MAX else read_new_line(text)


def read_new_line(text: str) -> tuple[Key, Line]:
    line = strict_json(text)
    kind = line.get("type") if type(line) is dict else None
    if kind == "document":
        document = read_document(line)
        return ("document", document.hash), document
    if kind == "epoch":
        epoch = Epoch(**record(line, readers(Epoch)))
        return ("epoch", epoch.room, epoch.first, epoch.count), epoch
    if kind == "chain":
        beacon_chain = BeaconChain(**record(line, readers(BeaconChain)))
        return ("chain", beacon_chain.hash), beacon_chain
    if kind == "round":
        r = read_round(line)
        return ("round", r.room, r.round), r
    if kind == "payouts":
        payouts = Payouts(**record(line, readers(Payouts)))
        return ("payouts", payouts.room, payouts.round), payouts
    return read_later_line(kind, line)


def read_later_line(kind: Any, line: Any) -> tuple[Key, Line]:
    """A line that a bundle has once others have put the round into a log or on a chain, or seen its lock."""
    if kind == "log":
        logged = Logged(**record(line, readers(Logged)))
        return ("log", logged.room, logged.round), logged
    if kind == "anchor":
        anchor = Anchor(**record(line, readers(Anchor)))
        return ("anchor", anchor.room, anchor.round), anchor
    if kind == "seen":
        seen = Seen(**record(line, readers(Seen)))
        return ("seen", seen.room, seen.round, seen.public_key), seen
    raise MalformedError("not an object of a known type")


# Each round brings its own copy of its documents and epoch: the same text is the same line, and is read once.
SHARED_LINE_MAX = 1 << 16
read_shared_line = lru_cache(maxsize=256)(read_new_line)


def chain_hash(rules: Rules) -> bytes:
    """The hash of the beacon chain that rules name; empty where they name none, or no hash."""
    named = QUICKNET if rules.beacon_chain == "quicknet" else rules.beacon_chain
    return bytes.fromhex(named) if named is not None and re.fullmatch("[0-9a-f]{64}", named) else b""


class Evidence:
    """The lines of one file. `faults` are violations found in the lines as a whole; with one, no round is verified."""

    def __init__(self, data: bytes) -> None:
        self.lines: dict[Key, Line] = {}
        self.faults: list[str] = []
        self._line_numbers: dict[Key, list[int]] = {}  # of each copy
        try:
            texts = data.decode().split("\n")
        except UnicodeDecodeError:
            raise MalformedError("not UTF-8") from None
        if not texts[-1] and len(texts) > 1:
            texts.pop()
        for line_number, text in enumerate(texts, 1):
            try:
                key, line = read_line(text)
            except MalformedError as error:
                raise MalformedError(f"line {line_number}: {error}") from None
            known = self.lines.setdefault(key, line)
            if known is not line and known != line:
                self.faults.append(f"line {line_number} contradicts line {self._line_numbers[key][0]}")
            self._line_numbers.setdefault(key, []).append(line_number)
        self.rounds = [line for line in self.lines.values() if isinstance(line, Round)]
        self._seen: dict[tuple[bytes, int], list[Seen]] = {}
        for line in self.lines.values():
            if isinstance(line, Seen):
                self._seen.setdefault((line.room, line.round), []).append(line)
        if self.rounds:
            self._find_strangers()
            self._find_overlapping_epochs()

    def document(self, digest: bytes) -> Document | None:
        line = self.lines.get(("document", digest))
        return line if isinstance(line, Document) else None

    def beacon_chain(self, rules: Rules) -> BeaconChain | None:
        line = self.lines.get(("chain", chain_hash(rules)))
        return line if isinstance(line, BeaconChain) else None

    def epoch(self, r: Round) -> Epoch | None:
        line = self.lines.get(("epoch", r.room, r.epoch_first, r.epoch_count))
        return line if isinstance(line, Epoch) else None

    def payouts(self, r: Round) -> list[Win] | None:
        line = self.lines.get(("payouts", r.room, r.round))
        return line.payouts if isinstance(line, Payouts) else None

    def logged(self, r: Round) -> "Logged | None":
        line = self.lines.get(("log", r.room, r.round))
        return line if isinstance(line, Logged) else None

    def seen(self, r: Round) -> "list[Seen]":
        return self._seen.get((r.room, r.round), [])

    def anchor(self, r: Round) -> "Anchor | None":
        line = self.lines.get(("anchor", r.room, r.round))
        return line if isinstance(line, Anchor) else None

    def _find_strangers(self) -> None:
        """Each line must belong to a round. Each bundle of a file may bring its own copy of a document or epoch."""
        owners: Counter[Key] = Counter()
        for r in self.rounds:
            owners[("round", r.room, r.round)] += 1
            owners[("payouts", r.room, r.round)] += 1
            owners[("log", r.room, r.round)] += 1
            owners[("anchor", r.room, r.round)] += 1
            owners[("epoch", r.room, r.epoch_first, r.epoch_count)] += 1
            owners[("document", r.rules)] += 1
        rules_missing = False
        for digest, users in Counter(r.rules for r in self.rounds).items():
            document = self.document(digest)
            if document is not None and isinstance(document.content, Rules):
                for paytable in set(document.content.paytables):
                    owners[("document", paytable)] += users
                owners[("chain", chain_hash(document.content))] += users
            else:
                rules_missing = True
        for key, line in self.lines.items():
            named_by_rules = isinstance(line, BeaconChain) or (isinstance(line, Document) and line.kind == "paytable")
            if rules_missing and named_by_rules:
                continue  # which of them belong here, the missing rules would say
            # Any number of operators may have seen the lock of a round, each once.
            uses = owners[("round", line.room, line.round)] if isinstance(line, Seen) else owners[key]
            copies = self._line_numbers[key]
            if not uses:
                self.faults.append(f"line {copies[0]}: this {key[0]} line belongs to no round of the file")
            elif len(copies) > uses:
                self.faults.append(f"line {copies[0]}: this {key[0]} line is there {len(copies)} times")

    def _find_overlapping_epochs(self) -> None:
        """A round that lies in two epochs would have two seeds to choose from."""
        epochs = sorted((line.room, line.first, line.count) for line in self.lines.values() if isinstance(line, Epoch))
        for (room, first, size), (next_room, next_first, _) in pairwise(epochs):
            if room == next_room and next_first < first + size:
                self.faults.append(f"epochs of room {room.hex()} overlap: from {first} on, and from {next_first} on")


class Chain:
    """The locks of all rounds that were given, by room, to follow `prev_lock`."""

    def __init__(self, files: Iterable[Evidence]) -> None:
        self._locks: dict[bytes, dict[int, bytes]] = {}
        for evidence in files:
            for r in evidence.rounds:
                if self._locks.setdefault(r.room, {}).setdefault(r.round, r.lock) != r.lock:
                    evidence.faults.append(f"{r.name} has another lock in another file")
        self._rounds = {room: sorted(locks) for room, locks in self._locks.items()}
        self._known = {room: {ZERO_HASH, *locks.values()} for room, locks in self._locks.items()}

    def before(self, r: Round) -> tuple[int, bytes] | None:
        """The last given round of the room before `r`, and its lock."""
        rounds = self._rounds[r.room]
        index = bisect_left(rounds, r.round)
        return None if index == 0 else (rounds[index - 1], self._locks[r.room][rounds[index - 1]])

    def knows(self, room: bytes, lock: bytes) -> bool:
        return lock in self._known[room]


# --------------------------------------------------------------------------------------------------------------------
# The checks of a round, in the order of the protocol. Each recomputes what follows from what the bundle states.

OK, FAIL, MISSING, SKIPPED = "ok", "FAIL", "missing", "skipped"
FAULTS_SHOWN_MAX = 10


class Check(NamedTuple):
    """One verdict. `missing` lacks evidence that a bundle should have; `skipped` need not be checked here."""

    name: str
    verdict: str
    detail: str


@cache
def passed(name: str) -> Check:
    """A passed check, made once: most are, and a file may hold millions."""
    return Check(name, OK, "")


def shown(value: object) -> str:
    return value.hex() or "nothing" if isinstance(value, bytes) else str(value)


class Findings:
    """Verdicts, and what they come to."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.failed = 0
        self.unproved = 0

    def ok(self, name: str, detail: str = "") -> None:
        self.checks.append(Check(name, OK, detail) if detail else passed(name))

    def fail(self, name: str, detail: str) -> None:
        self.checks.append(Check(name, FAIL, detail))
        self.failed += 1

    def missing(self, name: str, reason: str) -> None:
        self.checks.append(Check(name, MISSING, reason))
        self.unproved += 1

    def skip(self, name: str, reason: str) -> None:
        self.checks.append(Check(name, SKIPPED, reason))

    def equal(self, name: str, expected: object, found: object) -> bool:
        if expected == found:
            self.checks.append(passed(name))
            return True
        self.fail(name, f"expected {shown(expected)}, found {shown(found)}")
        return False

    def faultless(self, name: str, faults: Sequence[str], detail: str = "") -> None:
        if not faults:
            self.ok(name, detail)
        for fault in faults[:FAULTS_SHOWN_MAX]:
            self.fail(name, fault)
        if len(faults) > FAULTS_SHOWN_MAX:
            self.fail(name, f"and {len(faults) - FAULTS_SHOWN_MAX} more")

    @property
    def status(self) -> int:
        return VIOLATION if self.failed else INCOMPLETE if self.unproved else VERIFIED


class Report(Findings):
    """What was found out about one round."""

    def __init__(self, r: Round) -> None:
        super().__init__()
        self.round = r
        self.totals: dict[str, Any] = {}
        self.local_beacon = False

    @property
    def profile_proved(self) -> str | None:
        """The profile this evidence proves, or None.

        E and B do not fall back to S if the origin of the beacon was not checked: a house that could invent the beacon
        after the lock could choose the draw, committed seed or not. A beacon that is not public proves neither.
        """
        if self.local_beacon:
            return None
        return self.round.profile if isinstance(self.round.outcome, Draw) and self.status == VERIFIED else None

    @property
    def summary(self) -> str:
        if self.status == VIOLATION:
            verdict = f"VIOLATION, checks failed: {self.failed}"
        elif self.status == INCOMPLETE:
            verdict = f"incomplete, checks without their evidence: {self.unproved}"
        elif isinstance(self.round.outcome, Void):
            verdict = f"verified, void for reason {self.round.outcome.void_reason}, nothing drawn"
        else:
            of = " on a local beacon, not public" if self.local_beacon else ""
            verdict = f"verified, profile {self.round.profile}{of}"
        return f"{self.round.name}: {verdict}"


def verify_round(
    r: Round,
    evidence: Evidence,
    chain: Chain,
    drand: Mapping[int, bytes] | None,
    trust: "LogTrust",
    bls: "Bls | None" = None,
) -> Report:
    """All checks of one round. `drand` are beacon signatures the auditor fetched himself, by drand round."""
    report = Report(r)
    if evidence.faults:
        report.fail("file", f"faults in the lines of this file: {len(evidence.faults)}, listed at its end")
    check_commitment(r, report)
    epoch = check_epoch(r, evidence.epoch(r), report)
    rules = check_rules(r, evidence, report)
    paytables = check_paytables(rules, evidence, report)
    bets, playable = check_bets(r, rules, report)
    check_beacon_round(r, epoch, report)
    check_beacon(r, drand, bls if bls is None or rules is None else bls.of(rules, evidence), report)
    check_lock(r, report)
    check_chain(r, chain, report)
    if isinstance(r.outcome, Void):
        check_void(r, r.outcome, report)
        check_nothing_paid(evidence.payouts(r), report)
        add_totals(report, bets, None, "refunded_minor")
    else:
        numbers = check_draw(r, r.outcome, report)
        paid = evidence.payouts(r)
        due = check_payouts(r, rules, paytables, bets, report, playable=playable, numbers=numbers, paid=paid)
        add_totals(report, bets, due, "payout_minor")
    check_log(r, epoch, evidence.logged(r), trust, report)
    check_anchor(evidence.anchor(r), evidence.logged(r), trust, report)
    check_seen(r, evidence.seen(r), trust, report)
    return report


def check_commitment(r: Round, report: Report) -> None:
    """The seed is one that was fixed, together with all others of its epoch, before the epoch's first bet."""
    if r.epoch_key is None:
        report.skip("key_commit", "the epoch key is not revealed before the epoch is over")
        report.skip("seed", "the epoch key is not revealed before the epoch is over")
    else:
        report.equal("key_commit", sha256(b"keno1:ekey", r.epoch_key), r.key_commit)
        report.equal("seed", hmac.digest(r.epoch_key, b"keno1:seed" + r.context, "sha256"), r.seed)
    report.equal("commit", sha256(b"keno1:commit", r.context, r.seed), r.commit)
    index = r.round - r.epoch_first
    root = root_from_path(leaf_hash(r.context + r.commit), index, r.epoch_count, r.commit_path)
    if root is None:
        report.fail(
            "commits_root", f"a path of {len(r.commit_path)} hashes cannot prove leaf {index} of {r.epoch_count}"
        )
    else:
        report.equal("commits_root", root, r.commits_root)


def check_epoch(r: Round, epoch: Epoch | None, report: Report) -> Epoch | None:
    """The epoch line is whole, and is the one to which the round's commitment belongs (found by room and range)."""
    if epoch is None:
        report.missing(
            "epoch", f"no epoch line for rounds {r.epoch_first} to {r.epoch_first + r.epoch_count - 1} of this room"
        )
        return None
    span = u64(epoch.first) + u32(epoch.count)
    keys = epoch.commits_root + epoch.key_commit
    report.equal("epoch", sha256(b"keno1:epoch", epoch.room, span, keys, u64(epoch.opened_ms)), epoch.epoch)
    report.equal("epoch commits_root", r.commits_root, epoch.commits_root)
    report.equal("epoch key_commit", r.key_commit, epoch.key_commit)
    late = [f"opened at {epoch.opened_ms}, the round was locked at {r.lock_ms}"] if epoch.opened_ms >= r.lock_ms else []
    report.faultless("epoch opened before the lock", late)
    return epoch


def check_rules(r: Round, evidence: Evidence, report: Report) -> Rules | None:
    """The rules the lock commits to are published, are those of keno1, and say what the round says."""
    document = evidence.document(r.rules)
    if document is None:
        report.missing("rules document", f"no document {r.rules.hex()}")
        return None
    if not report.equal("rules document", document.digest, r.rules):
        return None
    rules = document.content
    if not isinstance(rules, Rules):
        report.fail("rules document", "the round names a paytable as its rules")
        return None
    report.equal("rules protocol", ("keno1", NUMBERS, DRAWN), (rules.protocol, rules.numbers, rules.drawn))
    report.equal("rules profile", rules.profile, r.profile)
    report.equal("rules guard_ms", rules.guard_ms, r.guard_ms)
    beacon_chain = evidence.beacon_chain(rules)
    report.faultless("rules content", rules_faults(rules, beacon_chain))
    if r.profile != "S" and beacon_chain is not None and beacon_chain.beacon_id == LOCAL_BEACON:
        report.local_beacon = True
        report.skip("public beacon", "local beacon, not public: whoever runs it knows its rounds ahead")
    return rules


@lru_cache(maxsize=1024)
def rules_faults(rules: Rules, beacon_chain: BeaconChain | None) -> list[str]:
    faults = [] if beacon_chain is None else beacon_chain.faults
    if rules.profile == "S" and rules.beacon_chain is not None:
        faults.append("profile S has no beacon, but a beacon chain is named")
    if rules.profile != "S" and beacon_chain is None and rules.beacon_chain not in ("quicknet", QUICKNET):
        faults.append("the beacon chain is not drand quicknet")
    if rules.profile != "S" and rules.guard_ms < GUARD_MS_MIN:
        faults.append(f"guard_ms is below {GUARD_MS_MIN}")
    if rules.rtp_bounds[0] > rules.rtp_bounds[1]:
        faults.append("the lower bound of the RTP is above the upper")
    if not rules.paytables or len(set(rules.paytables)) != len(rules.paytables):
        faults.append("no paytable is offered, or one twice")
    if not rules.currencies:
        faults.append("no currency is known")
    for code, limits in rules.currencies.items():
        ordered = 1 <= limits.stake_min_minor <= limits.stake_max_minor
        round_win_max_minor = limits.round_win_max_minor
        if round_win_max_minor is not None and round_win_max_minor < limits.win_max_minor:
            faults.append(f"the maximum win a round of {currency_code(code)} is below that of one bet")
        if not ordered or limits.win_max_minor == 0 or limits.exponent > 8:
            faults.append(f"the limits of {currency_code(code)} make no sense")
    return faults


def check_paytables(rules: Rules | None, evidence: Evidence, report: Report) -> dict[bytes, Paytable]:
    """Every offered paytable is published, states its exact return, and keeps it within the bounds of the rules."""
    paytables: dict[bytes, Paytable] = {}
    for digest in rules.paytables if rules else ():
        name = f"paytable {digest.hex()[:16]}"
        document = evidence.document(digest)
        if document is None:
            report.missing(name, f"no document {digest.hex()}")
        elif report.equal(name, document.digest, digest):
            paytable = document.content
            if isinstance(paytable, Paytable) and rules:
                report.faultless(f"RTP of {name}", rtp_faults(paytable, rules), rtp_text(paytable))
                paytables[digest] = paytable
            else:
                report.fail(name, "the rules offer a rules document as a paytable")
    return paytables


@lru_cache(maxsize=1024)
def rtp_faults(paytable: Paytable, rules: Rules) -> list[str]:
    low, high = rules.rtp_bounds
    faults = []
    for picks, exact in paytable.exact_rtp.items():
        if paytable.rtp[picks] != exact:
            faults.append(f"{picks} picks: expected {exact}, found {paytable.rtp[picks]}")
        if not low <= exact <= high:
            faults.append(f"{picks} picks: {exact} is not within {low} and {high}")
    return faults


@lru_cache(maxsize=1024)
def rtp_text(paytable: Paytable) -> str:
    low, high = min(paytable.exact_rtp.values()), max(paytable.exact_rtp.values())
    return f"{paytable.name} version {paytable.version} returns {low if low == high else f'{low} to {high}'}"


def check_bets(r: Round, rules: Rules | None, report: Report) -> tuple[list[Bet] | None, list[Bet]]:
    """The locked set of bets is whole, and the rules allow each bet.

    Returns the bets, or None if unreadable, and those of them that the rules allow.
    """
    hashes = r.bet_leaves if r.bets is None else [leaf_hash(leaf) for leaf in r.bets]
    assert hashes is not None  # read_round: one of the two is there
    report.equal("bets_count", len(hashes), r.bets_count)
    report.equal("bets_root", root_of_hashes(hashes), r.bets_root)
    if len(set(hashes)) != len(hashes):
        report.fail("bets", "a bet is there twice")
    if r.bets is None:
        report.skip("bets", "the bets are not public")
        return None, []
    if rules is None:
        if r.bets:
            report.missing("bets", "the rules document is missing")
        return None, []
    wrong = [f"leaf {index} has {len(leaf)} bytes" for index, leaf in enumerate(r.bets) if len(leaf) != LEAF.size]
    if wrong:
        report.faultless("bets", wrong)
        return None, []
    bets = [read_leaf(leaf) for leaf in r.bets]
    faults = [
        f"bet {after.id.hex()} does not follow {bet.id.hex()}" for bet, after in pairwise(bets) if bet.id >= after.id
    ]
    playable = []
    for bet in bets:
        fault = bet_fault(bet, rules)
        if fault is None:
            playable.append(bet)
        else:
            faults.append(f"bet {bet.id.hex()}: {fault}")
    report.faultless("bets", faults)
    return bets, playable


def bet_fault(bet: Bet, rules: Rules) -> str | None:
    if not 1 <= bet.picks.bit_count() <= PICKS_MAX:
        return f"{bet.picks.bit_count()} picks"
    if bet.paytable not in rules.paytables:
        return f"paytable {bet.paytable.hex()} is not offered"
    limits = rules.currencies.get(bet.currency)
    if limits is None:
        return f"currency {bet.currency.hex()} is unknown"
    if not limits.stake_min_minor <= bet.stake_minor <= limits.stake_max_minor:
        return f"stake {bet.stake_minor} is not within {limits.stake_min_minor} and {limits.stake_max_minor}"
    if bet.stake_minor % limits.stake_step_minor:
        return f"stake {bet.stake_minor} is not a multiple of {limits.stake_step_minor}"
    return None


def check_beacon_round(r: Round, epoch: Epoch | None, report: Report) -> None:
    """Which beacon counts follows from the clock: in B the first after the lock, in E one after the epoch's opening."""
    if r.profile == "S":
        report.equal("beacon_round", 0, r.beacon_round)
    elif r.profile == "B":
        report.equal("beacon_round", drand_round_after(r.lock_ms + r.guard_ms), r.beacon_round)
    else:
        if epoch is None:
            report.missing("beacon_round", "the epoch line is missing")
        else:
            due_ms = epoch.opened_ms + EPOCH_BEACON_DELAY_MS + r.guard_ms
            report.equal("beacon_round", drand_round_after(due_ms), r.beacon_round)
        beacon_ms = drand_time_ms(r.beacon_round)
        late = [f"beacon due at {beacon_ms}, the round was locked at {r.lock_ms}"] if beacon_ms >= r.lock_ms else []
        report.faultless("beacon before the lock", late)


class Bls:
    """Signatures of beacons, checked with py_ecc: on G1, the key on G2, points compressed. A quarter of a second each.

    Raises ImportError where it is not installed.
    """

    def __init__(self, public_key: bytes = QUICKNET_KEY) -> None:
        # py_ecc raises the limit so far that a deeply nested line could then crash the interpreter.
        depth_max = sys.getrecursionlimit()
        self._curve = importlib.import_module("py_ecc.optimized_bls12_381")
        self._points = importlib.import_module("py_ecc.bls.point_compression")
        self._in_subgroup = importlib.import_module("py_ecc.bls.g2_primitives").subgroup_check
        self._hash_to_g1 = importlib.import_module("py_ecc.bls.hash_to_curve").hash_to_G1
        sys.setrecursionlimit(depth_max)
        self._key = self._read_key(public_key)
        self._known: dict[tuple[int, bytes], bool] = {}
        self._others: dict[bytes, Bls] = {}

    def of(self, rules: Rules, evidence: Evidence) -> "Bls":
        """The same for the chain that rules name, whose line, if it is not quicknet's, has that chain's hash."""
        line = evidence.beacon_chain(rules)
        if line is None or line.faults or line.public_key == QUICKNET_KEY:
            return self
        if line.hash not in self._others:
            self._others[line.hash] = Bls(line.public_key)
        return self._others[line.hash]

    def verifies(self, drand_round: int, signature: bytes) -> bool:
        """Whether the signature is that of the round."""
        asked = drand_round, signature
        if asked not in self._known:
            self._known[asked] = self._key is not None and self._verify(drand_round, signature)
        return self._known[asked]

    def _verify(self, drand_round: int, signature: bytes) -> bool:
        try:
            point = self._points.decompress_G1(int.from_bytes(signature))
        except ValueError:
            return False
        if self._curve.is_inf(point) or not self._in_subgroup(point):
            return False
        message = self._hash_to_g1(sha256(u64(drand_round)), SIGNATURE_TAG, hashlib.sha256)
        pairings = self._curve.pairing(self._curve.G2, point, False) * self._curve.pairing(
            self._key, self._curve.neg(message), False
        )
        return bool(self._curve.final_exponentiate(pairings) == self._curve.FQ12.one())

    def _read_key(self, public_key: bytes) -> Any:
        try:
            key = self._points.decompress_G2((int.from_bytes(public_key[:48]), int.from_bytes(public_key[48:])))
        except ValueError:
            return None
        return None if self._curve.is_inf(key) or not self._in_subgroup(key) else key


def check_beacon(r: Round, drand: Mapping[int, bytes] | None, bls: Bls | None, report: Report) -> None:
    """The beacon is the hash of the signature shown, and that is the chain's: by pairing, or by the auditor's copy."""
    if r.profile == "S":
        report.equal("beacon signature", b"", r.beacon_sig)
        if isinstance(r.outcome, Draw):
            report.equal("beacon", ZERO_HASH, r.outcome.beacon)
        return
    if isinstance(r.outcome, Draw):
        report.equal("beacon", sha256(r.beacon_sig), r.outcome.beacon)
    elif not r.beacon_sig:
        report.skip("beacon signature", "the round is void and shows none")
        return
    if len(r.beacon_sig) != SIGNATURE_BYTES:
        report.fail("beacon signature", f"{len(r.beacon_sig)} bytes, quicknet's have {SIGNATURE_BYTES}")
    elif bls is not None:
        right = bls.verifies(r.beacon_round, r.beacon_sig)
        report.faultless("beacon signature", [] if right else [f"it is not that of beacon round {r.beacon_round}"])
    elif drand is None:
        # Without it a house could have made the beacon up after the lock, and with it the draw.
        unchecked = report.missing if isinstance(r.outcome, Draw) else report.skip
        unchecked("beacon signature", f"of drand round {r.beacon_round}: verify it (--bls) or compare it (--drand)")
    elif r.beacon_round not in drand:
        report.missing("beacon signature", f"the drand file has no round {r.beacon_round}")
    else:
        report.equal("beacon signature", drand[r.beacon_round], r.beacon_sig)


def check_lock(r: Round, report: Findings) -> None:
    """The lock commits, before the seed is known, to all that enters the round."""
    times = u64(r.lock_ms) + u64(r.beacon_round)
    parts = (r.context, r.commit, r.rules, r.bets_root, u64(r.bets_count), times, r.prev_lock)
    report.equal("lock", sha256(b"keno1:lock", *parts), r.lock)


def check_chain(r: Round, chain: Chain, report: Report) -> None:
    """`prev_lock` is the lock of the room's previous locked round; skipped rounds in between have none."""
    previous = chain.before(r)
    if r.round == 1:
        report.equal("prev_lock", ZERO_HASH, r.prev_lock)
    elif previous is None:
        report.skip("prev_lock", "no earlier round of this room is given")
    elif previous[0] == r.round - 1 or chain.knows(r.room, r.prev_lock):
        report.equal("prev_lock", previous[1], r.prev_lock)
    else:
        report.skip("prev_lock", f"the rounds after {previous[0]} and before this one are not given")


def check_draw(r: Round, drawn: Draw, report: Report) -> list[int]:
    """The numbers follow from seed, X and beacon, and from nothing else. Returns the numbers as they should be."""
    pre = sha256(b"keno1:pre", r.context, r.commit, u64(r.beacon_round))
    report.equal("x", r.lock if r.profile == "B" else pre, drawn.x)
    report.equal("block0", draw_block(r.seed, drawn.x, drawn.beacon, 0), drawn.block0)
    numbers = draw(r.seed, drawn.x, drawn.beacon)
    report.equal("numbers", numbers, drawn.numbers)
    report.equal("result", sha256(b"keno1:result", r.lock, r.seed, drawn.beacon, bytes(numbers)), drawn.result)
    return numbers


def check_void(r: Round, void: Void, report: Report) -> None:
    """A void round reveals its seed and gives its reason; its stakes go back."""
    report.equal("void", sha256(b"keno1:void", r.lock, r.seed, u8(void.void_reason)), void.void)


def check_nothing_paid(paid: list[Win] | None, report: Report) -> None:
    faults = [f"bet {win.bet.hex()} of a void round was paid {win.payout_minor}" for win in paid or ()]
    report.faultless("payouts", faults, "none: the round is void")


def check_payouts(
    r: Round,
    rules: Rules | None,
    paytables: Mapping[bytes, Paytable],
    bets: list[Bet] | None,
    report: Report,
    *,
    playable: list[Bet],
    numbers: list[int],
    paid: list[Win] | None,
) -> dict[bytes, Win] | None:
    """Winners got exactly what is due, nobody else anything. Returns what is due by bet id, or None if not known."""
    limited = rules is not None and any(each.round_win_max_minor is not None for each in rules.currencies.values())
    if r.bets is None:
        if paid is None:
            report.skip("payouts", "the bets are not public")
        else:
            report.missing("payouts", "payouts are listed, but the bets are not public")
        if limited:
            report.skip("maximum wins a round", "who made the bets is not public")
        return None
    if bets is None or rules is None:
        if r.bets or paid:
            report.missing("payouts", "the bets could not be read")
        return None
    unpublished = {bet.paytable for bet in playable} - paytables.keys()
    settled = [bet for bet in playable if bet.paytable not in unpublished]
    unjudged: set[bytes] = set()
    if len(settled) < len(bets):
        settled = without_unsure(settled, bets, rules) if limited else settled
        unjudged = {bet.id for bet in bets} - {bet.id for bet in settled}
    due = winners(settled, rules, paytables, numbers)
    faults = payout_faults(due, paid or [], unjudged)
    if paid is None and bets:
        report.missing("payouts", "no payouts line")
    elif unpublished and not faults:
        report.missing("payouts", "a paytable document is missing")
    else:
        report.faultless("payouts", faults, f"winners: {len(due)} of {len(bets)}")
    if limited and paid is not None:
        report.faultless("maximum wins a round", round_win_faults(bets, rules, paid))
    return None if unpublished else due


def without_unsure(settled: list[Bet], bets: Iterable[Bet], rules: Rules) -> list[Bet]:
    """Drops the bets of players of whose bets one cannot be settled: what it wins, it leaves less for those after it.

    Only where a round's wins have a maximum. A currency that the rules do not know has no settled bet anyway.
    """
    judged = {bet.id for bet in settled}
    unsure = {(bet.account, bet.currency) for bet in bets if bet.id not in judged}
    return [
        bet
        for bet in settled
        if rules.currencies[bet.currency].round_win_max_minor is None or (bet.account, bet.currency) not in unsure
    ]


def round_win_faults(bets: Iterable[Bet], rules: Rules, paid: Iterable[Win]) -> list[str]:
    """The players who were paid more than the rules allow in one round, whatever was due."""
    owners = {bet.id: (bet.account, bet.currency) for bet in bets}
    sums: Counter[tuple[bytes, bytes]] = Counter()
    for win in paid:
        if win.bet in owners:
            sums[owners[win.bet]] += win.payout_minor
    limits = {currency: each.round_win_max_minor for currency, each in rules.currencies.items()}
    return [
        f"account {account.hex()} was paid {minor} {currency_code(currency)}, the maximum is {most}"
        for (account, currency), minor in sums.items()
        if (most := limits.get(currency)) is not None and minor > most
    ]


def winners(
    bets: Iterable[Bet], rules: Rules, paytables: Mapping[bytes, Paytable], numbers: Iterable[int]
) -> dict[bytes, Win]:
    """What each winning bet is due, by bet id: 0 where its player has reached the round's maximum before."""
    drawn = sum(1 << number - 1 for number in numbers)
    due = {}
    paid: Counter[tuple[bytes, bytes]] = Counter()
    for bet in sorted(bets, key=attrgetter("id")):
        hits = (bet.picks & drawn).bit_count()
        paytable, limits = paytables[bet.paytable], rules.currencies[bet.currency]
        multiplier = paytable.multipliers[bet.picks.bit_count()][hits]
        if multiplier == 0:
            continue
        payout_minor, cut_minor = payout(bet.stake_minor, multiplier, paytable.scale, limits.win_max_minor)
        if payout_minor and limits.round_win_max_minor is not None:
            player = bet.account, bet.currency
            excess_minor = max(paid[player] + payout_minor - limits.round_win_max_minor, 0)
            payout_minor, cut_minor = payout_minor - excess_minor, cut_minor + excess_minor
            paid[player] += payout_minor
        if payout_minor or cut_minor:
            due[bet.id] = Win(bet.id, hits, payout_minor, cut_minor)
    return due


def payout_faults(due: Mapping[bytes, Win], paid: Sequence[Win], unjudged: set[bytes]) -> list[str]:
    """How the list of payouts differs from what is due. What bets in `unjudged` are due is not known."""
    faults = [
        f"bet {after.bet.hex()} does not follow {win.bet.hex()}"
        for win, after in pairwise(paid)
        if win.bet >= after.bet
    ]
    for win in paid:
        expected = due.get(win.bet)
        if win != expected and win.bet not in unjudged:
            faults.append(f"bet {win.bet.hex()}: expected {win_text(expected)}, found {win_text(win)}")
    unpaid = due.keys() - {win.bet for win in paid}
    return faults + [f"bet {bet.hex()}: expected {win_text(due[bet])}, found nothing" for bet in sorted(unpaid)]


def win_text(win: Win | None) -> str:
    return f"{win.payout_minor} for {win.hits} hits, {win.cut_minor} cut" if win else "nothing"


def add_totals(report: Report, bets: list[Bet] | None, due: Mapping[bytes, Win] | None, returned_key: str) -> None:
    """Adds the bets, and by currency what was staked and what goes back: payouts due, or the stakes of a void round."""
    report.totals["bets"] = report.round.bets_count
    by_currency: dict[bytes, list[Bet]] = {}
    for bet in bets or ():
        by_currency.setdefault(bet.currency, []).append(bet)
    for currency, same in by_currency.items():
        sums = {"staked_minor": sum([bet.stake_minor for bet in same])}
        if returned_key == "refunded_minor":
            sums[returned_key] = sums["staked_minor"]
        elif due is not None:
            sums[returned_key] = sum([due[bet.id].payout_minor for bet in same if bet.id in due])
        report.totals.setdefault("currencies", {})[currency_code(currency)] = sums


# --------------------------------------------------------------------------------------------------------------------
# The public log (docs/log.md): the round's epoch, lock and outcome are entries of a Merkle tree whose head the log has
# signed and witnesses may have cosigned. The formats are those of c2sp.org: signed-note, tlog-checkpoint and
# tlog-cosignature.

LOG_SIGNATURE, COSIGNATURE = 1, 4
LOG_EPOCH, LOG_LOCK, LOG_RESULT, LOG_VOID = 1, 2, 3, 4

# Ed25519 (RFC 8032), verification only. Points are (x, y, z, t) with x = X/Z, y = Y/Z, xy = T/Z.
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, FIELD) % FIELD
Point = tuple[int, int, int, int]


def point_sum(a: Point, b: Point) -> Point:
    minus, plus = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    t, z = 2 * a[3] * b[3] * CURVE_D, 2 * a[2] * b[2]
    e, f, g, h = plus - minus, z - t, z + t, plus + minus
    return e * f % FIELD, g * h % FIELD, f * g % FIELD, e * h % FIELD


def point_times(scalar: int, point: Point) -> Point:
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = point_sum(total, point)
        point, scalar = point_sum(point, point), scalar >> 1
    return total


@lru_cache(maxsize=64)
def read_point(data: bytes) -> Point | None:
    """The point that 32 bytes stand for; None where they stand for none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= FIELD:
        return None
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    if (x * x - square) % FIELD or (x == 0 and sign):
        return None
    x = FIELD - x if x & 1 != sign else x
    return x, y, 1, x * y % FIELD


def ed25519_verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    base = read_point((4 * pow(5, -1, FIELD) % FIELD).to_bytes(32, "little"))
    a, r = read_point(public_key), read_point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if base is None or a is None or r is None or len(signature) != 64 or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    left, right = point_times(s, base), point_sum(r, point_times(h, a))
    return all((left[i] * right[2] - right[i] * left[2]) % FIELD == 0 for i in (0, 1))


def from_base64(text: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64") from None
    return raw


class LogKey(NamedTuple):
    """A key of a log or of a witness, as C2SP writes it: name+id+base64 of kind and key."""

    name: str
    id: bytes
    kind: int
    public: bytes

    @property
    def text(self) -> str:
        raw = binascii.b2a_base64(u8(self.kind) + self.public, newline=False).decode()
        return f"{self.name}+{self.id.hex()}+{raw}"


def read_log_key(text: str, kind: int) -> LogKey:
    parts = text.split("+", 2)
    raw = from_base64(parts[2]) if len(parts) == 3 else b""
    if len(raw) != 33 or raw[0] != kind or not parts[0]:
        raise MalformedError("a key reads name+id+base64, and is that of a log or that of a witness")
    found = LogKey(parts[0], sha256(parts[0].encode() + b"\n" + raw)[:4], kind, raw[1:])
    if found.id.hex() != parts[1]:
        raise MalformedError("the id of this key does not belong to it")
    return found


class LogTrust(NamedTuple):
    """What the auditor brought: the keys of the log, its witnesses, and operators, all of which must have signed; the
    chain to ask, and the contract that it must be.
    """

    log: LogKey | None = None
    witnesses: tuple[LogKey, ...] = ()
    operators: tuple[bytes, ...] = ()
    node: "EthereumNode | None" = None
    contract: bytes | None = None


NO_TRUST = LogTrust()


class LogHead(NamedTuple):
    """A signed checkpoint: the note's text, its signatures (name, id of the key, signature), and what the text says."""

    body: str
    signatures: tuple[tuple[str, bytes, bytes], ...]
    origin: str
    size: int
    root: bytes


def read_log_head(value: Any) -> LogHead:
    return parse_log_head(string(value))


@lru_cache(maxsize=1024)
def parse_log_head(text: str) -> LogHead:
    body, blank, lines = text.rpartition("\n\n")
    head = body.split("\n")
    if not blank or len(head) < 3 or not all(head) or not lines.endswith("\n"):
        raise MalformedError("not a signed note of origin, size and root")
    signatures = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        raw = from_base64(parts[-1])
        if len(parts) != 3 or parts[0] != "\N{EM DASH}" or len(raw) < 5:
            raise MalformedError("a line of the note is no signature")
        signatures.append((parts[1], raw[:4], raw[4:]))
    if not re.fullmatch("0|[1-9][0-9]{0,18}", head[1], re.ASCII) or len(root := from_base64(head[2])) != 32:
        raise MalformedError("not a size and a root")
    return LogHead(body + "\n", tuple(signatures), head[0], int(head[1]), root)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of the log with its path to the root of the checkpoint."""

    index: U64
    entry: Annotated[bytes, any_hex]
    path: Hashes


@dataclass(frozen=True, slots=True)
class Logged:
    """The entries of a round's epoch, lock and outcome under one checkpoint."""

    type: Text
    room: Bytes16
    round: U64
    checkpoint: Annotated[LogHead, read_log_head]
    entries: Annotated[list[LogEntry], list_of(lambda value: LogEntry(**record(value, readers(LogEntry))), 3)]


@lru_cache(maxsize=1024)
def log_key_signed(key: LogKey, head: LogHead) -> bool | None:
    """Whether the checkpoint's signature of this key is right; None where there is none."""
    mine = [raw for name, key_id, raw in head.signatures if (name, key_id) == (key.name, key.id)]
    if not mine:
        return None
    if key.kind == LOG_SIGNATURE:
        return all(ed25519_verifies(key.public, head.body.encode(), raw) for raw in mine)
    times = [int.from_bytes(raw[:8]) for raw in mine]
    messages = [f"cosignature/v1\ntime {at}\n{head.body}".encode() for at in times]
    return all(ed25519_verifies(key.public, message, raw[8:]) for message, raw in zip(messages, mine, strict=True))


def check_log(r: Round, epoch: Epoch | None, logged: Logged | None, trust: LogTrust, report: Report) -> None:
    """The round is in the public log, as the bundle shows it; whose log that is, only the auditor's keys can tell."""
    if logged is None:
        unchecked = report.missing if trust.log or trust.witnesses else report.skip
        unchecked("log", "the bundle does not show the round in the public log")
        return
    head = logged.checkpoint
    if epoch is None:
        report.missing("log entries", "the epoch line is missing")
    else:
        stated = log_statements(r, epoch)
        kinds = ("epoch", "lock", "outcome")
        wrong = [
            f"entry {each.index} is not the {kind} that the bundle shows"
            for kind, (start, size), each in zip(kinds, stated, logged.entries, strict=True)
            if len(each.entry) != size or not each.entry.startswith(start)
        ]
        report.faultless("log entries", wrong)
    astray = [
        f"the path of entry {each.index} does not lead to the root of the checkpoint"
        for each in logged.entries
        if root_from_path(leaf_hash(each.entry), each.index, head.size, each.path) != head.root
    ]
    order = [each.index for each in logged.entries]
    if order != sorted(set(order)):
        astray.append("epoch, lock and outcome are not in this order")
    report.faultless("log inclusion", astray)
    check_log_signatures(head, trust, report)


def check_log_signatures(head: LogHead, trust: LogTrust, report: Report) -> None:
    if trust.log is None:
        report.skip("log signature", "no key of the log is given (--log-key)")
    elif trust.log.name != head.origin:
        report.fail("log signature", f"the key is that of {trust.log.name}, the checkpoint that of {head.origin}")
    else:
        check_log_signature("log signature", trust.log, head, report)
    if not trust.witnesses:
        report.skip("log cosignatures", "no key of a witness is given (--witness-key)")
    for key in trust.witnesses:
        check_log_signature(f"log cosignature of {key.name}", key, head, report)


def check_log_signature(name: str, key: LogKey, head: LogHead, report: Report) -> None:
    signed = log_key_signed(key, head)
    if signed is None:
        report.missing(name, f"the checkpoint has no signature of the key {key.id.hex()}")
    elif signed:
        report.ok(name)
    else:
        report.fail(name, "it is not one of this checkpoint by this key")


def log_statements(r: Round, epoch: Epoch) -> list[tuple[bytes, int]]:
    """How the entries of epoch, lock and outcome must begin, and their sizes.

    What follows is not in the bundle: of a lock, the number of the locked round before it; of an outcome, its instant.
    """

    def entry(kind: int, number: int, *parts: bytes) -> bytes:
        return b"".join((b"keno1:log", u8(kind), r.room, u64(number), *parts))

    span = epoch.epoch + u32(epoch.count)
    of_epoch = entry(LOG_EPOCH, epoch.first, span, epoch.commits_root, epoch.key_commit, u64(epoch.opened_ms))
    times = u64(r.bets_count) + u64(r.lock_ms) + u64(r.beacon_round)
    of_lock = entry(LOG_LOCK, r.round, r.lock, r.commit, r.rules, r.bets_root, times, r.prev_lock)
    if isinstance(r.outcome, Void):
        reason = u8(r.outcome.void_reason)
        outcome = entry(LOG_VOID, r.round, r.outcome.void, r.lock, r.seed, reason)
    else:
        # A number that is no byte is none of 80, and found out elsewhere.
        numbers = bytes(number % 256 for number in r.outcome.numbers)
        outcome = entry(LOG_RESULT, r.round, r.outcome.result, r.lock, r.seed, r.outcome.beacon, numbers)
    return [(of_epoch, len(of_epoch)), (of_lock, len(of_lock) + 8), (outcome, len(outcome) + 8)]


def add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-key", metavar="KEY", help="the key of the public log; without it nobody's log is believed"
    )
    parser.add_argument(
        "--witness-key",
        action="append",
        default=[],
        metavar="KEY",
        help="a witness that must have cosigned; repeatable",
    )
    parser.add_argument(
        "--operator-key",
        action="append",
        default=[],
        metavar="HEX",
        help="the Ed25519 key of an operator that must have countersigned each lock; repeatable",
    )


def read_log_trust(options: argparse.Namespace) -> LogTrust:
    log = None if options.log_key is None else read_log_key(options.log_key, LOG_SIGNATURE)
    operators = tuple(hex_of(32)(text) for text in options.operator_key)
    witnesses = tuple(read_log_key(text, COSIGNATURE) for text in options.witness_key)
    return LogTrust(log, witnesses, operators, *read_anchor_trust(options))


# --------------------------------------------------------------------------------------------------------------------
# Anchors: the root of the log in a contract on an Ethereum chain. The chain is only asked with --anchor.

# What the contract's code must hash to. It has no way to change a root: what it answers today it has ever since.
ANCHOR_CODE = bytes.fromhex("c4fed9ca2406d94a6793ce759b4fc0c04b1aad1e98939e21e3391927d0fe8d4e")
# How its functions rootOf(uint64) and log() are called: the first 4 bytes of Keccak-256 of these texts.
ROOT_OF, LOG_OF = "0x9d7384d9", "0x51973ec9"
NODE_TIMEOUT_S = 15.0
NODE_ANSWER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Anchor:
    """A root of the log that a contract is said to have, and the paths of the entries of the log line to it."""

    type: Text
    room: Bytes16
    round: U64
    chain_id: Positive
    contract: Annotated[bytes, hex_of(20)]
    transaction: Hash
    block: U64
    size: Positive
    root: Hash
    paths: Annotated[list[list[bytes]], list_of(list_of(hex_of(32)), 3)]


class NodeError(Exception):
    """The node did not answer, or not so that it can be used."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The auditor chose this node and no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


class EthereumNode:
    """A node of the auditor's, asked by JSON-RPC: each question once, and nothing more once it has failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = urllib.request.build_opener(NoRedirect).open
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._failed: NodeError | None = None

    def chain_id(self) -> int:
        found = self._hex("eth_chainId")
        if len(found) > 32:
            raise NodeError("the node's answer is not one word")
        return int.from_bytes(found)

    def code(self, contract: bytes, block: str = "finalized") -> bytes:
        return self._hex("eth_getCode", f"0x{contract.hex()}", block)

    def root_of(self, contract: bytes, size: int, block: str = "finalized") -> bytes:
        return self._word(contract, f"{ROOT_OF}{size:064x}", block)

    def log_of(self, contract: bytes) -> bytes:
        return self._word(contract, LOG_OF, "finalized")

    def _word(self, contract: bytes, data: str, block: str) -> bytes:
        found = self._hex("eth_call", (("to", f"0x{contract.hex()}"), ("data", data)), block)
        if len(found) != 32:
            raise NodeError("the node's answer is not one word")
        return found

    def _hex(self, method: str, *params: Any) -> bytes:
        """The result of a call. Objects among `params` are given as pairs, so that calls can be remembered."""
        if (method, *params) not in self._answers:
            self._answers[method, *params] = self._ask(method, [dict(p) if type(p) is tuple else p for p in params])
        text = self._answers[method, *params]
        if type(text) is not str or not re.fullmatch("0x[0-9a-fA-F]*", text):
            raise NodeError(f"the node's answer to {method} is not hex")
        return bytes.fromhex(text[2:].zfill(len(text) - 2 + len(text) % 2))

    def _ask(self, method: str, params: list[Any]) -> Any:
        if self._failed is not None:
            raise self._failed
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        try:
            said = json.loads(self._exchange(body))
        except urllib.error.HTTPError as error:
            with error:
                self._failed = NodeError(f"the node answers with HTTP status {error.code}")
        except OSError as error:
            self._failed = NodeError(f"the node cannot be reached: {error}")
        except (ValueError, RecursionError, HTTPException):
            self._failed = NodeError("the node's answer is not JSON")
        if self._failed is not None:
            raise self._failed
        if type(said) is not dict or "result" not in said:
            refusal = said.get("error") if type(said) is dict else None
            why = refusal.get("message") if type(refusal) is dict else None
            raise NodeError(f"the node refuses {method}: {str(why)[:200]}")
        return said["result"]

    def _exchange(self, body: bytes) -> bytes:
        """Raises OSError after NODE_TIMEOUT_S, also where the answer drips."""
        until = time.monotonic() + NODE_TIMEOUT_S
        headers = {"Content-Type": "application/json", "User-Agent": "keno-verify"}
        with self._open(urllib.request.Request(self._url, body, headers), timeout=NODE_TIMEOUT_S) as answer:
            data = bytearray()
            while piece := answer.read1(1 << 16):
                data += piece
                if time.monotonic() > until:
                    raise TimeoutError("it takes too long")
                if len(data) > NODE_ANSWER_BYTES_MAX:
                    raise ValueError("too long")
        return bytes(data)


def check_anchor(anchor: Anchor | None, logged: Logged | None, trust: LogTrust, report: Report) -> None:
    """The round is in the log whose root the bundle says is on a chain; that it is there, only the chain can tell."""
    if anchor is None:
        if trust.node is not None:
            report.missing("anchor", "the bundle does not show the log on a chain")
        return
    if logged is None:
        report.missing("anchor inclusion", "the log line is missing")
    else:
        astray = [
            f"the path of entry {each.index} does not lead to the anchored root"
            for each, path in zip(logged.entries, anchor.paths, strict=True)
            if root_from_path(leaf_hash(each.entry), each.index, anchor.size, path) != anchor.root
        ]
        head = logged.checkpoint
        if head.size == anchor.size and head.root != anchor.root:
            astray.append(f"the checkpoint of {head.size} entries has another root")
        report.faultless("anchor inclusion", astray)
    if trust.node is None:
        report.skip("anchor on the chain", "no node of the chain is given (--anchor)")
        return
    try:
        if check_anchor_contract(anchor, trust.node, trust, report):
            check_anchor_root(anchor, trust.node, report)
    except NodeError as error:
        report.missing("anchor on the chain", str(error))


def check_anchor_contract(anchor: Anchor, node: EthereumNode, trust: LogTrust, report: Report) -> bool:
    """Whether the contract of the bundle is one whose answers count."""
    if not report.equal("anchor chain id", anchor.chain_id, node.chain_id()):
        return False
    if trust.contract is None:
        report.skip("anchor contract address", "it is the bundle's: none is given (--anchor-contract)")
    elif not report.equal("anchor contract address", trust.contract, anchor.contract):
        return False
    code = node.code(anchor.contract)
    if not code:
        report.missing("anchor contract", "no finalized block has a contract at its address")
        return False
    if sha256(code) != ANCHOR_CODE:
        report.fail("anchor contract", "what stands at its address is not the contract of anchors")
        return False
    if trust.log is None:
        report.ok("anchor contract")
        return True
    return report.equal("anchor contract", sha256(trust.log.text.encode()), node.log_of(anchor.contract))


def check_anchor_root(anchor: Anchor, node: EthereumNode, report: Report) -> None:
    root, name = node.root_of(anchor.contract, anchor.size), "anchor on the chain"
    is_final = root != ZERO_HASH
    if not is_final:
        root = node.root_of(anchor.contract, anchor.size, "latest")
    if root == ZERO_HASH:
        report.missing(name, f"the contract has no root over {anchor.size} entries")
    elif root == anchor.root and not is_final:
        report.missing(name, "the block is not finalized yet")
    else:
        report.equal(name, anchor.root, root)


def add_anchor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--anchor",
        metavar="RPC_URL",
        help="a node of the Ethereum chain on which the log is anchored; the only use of a network",
    )
    parser.add_argument("--anchor-contract", metavar="ADDRESS", help="the contract that it must be, with --anchor")


def read_anchor_trust(options: argparse.Namespace) -> tuple[EthereumNode | None, bytes | None]:
    contract = None
    if options.anchor_contract is not None:
        if options.anchor is None or not re.fullmatch("0x[0-9a-fA-F]{40}", options.anchor_contract):
            raise MalformedError("--anchor-contract is 0x and 20 bytes in hex, beside --anchor")
        contract = bytes.fromhex(options.anchor_contract[2:])
    if options.anchor is None:
        return None, None
    if not re.fullmatch(r"https?://[!-~]+", options.anchor):
        raise MalformedError("--anchor is the URL of a node, such as https://node.example")
    return EthereumNode(options.anchor), contract


# --------------------------------------------------------------------------------------------------------------------
# Locks that operators have countersigned (docs/fairness.md, seen).

WITNESS_CLOCK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An operator's word, by its key, that it has seen the lock of a round."""

    type: Text
    room: Bytes16
    round: U64
    public_key: Hash
    seen_ms: U64
    signature: Annotated[bytes, hex_of(64)]


def check_seen(r: Round, seen: Sequence[Seen], trust: LogTrust, report: Report) -> None:
    """Each countersignature is one of this lock. Whose key it is, only the operator can say: --operator-key."""
    for line in seen:
        name = f"lock seen by {line.public_key.hex()}"
        if not ed25519_verifies(line.public_key, b"keno1:seen" + r.lock + u64(line.seen_ms), line.signature):
            report.fail(name, "the key did not sign that it has seen this lock")
        elif line.seen_ms < r.lock_ms - WITNESS_CLOCK_MS:
            report.fail(name, f"at {line.seen_ms}, but the lock is of {r.lock_ms}")
        else:
            known = "" if line.public_key in trust.operators else "; whose key this is was not given (--operator-key)"
            report.ok(name, f"at {line.seen_ms}{seen_ahead(r, line)}{known}")
    for key in trust.operators:
        if all(line.public_key != key for line in seen):
            report.missing(f"lock seen by {key.hex()}", "the bundle has no countersignature of this key")


def seen_ahead(r: Round, line: Seen) -> str:
    if r.profile != "B":
        return ""
    return ", before its beacon was out" if line.seen_ms < drand_time_ms(r.beacon_round) else ", after its beacon"


# --------------------------------------------------------------------------------------------------------------------
# Receipts (docs/fairness.md): what the platform signed when it accepted a bet, held against the bets of the lock.


def joined_hashes(value: Any) -> list[bytes]:
    """The hashes of a path that are written one after the other."""
    data = any_hex(value)
    if len(data) % 32:
        raise MalformedError("not hashes of 32 bytes")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a bet's statement is in the tree of the bets that were accepted together."""

    count: U32
    index: U32
    path: Annotated[list[bytes], joined_hashes]


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where the lock has the bet, as the platform says."""

    lock: Hash
    bets_root: Hash
    bets_count: U64
    index: U64
    path: Hashes


def maybe(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def uuid_bytes(value: Any) -> bytes:
    if not re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", string(value)):
        raise MalformedError("not a UUID")
    return bytes.fromhex(value.replace("-", ""))


def decimal(value: Any) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,18}", string(value)):
        raise MalformedError("not an id in digits")
    return int(value)


@dataclass(frozen=True, slots=True)
class Signed:
    """The receipt of a bet: its leaf, and the signature of the key `key_id` on its statement or its batch."""

    leaf: Annotated[bytes, any_hex]
    leaf_hash: Hash
    key_id: Text
    signature: Annotated[bytes, hex_of(64)]
    batch: Annotated[Batch | None, maybe(lambda value: Batch(**record(value, readers(Batch))))]


def round_number(value: Any) -> int:
    """The number of a bet's round, whose phase an answer has or has not."""
    fields: dict[str, Reader] = {"id": decimal, "number": integer(64)}
    if type(value) is dict and "phase" in value:
        fields["phase"] = string
    number: int = record(value, fields)["number"]
    return number


@dataclass(frozen=True, slots=True)
class Receipt:
    """A bet with its receipt, as the API answers it. `inclusion` is None before the lock, and where it is not there."""

    bet_id: Annotated[int, decimal]
    transaction_id: Annotated[Any, maybe(string)]
    round: Annotated[int, round_number]
    room: Annotated[bytes, uuid_bytes]
    player: Text
    picks: Annotated[list[int], list_of(integer(8))]
    stake_minor: U64
    currency: Text
    paytable: Hash
    accepted_ms: U64
    receipt: Annotated[Signed, lambda value: Signed(**record(value, readers(Signed)))]
    inclusion: Inclusion | None = None

    @property
    def name(self) -> str:
        return f"receipt of bet {self.bet_id} in round {self.round} of room {self.room.hex()}"

    @property
    def statement(self) -> bytes:
        """What the platform says: that it accepted a bet of this hash, in this round, at this time."""
        context = self.room + u64(self.round)
        return b"keno1:receipt" + context + self.receipt.leaf_hash + u64(self.accepted_ms)

    @property
    def message(self) -> bytes | None:
        """What must be signed; None where the path leads nowhere."""
        batch = self.receipt.batch
        if batch is None:
            return self.statement
        root = root_from_path(leaf_hash(self.statement), batch.index, batch.count, batch.path)
        return None if root is None else b"keno1:batch" + u32(batch.count) + root


def read_inclusion(value: Any) -> Inclusion:
    return Inclusion(**record(value, readers(Inclusion)))


def read_result(value: Any) -> dict[str, Any]:
    amount = integer(64)
    return record(value, {"payout_minor": amount, "cut_minor": amount, "credited_ms": maybe(amount)})


def read_receipt(value: Any) -> Receipt:
    # What an answer has once the round is over.
    later: dict[str, Reader] = {"result": maybe(read_result), "inclusion": maybe(read_inclusion)}
    if type(value) is dict:
        later = {key: read for key, read in later.items() if key in value}
    members = record(value, readers(Receipt) | later)
    members.pop("result", None)
    return Receipt(**members)


def receipts_in(value: Any) -> list[Receipt]:
    """The receipts of an answer: of a bet, of a batch of bets, of a frame that has one."""
    if type(value) is dict and type(value.get("results")) is list:
        return [read_receipt(each["bet"]) for each in value["results"] if type(each) is dict and "bet" in each]
    return [read_receipt(value["bet"] if type(value) is dict and "bet" in value else value)]


def read_receipts(data: bytes) -> list[Receipt]:
    """The receipts of a file: one answer of the API, or one a line."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None
    lines = [line for line in text.split("\n") if line.strip(" \t\r")]
    try:
        values = [strict_json(text)]
    except MalformedError:
        values = [strict_json(line) for line in lines] if len(lines) > 1 else []
        if not values:
            raise
    receipts = [receipt for value in values for receipt in receipts_in(value)]
    if not receipts:
        raise MalformedError("no receipt in it")
    return receipts


def key_id_of(public_key: bytes) -> str:
    """The thumbprint of RFC 7638, by which a receipt names the key that signed it."""
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{to_base64url(public_key)}"}}'
    return to_base64url(sha256(members.encode()))


def to_base64url(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode().translate(BASE64URL).rstrip("=")


BASE64URL = str.maketrans("+/", "-_")


def read_key_set(path: str) -> dict[str, bytes]:
    """The Ed25519 keys of a JSON Web Key Set (RFC 7517) by their thumbprints."""
    try:
        keys = strict_json(read_file(path).decode())["keys"]
        points = [key["x"] for key in keys if (key["kty"], key.get("crv")) == ("OKP", "Ed25519")]
        public = [from_base64(x.translate({ord("-"): "+", ord("_"): "/"}) + "=" * (-len(x) % 4)) for x in points]
    except (UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise MalformedError("not a JSON Web Key Set") from None
    return {key_id_of(key): key for key in public if len(key) == 32}


class ReceiptReport(Findings):
    """What was found out about one receipt. `omitted`: it proves that the lock leaves its bet out."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__()
        self.receipt = receipt
        self.genuine = False
        self.included = False
        self.omitted = False

    @property
    def summary(self) -> str:
        if self.omitted:
            verdict = "VIOLATION, the platform accepted this bet and left it out: the receipt proves the omission"
        elif self.status == VIOLATION:
            verdict = f"VIOLATION, checks failed: {self.failed}"
        elif self.status == INCOMPLETE:
            verdict = f"incomplete, checks without their evidence: {self.unproved}"
        else:
            verdict = f"verified, {'signed, and in the lock' if self.included else 'signed; no evidence was given'}"
        return f"{self.receipt.name}: {verdict}"


def verify_receipt(receipt: Receipt, keys: Mapping[str, bytes], evidence: Evidence | None) -> ReceiptReport:
    """All checks of one receipt. `keys` are the platform's, by key id."""
    report = ReceiptReport(receipt)
    check_leaf(receipt, report)
    check_receipt_signature(receipt, keys, report)
    check_inclusion_path(receipt, report)
    if evidence is None:
        report.skip("included in the lock", "no evidence of the round is given (--evidence)")
        return report
    r = evidence.lines.get(("round", receipt.room, receipt.round))
    if evidence.faults:
        report.fail("evidence", f"faults in the lines of the evidence: {'; '.join(evidence.faults[:FAULTS_SHOWN_MAX])}")
    if isinstance(r, Round):
        check_included(receipt, r, report)
    else:
        report.missing("included in the lock", "the evidence does not have this round")
    return report


def check_leaf(receipt: Receipt, report: Findings) -> None:
    """The leaf that the receipt is about is this bet."""
    leaf = receipt.receipt.leaf
    report.equal("leaf hash", leaf_hash(leaf), receipt.receipt.leaf_hash)
    if len(leaf) != LEAF.size:
        report.fail("leaf", f"{len(leaf)} bytes, a bet's leaf has {LEAF.size}")
        return
    bet = read_leaf(leaf)
    numbers = [number for number in range(1, NUMBERS + 1) if bet.picks >> number - 1 & 1]
    stated = {
        "bet": (int.from_bytes(bet.id), receipt.bet_id),
        "player": (bet.account, sha256(b"keno1:account", bet.operator, receipt.player.encode())),
        "picks": (numbers, sorted(receipt.picks)),
        "stake": (bet.stake_minor, receipt.stake_minor),
        "currency": (bet.currency, currency_bytes(receipt.currency)),
        "paytable": (bet.paytable, receipt.paytable),
    }
    wrong = [
        f"the leaf has {shown(of)}, the answer {shown(said)} as {name}"
        for name, (of, said) in stated.items()
        if of != said
    ]
    report.faultless("leaf", wrong)


def check_receipt_signature(receipt: Receipt, keys: Mapping[str, bytes], report: ReceiptReport) -> None:
    """The platform signed that it accepted the bet: by itself, or the tree of the bets accepted with it."""
    key, message = keys.get(receipt.receipt.key_id), receipt.message
    if message is None:
        report.fail("receipt signature", "no tree of this size has this path")
    elif key is None:
        report.missing("receipt signature", f"no key {receipt.receipt.key_id!a} of the platform is given (--jwks)")
    elif ed25519_verifies(key, message, receipt.receipt.signature):
        report.genuine = True
        report.ok("receipt signature")
    else:
        report.fail("receipt signature", "it is not the platform's: this receipt proves nothing")


def check_inclusion_path(receipt: Receipt, report: Findings) -> None:
    """The path that came with the bet leads to the root that it names; whose root that is, the evidence says."""
    proof = receipt.inclusion
    if proof is not None:
        root = root_from_path(receipt.receipt.leaf_hash, proof.index, proof.bets_count, proof.path)
        report.equal("inclusion path", shown(root), shown(proof.bets_root))


def check_included(receipt: Receipt, r: Round, report: ReceiptReport) -> None:
    """The bet is among those that the round's lock commits to."""
    hashes = r.bet_leaves if r.bets is None else [leaf_hash(leaf) for leaf in r.bets]
    assert hashes is not None  # read_round: one of the two is there
    failed = report.failed
    report.equal("bets_count", len(hashes), r.bets_count)
    report.equal("bets_root", root_of_hashes(hashes), r.bets_root)
    check_lock(r, report)
    if report.failed > failed:
        report.missing("included in the lock", "the evidence does not show the bets of its lock")
        return
    proof = receipt.inclusion
    if proof is not None:
        report.equal("inclusion of this lock", (r.lock.hex(), r.bets_count), (proof.lock.hex(), proof.bets_count))
    if receipt.receipt.leaf_hash in hashes:
        report.included = True
        report.ok("included in the lock", f"as {hashes.index(receipt.receipt.leaf_hash)} of {len(hashes)}")
    elif report.genuine:
        report.omitted = True
        said = f"the platform signed that it accepted this bet in this round at {receipt.accepted_ms}"
        report.fail("included in the lock", f"{said}; it is none of the {len(hashes)} bets of lock {r.lock.hex()}")
    else:
        report.missing(
            "included in the lock", "the lock does not have the bet, but nobody signed for having accepted it"
        )


def receipt_lines(path: str, reports: Iterable[ReceiptReport], quiet: bool) -> Iterable[str]:
    for report in reports:
        if not quiet:
            yield report.receipt.name
            yield from check_lines(report)
        yield report.summary


def receipt_object(reports: Mapping[str, Sequence[ReceiptReport] | MalformedError], status: int) -> dict[str, Any]:
    """The same as one JSON object, for programs."""
    return {
        "exit_status": status,
        "files": [
            {
                "file": path,
                "malformed": str(found) if isinstance(found, MalformedError) else None,
                "receipts": [
                    {
                        "room": report.receipt.room.hex(),
                        "round": report.receipt.round,
                        "bet_id": str(report.receipt.bet_id),
                        "exit_status": report.status,
                        "verdict": report.summary.partition(": ")[2],
                        "omitted": report.omitted,
                        "checks": [check._asdict() for check in report.checks],
                    }
                    for report in (() if isinstance(found, MalformedError) else found)
                ],
            }
            for path, found in reports.items()
        ],
    }


def receipt_main(argv: Sequence[str]) -> int:
    """The command `keno-verify receipt`. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="keno-verify receipt", description="Verify the receipts of bets, and hold them against the evidence."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers to bets as they came, one or one a line")
    parser.add_argument("--evidence", metavar="BUNDLE", help="the evidence of the rounds, in one file")
    parser.add_argument("--jwks", metavar="FILE", help="the platform's keys: /.well-known/jwks.json as you saved it")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object for programs")
    output.add_argument("--quiet", action="store_true", help="only the verdict of each receipt")
    options = parser.parse_args(argv)
    reading = options.jwks
    try:
        keys = {} if options.jwks is None else read_key_set(options.jwks)
        reading = options.evidence
        evidence = None if options.evidence is None else Evidence(read_file(options.evidence))
    except MalformedError as error:
        print(ascii(reading), f"malformed: {error}", file=sys.stderr)
        return MALFORMED
    reports = {path: try_verify_receipts(path, keys, evidence) for path in options.files}
    statuses = [
        MALFORMED if isinstance(found, MalformedError) else worst(report.status for report in found)
        for found in reports.values()
    ]
    status = worst(statuses)
    if options.json:
        return print_lines([json.dumps(receipt_object(reports, status))], status)
    lines: list[str] = []
    for path, found in reports.items():
        if isinstance(found, MalformedError):
            lines.append(f"{path}: malformed: {found}")
        else:
            lines += receipt_lines(path, found, options.quiet)
    return print_lines(lines, status)


def try_verify_receipts(
    path: str, keys: Mapping[str, bytes], evidence: Evidence | None
) -> list[ReceiptReport] | MalformedError:
    try:
        return [verify_receipt(receipt, keys, evidence) for receipt in read_receipts(read_file(path))]
    except MalformedError as error:
        return error


# --------------------------------------------------------------------------------------------------------------------
# Files in, verdicts out.


# More than the bundle of a round of a million bets; a file without an end has one here.
FILE_BYTES_MAX = 1 << 30


class FileReport(NamedTuple):
    """What was found out about one file; `malformed` is why it could not be read, else None."""

    path: str
    malformed: str | None
    faults: Sequence[str]
    rounds: Sequence[Report]

    @property
    def status(self) -> int:
        if self.malformed is not None:
            return MALFORMED
        statuses = [report.status for report in self.rounds] or [INCOMPLETE]
        return worst([*statuses, VIOLATION] if self.faults else statuses)


def worst(statuses: Iterable[int]) -> int:
    return max(statuses, key=PRECEDENCE.index)


def verify_bundles(
    bundles: Mapping[str, bytes | MalformedError],
    drand: Mapping[int, bytes] | None = None,
    trust: LogTrust = NO_TRUST,
    bls: Bls | None = None,
) -> list[FileReport]:
    """Verifies every round in the contents of some files, by name. The chain of locks goes across files."""
    read = {name: read_evidence(content) for name, content in bundles.items()}
    chain = Chain(evidence for evidence in read.values() if isinstance(evidence, Evidence))
    reports = []
    for name, evidence in read.items():
        if isinstance(evidence, Evidence):
            rounds = [verify_round(r, evidence, chain, drand, trust, bls) for r in evidence.rounds]
            reports.append(FileReport(name, None, evidence.faults, rounds))
        else:
            reports.append(FileReport(name, str(evidence), (), ()))
    return reports


def read_evidence(content: bytes | MalformedError) -> Evidence | MalformedError:
    try:
        return content if isinstance(content, MalformedError) else Evidence(content)
    except MalformedError as error:
        return error


def try_read_file(path: str) -> bytes | MalformedError:
    try:
        return read_file(path)
    except MalformedError as error:
        return error


def read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            too_long = os.fstat(file.fileno()).st_size > FILE_BYTES_MAX
            data = b"" if too_long else file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise MalformedError(f"cannot be read: {error}") from None
    if too_long or len(data) > FILE_BYTES_MAX:
        raise MalformedError(f"cannot be read: longer than {FILE_BYTES_MAX} bytes")
    return data


def read_drand(path: str) -> dict[int, bytes]:
    """Beacon signatures by drand round, from drand's own JSON answers, one a line."""
    beacons: dict[int, bytes] = {}
    try:
        for text in read_file(path).decode().split("\n"):
            if text.strip():
                answer = strict_json(text)
                if type(answer) is not dict or not {"round", "signature"} <= answer.keys():
                    raise MalformedError("not a drand answer")
                beacons[integer(64)(answer["round"])] = any_hex(answer["signature"])
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None
    return beacons


LABELS = {OK: "ok          ", FAIL: "FAIL        ", MISSING: "not checked ", SKIPPED: "not checked "}


def check_lines(report: Findings) -> Iterable[str]:
    for check in report.checks:
        yield f"  {LABELS[check.verdict]} {check.name}{': ' if check.detail else ''}{check.detail}"


def text_lines(files: Iterable[FileReport], quiet: bool) -> Iterable[str]:
    for file in files:
        if file.malformed is not None:
            yield f"{file.path}: malformed: {file.malformed}"
        if file.malformed is None and not file.rounds:
            yield f"{file.path}: incomplete: no round line"
        for report in file.rounds:
            if not quiet:
                yield report.round.name
                yield from check_lines(report)
                yield f"  totals       bets: {report.totals['bets']}"
                for code, sums in report.totals.get("currencies", {}).items():
                    yield f"  totals       {code}: " + ", ".join(f"{key} {value}" for key, value in sums.items())
            yield report.summary
        for fault in file.faults:
            yield f"{file.path}: VIOLATION: {fault}"


def json_object(files: Iterable[FileReport], status: int) -> dict[str, Any]:
    """The same as one JSON object, for programs."""
    return {
        "exit_status": status,
        "files": [
            {
                "file": file.path,
                "exit_status": file.status,
                "malformed": file.malformed,
                "faults": list(file.faults),
                "rounds": [
                    {
                        "room": report.round.room.hex(),
                        "round": report.round.round,
                        "exit_status": report.status,
                        "verdict": report.summary.partition(": ")[2],
                        "profile_claimed": report.round.profile,
                        "profile_proved": report.profile_proved,
                        "local_beacon": report.local_beacon,
                        "totals": report.totals,
                        "checks": [check._asdict() for check in report.checks],
                    }
                    for report in file.rounds
                ],
            }
            for file in files
        ],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command `keno-verify`. Returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] == "receipt":
        return receipt_main(argv[1:])
    parser = argparse.ArgumentParser(
        prog="keno-verify", description="Verify rounds of keno from their evidence bundles."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="evidence bundles (JSON Lines)")
    parser.add_argument(
        "--drand",
        metavar="FILE",
        help="beacons you fetched from drand yourself, one JSON answer a line; "
        "without them or --bls a round drawn in profile E or B is incomplete (exit status 3)",
    )
    add_log_options(parser)
    add_anchor_options(parser)
    parser.add_argument("--bls", action="store_true", help="verify the signatures of beacons; needs py_ecc")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object for programs")
    output.add_argument("--quiet", action="store_true", help="only the verdict of each round")
    options = parser.parse_args(argv)
    try:
        drand = None if options.drand is None else read_drand(options.drand)
    except MalformedError as error:
        print(ascii(options.drand), f"malformed: {error}", file=sys.stderr)
        return MALFORMED
    try:
        trust = read_log_trust(options)
    except MalformedError as error:
        print("malformed option:", error, file=sys.stderr)
        return MALFORMED
    try:
        bls = Bls() if options.bls else None
    except ImportError:
        print("--bls needs the package py_ecc: pip install 'keno[bls]'", file=sys.stderr)
        return MALFORMED
    collecting = gc.isenabled()
    gc.disable()  # evidence holds no cycles, and looking for some takes a fifth of the time
    try:
        files = verify_bundles({path: try_read_file(path) for path in options.files}, drand, trust, bls)
    finally:
        if collecting:
            gc.enable()
    status = worst(file.status for file in files)
    lines = [json.dumps(json_object(files, status))] if options.json else text_lines(files, options.quiet)
    return print_lines(lines, status)


def print_lines(lines: Iterable[str], status: int) -> int:
    """Prints what was found out; returns `status`."""
    try:
        for line in lines:
            # Names in the evidence must not be able to print a line of their own.
            print(line if line.isascii() and line.isprintable() else line.encode("unicode_escape").decode())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
