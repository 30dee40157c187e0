"""Makes complete, valid evidence bundles for tests, from the protocol and the standard library alone.

It shares no code with the product and none with the verifier, so that a test compares two readings of the protocol. It
makes honest houses only: a test that needs a cheat changes the lines (`json` values) before `dump`.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import comb
from typing import Any

Line = dict[str, Any]

OPERATOR = bytes.fromhex("0a" * 16)
QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
FIRST_LOCK_MS = 1_700_000_000_000
PERIOD_MS = 60_000
EUR = {
    "exponent": 2,
    "stake_min_minor": 100,
    "stake_max_minor": 10_000,
    "stake_step_minor": 100,
    "win_max_minor": 5_000_000,
}


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def uint(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def tree(hashes: list[bytes]) -> bytes:
    """RFC 9162 root from leaf hashes, by the definition: split at the largest power of two below the size."""
    if not hashes:
        return sha()
    if len(hashes) == 1:
        return hashes[0]
    half = largest_power_below(len(hashes))
    return sha(b"\x01", tree(hashes[:half]), tree(hashes[half:]))


def path(hashes: list[bytes], index: int) -> list[bytes]:
    if len(hashes) == 1:
        return []
    half = largest_power_below(len(hashes))
    if index < half:
        return [*path(hashes[:half], index), tree(hashes[half:])]
    return [*path(hashes[half:], index - half), tree(hashes[:half])]


def largest_power_below(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def numbers_of(seed: bytes, x: bytes, beacon: bytes) -> list[int]:
    stream = b"".join(
        hmac.new(seed, b"keno1:draw" + x + beacon + uint(j, 4), hashlib.sha256).digest() for j in range(20)
    )
    distinct = dict.fromkeys(byte % 80 + 1 for byte in stream if byte < 240)
    return list(distinct)[:20]


def drand_round(time_ms: int) -> int:
    periods, rest = divmod(time_ms - 1_692_803_367_000, 3000)
    return periods + (1 if rest else 0) + 1


def made_up_signature(beacon_round: int) -> bytes:
    """48 bytes in place of drand's signature, which only drand can make."""
    return hashlib.sha512(b"made up" + uint(beacon_round, 8)).digest()[:48]


class MadeUpDrand(Mapping[int, bytes]):
    """The drand that the houses here draw with, as an auditor has it who fetched the beacon of any round he met."""

    rounds = range(1, 2**32)

    def __getitem__(self, beacon_round: int) -> bytes:
        if beacon_round not in self.rounds:
            raise KeyError(beacon_round)
        return made_up_signature(beacon_round)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rounds)

    def __len__(self) -> int:
        return len(self.rounds)


DRAND = MadeUpDrand()


def paytable_document(name: str = "keno-94", **changes: Any) -> str:
    """A paytable that returns a little under 94 % for each number of picks, shared by the upper half of hits."""
    multipliers, rtp = {}, {}
    for picks in range(1, 11):
        chances = [Fraction(comb(20, h) * comb(60, picks - h), comb(80, picks)) for h in range(picks + 1)]
        paid = range((picks + 1) // 2, picks + 1)
        row = [int(94 / chances[h] / len(paid)) if h in paid else 0 for h in range(picks + 1)]
        exact = sum((chance * multiplier for chance, multiplier in zip(chances, row, strict=True)), Fraction(0)) / 100
        multipliers[str(picks)], rtp[str(picks)] = row, f"{exact.numerator}/{exact.denominator}"
    return json.dumps({"name": name, "version": 1, "scale": 100, "multipliers": multipliers, "rtp": rtp} | changes)


def document(kind: str, text: str) -> Line:
    return {"type": "document", "kind": kind, "hash": sha(text.encode()).hex(), "text": text}


@dataclass(frozen=True)
class TestBet:
    """A bet before it is locked; `bet_id` is the small integer form of the id."""

    __test__ = False

    bet_id: int
    picks: tuple[int, ...]
    stake_minor: int = 100
    currency: str = "EUR"
    player: str = "player"

    def leaf(self, paytable: bytes) -> bytes:
        bet_id = uint(self.bet_id, 16)
        salt = hmac.new(b"privacy", bet_id, hashlib.sha256).digest()[:16]
        account = sha(b"keno1:account", OPERATOR, self.player.encode())
        mask = uint(sum(1 << (number - 1) for number in self.picks), 10)
        currency = self.currency.encode().ljust(8, b"\0")
        return salt + bet_id + OPERATOR + account + mask + uint(self.stake_minor, 8) + currency + paytable


SOME_BETS = (
    TestBet(7, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 300),
    TestBet(9, (80,)),
    *(TestBet(10 + n, (n,), 100 * n) for n in range(1, 41)),
)


@dataclass
class House:
    """One room of one honest house: makes the bundles of its rounds, in order, and remembers the last lock."""

    profile: str = "S"
    room: bytes = bytes.fromhex("00112233445566778899aabbccddeeff")
    first: int = 1
    count: int = 11
    guard_ms: int = 2000
    epoch_key: bytes = bytes(range(32))
    reveal_epoch_key: bool = True
    rules_changes: Line = field(default_factory=dict)
    paytable_text: str = field(default_factory=paytable_document)
    prev_lock: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.opened_ms = self.lock_ms(self.first) - 2 * PERIOD_MS
        self.paytable = document("paytable", self.paytable_text)
        rules = {
            "protocol": "keno1",
            "numbers": 80,
            "drawn": 20,
            "profile": self.profile,
            "guard_ms": self.guard_ms,
            "beacon_chain": None if self.profile == "S" else QUICKNET,
            "rtp_bounds": ["187/200", "189/200"],
            "paytables": [self.paytable["hash"]],
            "currencies": {"EUR": EUR, "JPY": EUR | {"exponent": 0}},
        }
        self.rules = document("rules", json.dumps(rules | self.rules_changes))
        leaves = [sha(b"\0", self.context(n), self.commit(n)) for n in range(self.first, self.first + self.count)]
        self.commit_leaves = leaves
        self.commits_root = tree(leaves)
        self.key_commit = sha(b"keno1:ekey", self.epoch_key)

    def lock_ms(self, number: int) -> int:
        return FIRST_LOCK_MS + number * PERIOD_MS + 137

    def context(self, number: int) -> bytes:
        return self.room + uint(number, 8)

    def seed(self, number: int) -> bytes:
        return hmac.new(self.epoch_key, b"keno1:seed" + self.context(number), hashlib.sha256).digest()

    def commit(self, number: int) -> bytes:
        return sha(b"keno1:commit", self.context(number), self.seed(number))

    def beacon_round(self, number: int) -> int:
        if self.profile == "S":
            return 0
        start_ms = self.opened_ms + 30_000 if self.profile == "E" else self.lock_ms(number)
        return drand_round(start_ms + self.guard_ms)

    def signature(self, beacon_round: int) -> bytes:
        return b"" if self.profile == "S" else DRAND[beacon_round]

    def epoch_line(self) -> Line:
        fields = self.room + uint(self.first, 8) + uint(self.count, 4)
        fields += self.commits_root + self.key_commit + uint(self.opened_ms, 8)
        return {
            "type": "epoch",
            "room": self.room.hex(),
            "first": self.first,
            "count": self.count,
            "commits_root": self.commits_root.hex(),
            "key_commit": self.key_commit.hex(),
            "opened_ms": self.opened_ms,
            "epoch": sha(b"keno1:epoch", fields).hex(),
        }

    def play(
        self, number: int, bets: tuple[TestBet, ...] = SOME_BETS, *, public: bool = False, void: int | None = None
    ) -> list[Line]:
        """The bundle of a round: rules, paytable, epoch, round, and payouts if it is an auditor's and was drawn."""
        leaves = [bet.leaf(bytes.fromhex(self.paytable["hash"])) for bet in sorted(bets, key=lambda bet: bet.bet_id)]
        return self.play_leaves(number, leaves, public=public, void=void)

    def play_leaves(
        self, number: int, leaves: list[bytes], *, public: bool = False, void: int | None = None
    ) -> list[Line]:
        line = self.locked(number, leaves, public)
        lines = [self.rules, self.paytable, self.epoch_line(), line]
        seed, lock = self.seed(number), bytes.fromhex(line["lock"])
        if void is not None:
            line |= {"void": sha(b"keno1:void", lock, seed, uint(void, 1)).hex(), "void_reason": void}
            return lines
        signature = self.signature(line["beacon_round"])
        beacon = sha(signature) if signature else bytes(32)
        pre = sha(b"keno1:pre", self.context(number), self.commit(number), uint(line["beacon_round"], 8))
        x = lock if self.profile == "B" else pre
        numbers = numbers_of(seed, x, beacon)
        block0 = hmac.new(seed, b"keno1:draw" + x + beacon + uint(0, 4), hashlib.sha256).digest()
        line |= {
            "beacon_sig": signature.hex(),
            "x": x.hex(),
            "beacon": beacon.hex(),
            "block0": block0.hex(),
            "numbers": numbers,
            "result": sha(b"keno1:result", lock, seed, beacon, bytes(numbers)).hex(),
        }
        if not public:
            lines.append(
                {
                    "type": "payouts",
                    "room": self.room.hex(),
                    "round": number,
                    "payouts": self.payouts(leaves, set(numbers)),
                }
            )
        return lines

    def locked(self, number: int, leaves: list[bytes], public: bool) -> Line:
        hashes = [sha(b"\0", leaf) for leaf in leaves]
        beacon_round, commit = self.beacon_round(number), self.commit(number)
        lock = sha(
            b"keno1:lock",
            self.context(number),
            commit,
            bytes.fromhex(self.rules["hash"]),
            tree(hashes),
            uint(len(leaves), 8),
            uint(self.lock_ms(number), 8),
            uint(beacon_round, 8),
            self.prev_lock,
        )
        line: Line = {
            "type": "round",
            "profile": self.profile,
            "room": self.room.hex(),
            "round": number,
            "epoch_first": self.first,
            "epoch_count": self.count,
            "key_commit": self.key_commit.hex(),
            "commits_root": self.commits_root.hex(),
            "commit": commit.hex(),
            "commit_path": [node.hex() for node in path(self.commit_leaves, number - self.first)],
            "rules": self.rules["hash"],
            "bets_root": tree(hashes).hex(),
            "bets_count": len(leaves),
            "lock_ms": self.lock_ms(number),
            "guard_ms": self.guard_ms,
            "beacon_round": beacon_round,
            "beacon_sig": "",
            "prev_lock": self.prev_lock.hex(),
            "lock": lock.hex(),
            "seed": self.seed(number).hex(),
        }
        line |= {"bet_leaves": [h.hex() for h in hashes]} if public else {"bets": [leaf.hex() for leaf in leaves]}
        if self.reveal_epoch_key:
            line["epoch_key"] = self.epoch_key.hex()
        self.prev_lock = lock
        return line

    def payouts(self, leaves: list[bytes], drawn: set[int]) -> list[Line]:
        paytable, currencies = json.loads(self.paytable_text), json.loads(self.rules["text"])["currencies"]
        wins: list[Line] = []
        left: dict[bytes, int] = {}
        for leaf in leaves:
            mask = int.from_bytes(leaf[80:90], "big")
            picks = {number for number in range(1, 81) if mask >> (number - 1) & 1}
            stake_minor, currency = int.from_bytes(leaf[90:98], "big"), leaf[98:106].rstrip(b"\0").decode()
            hits = len(picks & drawn)
            won = stake_minor * paytable["multipliers"][str(len(picks))][hits] // paytable["scale"]
            paid = min(won, currencies[currency]["win_max_minor"])
            if "round_win_max_minor" in currencies[currency]:
                owner = leaf[48:80] + leaf[98:106]
                paid = min(paid, left.setdefault(owner, currencies[currency]["round_win_max_minor"]))
                left[owner] -= paid
            if won > 0:
                wins.append({"bet": leaf[16:32].hex(), "hits": hits, "payout_minor": paid, "cut_minor": won - paid})
        return wins


def dump(*bundles: list[Line]) -> bytes:
    """The bytes of a file with these bundles one after the other."""
    return b"".join(json.dumps(line).encode() + b"\n" for bundle in bundles for line in bundle)
