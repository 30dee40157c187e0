"""Random evidence for the agreement of verifiers: honest rounds of random houses, and random damage to their files.

All of it follows from the random generator given, so that a case can be had again from its number.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.bundles import DRAND, EUR, House, Line, MadeUpDrand, TestBet, document, dump, paytable_document, sha, uint

ROOMS = (bytes.fromhex("00112233445566778899aabbccddeeff"), bytes(16))
PAYTABLE_TEXTS = (paytable_document(), paytable_document("keno-93", version=2), paytable_document(version=0))
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 11, 80, 255, 256, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 10**40),
    *(0.5, 1e300, float("nan"), "", "0", "00", "00" * 16, "00" * 32, "ff" * 48, "S", "E", "B", "rules", "paytable"),
    *("round", "47/50", "é", "\ud800", [], {}, [[]], [0], {"type": "round"}, {"": 0}, ["00" * 32]),
)
TOKENS = (*b'0123456789abcdef",:{}[]\\ \t\r\n-.+eE/\x00\x7f\x80\xc3\xff',)


@dataclass(frozen=True)
class Case:
    """Files to verify, and the auditor's beacons or None."""

    files: tuple[bytes, ...]
    drand: MadeUpDrand | None


def case_of(number: int) -> Case:
    """A case: honest now and then, else with one to three damages to the lines or to the bytes."""
    random = Random(number)
    bundles = honest_bundles(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        bundles = random.choice(DAMAGES)(random, bundles)
    cut = random.randint(0, len(bundles)) if random.random() < 0.3 else 0
    files = [dump(*part) for part in (bundles[:cut], bundles[cut:])] if cut else [dump(*bundles)]
    if random.random() < 0.1:
        files[-1] = damaged_bytes(random, files[-1])
    return Case(tuple(files), random.choice((DRAND, DRAND, DRAND, None, OddBeacons(), OtherDrand())))


class OddBeacons(MadeUpDrand):
    """An auditor who fetched every other beacon."""

    rounds = range(1, 2**32, 2)


class OtherDrand(MadeUpDrand):
    """Another chain, which no house here draws with."""

    def __getitem__(self, beacon_round: int) -> bytes:
        return super().__getitem__(beacon_round)[::-1]


def random_house(random: Random) -> House:
    limits: Line = dict(EUR)
    if random.random() < 0.4:
        limits |= {"win_max_minor": random.choice((500, 5000)), "round_win_max_minor": random.choice((5000, 9000))}
    changes: Line = {"currencies": {"EUR": limits, "JPY": EUR}} if random.random() < 0.5 else {}
    if random.random() < 0.1:
        changes |= random.choice(({"guard_ms": 1000}, {"rtp_bounds": ["1/2", "3/5"]}, {"beacon_chain": "other"}))
    return House(
        random.choice("SEB"),
        room=random.choice(ROOMS),
        first=random.choice((1, 1, 5, 70_000)),
        count=random.choice((1, 2, 7, 11)),
        epoch_key=sha(random.randbytes(4)),
        reveal_epoch_key=random.random() < 0.7,
        rules_changes=changes,
        paytable_text=random.choice(PAYTABLE_TEXTS),
    )


def honest_bundles(random: Random) -> list[list[Line]]:
    house = random_house(random)
    numbers = range(house.first, house.first + min(house.count, random.randint(1, 3)))
    bundles = []
    for number in numbers:
        public, void = random.random() < 0.3, random.choice((None, None, None, 0, 255))
        lines = house.play(number, random_bets(random), public=public, void=void)
        bundles.append([*lines, *(seen(lines[3], random) for _ in range(random.choice((0, 0, 0, 1, 2))))])
    return bundles


def seen(line: Line, random: Random) -> Line:
    """That some operator has seen the lock of a round line."""
    operator = Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
    seen_ms = line["lock_ms"] + random.choice((-60_001, 0, 40, 100_000))
    signature = operator.sign(b"keno1:seen" + bytes.fromhex(line["lock"]) + uint(seen_ms, 8))
    return {
        "type": "seen",
        "room": line["room"],
        "round": line["round"],
        "public_key": operator.public_key().public_bytes_raw().hex(),
        "seen_ms": seen_ms,
        "signature": signature.hex(),
    }


def random_bets(random: Random) -> tuple[TestBet, ...]:
    ids = random.sample(range(1, 2 ** random.choice((6, 62))), random.choice((0, 1, 2, 5, 12, 33)))
    return tuple(
        TestBet(
            bet_id,
            tuple(random.sample(range(1, 81), random.randint(1, 10))),
            100 * random.randint(1, 100),
            random.choice(("EUR", "EUR", "JPY")),
            random.choice(("ann", "bob")),
        )
        for bet_id in ids
    )


# Damage


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in items for place in [(*path, key), *places(member, (*path, key))]]


def spot(random: Random, bundles: list[list[Line]]) -> tuple[Any, Any]:
    """The container and key of a member: a line is as likely as another, whatever its length."""
    bundle = random.choice([bundle for bundle in bundles if bundle])
    line = random.choice(bundle)
    keys = list(line)
    path = random.choice([(key,) for key in keys] + places(line)[: 5 * len(keys)])
    value: Any = line
    for key in path[:-1]:
        value = value[key]
    return value, path[-1]


def changed(random: Random, member: Any) -> Any:
    """Almost the same value, of the same type and form."""
    if isinstance(member, bool) or not isinstance(member, int | str | list) or member in ("", []):
        return random.choice(VALUES)
    if isinstance(member, int):
        return member + random.choice((-1, 1, 1, 3000, 2**32))
    if isinstance(member, list):
        return random.choice((member[::-1], member[1:], member[:-1], [*member, member[0]], [*member[1:], member[0]]))
    at = random.randrange(len(member))
    return member[:at] + random.choice("0123456789abcdef") + member[at + 1 :]


def damage_member(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    container, key = spot(random, bundles)
    container[key] = changed(random, container[key])
    return bundles


def damage_value(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    container, key = spot(random, bundles)
    container[key] = deepcopy(random.choice(VALUES))
    return bundles


def damage_by_deletion(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    container, key = spot(random, bundles)
    del container[key]
    return bundles


def damage_by_addition(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    line = random.choice(random.choice(bundles))
    keys = ("void", "void_reason", "bets", "bet_leaves", "epoch_key", "numbers", "x", "extra", "__proto__")
    line[random.choice(keys)] = deepcopy(random.choice(VALUES))
    return bundles


def damage_lines(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    """Lines and bundles lost, twice, elsewhere, in another order, or of a stranger."""
    bundle = random.choice(bundles)
    stranger = random.choice(honest_bundles(random))
    match random.randrange(6):
        case 0 if len(bundle) > 1:
            del bundle[random.randrange(len(bundle))]
        case 1:
            bundle.insert(0, deepcopy(random.choice(bundle)))
        case 2:
            random.shuffle(bundle)
        case 3:
            bundle.append(deepcopy(random.choice(stranger)))
        case 4:
            bundles.append(deepcopy(random.choice(bundles)))
        case _:
            bundles.append(stranger)
    return bundles


def damage_by_exchange(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    """A member of another honest round in place of this one's."""
    other = random.choice(honest_bundles(random))
    line = random.choice(random.choice(bundles))
    peers = [peer for peer in other if peer.get("type") == line.get("type")]
    keys = [key for key in line if peers and key in peers[0]]
    if keys:
        key = random.choice(keys)
        line[key] = peers[0][key]
    return bundles


def damage_document(random: Random, bundles: list[list[Line]]) -> list[list[Line]]:
    """A document changed inside and published under its right hash, which the round may name or not."""
    bundle = random.choice(bundles)
    documents = [at for at, line in enumerate(bundle) if line.get("type") == "document"]
    if not documents:
        return bundles
    at = random.choice(documents)
    content = parsed(bundle[at].get("text"))
    if content is not None:
        spots = places(content)
        path = random.choice(spots) if spots else ()
        value = content
        for key in path[:-1]:
            value = value[key]
        if path:
            value[path[-1]] = changed(random, value[path[-1]])
        before = bundle[at].get("hash")
        bundle[at] = document(str(bundle[at].get("kind")), json.dumps(content))
        if random.random() < 0.7:
            for line in bundle:
                if line.get("rules") == before:
                    line["rules"] = bundle[at]["hash"]
    return bundles


def parsed(text: Any) -> Any:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


# What only makes a line malformed is soon seen; the more telling damage is chosen more often.
DAMAGES: tuple[Callable[[Random, list[list[Line]]], list[list[Line]]], ...] = (
    *(damage_value, damage_by_deletion, damage_by_addition),
    *(damage_member, damage_lines, damage_by_exchange, damage_document) * 3,
)


def damaged_bytes(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data) + 1)
    end = min(start + random.choice((0, 1, 1, 2, 50)), len(data))
    match random.randrange(4):
        case 0:
            return data[:start]
        case 1:
            return data[:start] + bytes(random.choices(TOKENS, k=random.randint(1, 3))) + data[end:]
        case 2:
            return data[:start] + data[end:]
        case _:
            return data[:start] + random.choice((b"[" * 3000, b'{"a":' * 70, b"9" * 5000, b"\xed\xa0\x80")) + data[end:]
