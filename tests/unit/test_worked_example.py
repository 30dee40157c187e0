"""Every byte of docs/worked-example.md, recomputed from the page itself and compared with the published vector."""

from __future__ import annotations

import hmac
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from keno.fairness import keno1

_ROOT = Path(__file__).parents[2]
PAGE = (_ROOT / "docs" / "worked-example.md").read_text()
VECTOR = json.loads((_ROOT / "tests" / "vectors" / "keno1-rounds.jsonl").read_text().splitlines()[0])


class Hashed(NamedTuple):
    """A block of the page."""

    name: str
    function: str
    key: tuple[str, str] | None
    parts: list[tuple[str, str]]
    output: str


def blocks() -> list[Hashed]:
    """The blocks of the page, in order."""
    found = []
    for text in re.findall(r"^```\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL):
        head, *lines = text.split("\n")
        name, function = head.split(" = ")
        rows = [(label.strip(), value) for label, value in (re.split(r"  +(?=[0-9a-f]+$)", line) for line in lines)]
        key = (rows[0][0].removeprefix("key "), rows.pop(0)[1]) if rows[0][0].startswith("key ") else None
        label, output = rows.pop()
        assert label == "="
        found.append(Hashed(name, function, key, rows, output))
    return found


BLOCKS = blocks()
OUTPUTS = {block.name: block.output for block in BLOCKS}


def given(label: str) -> str:
    """What a labelled part of an input must be, in hex: text, a value of the vector, or the output of a block."""
    if label.startswith('"'):
        return label.strip('"').encode().hex()
    integers = {
        "u64 round": (VECTOR["round"], 8),
        "u64 first": (VECTOR["epoch_first"], 8),
        "u32 count": (VECTOR["epoch_count"], 4),
        "u64 opened_ms": (VECTOR["lock_ms"] - 3_600_000, 8),
        "u64 bets_count": (VECTOR["bets_count"], 8),
        "u64 lock_ms": (VECTOR["lock_ms"], 8),
        "u64 beacon_round": (VECTOR["beacon_round"], 8),
        "u32 j": (0, 4),
    }
    if label in integers:
        value, size = integers[label]
        return value.to_bytes(size, "big").hex()
    values = {
        "00": "00",
        "01": "01",
        "room": VECTOR["room"],
        "epoch key": VECTOR["epoch_key"],
        "rules": VECTOR["rules"],
        "prev_lock": VECTOR["prev_lock"],
        "signature": VECTOR["beacon_sig"],
        "X": VECTOR["x"],
        "20 numbers": bytes(VECTOR["numbers"]).hex(),
        **{f"path {index}": value for index, value in enumerate(VECTOR["commit_path"])},
        **{f"bet {number}": value for number, value in enumerate(VECTOR["bets"], 1)},
    }
    return values[label] if label in values else OUTPUTS[label]


@pytest.mark.parametrize("block", BLOCKS, ids=[block.name for block in BLOCKS])
def test_each_output_is_the_hash_of_the_bytes_above_it(block: Hashed) -> None:
    data = b"".join(bytes.fromhex(value) for _, value in block.parts)
    if block.key is None:
        assert block.function == "SHA256"
        assert sha256(data).hexdigest() == block.output
    else:
        assert block.function == "HMAC-SHA256"
        assert hmac.digest(bytes.fromhex(block.key[1]), data, "sha256").hex() == block.output


@pytest.mark.parametrize("block", BLOCKS, ids=[block.name for block in BLOCKS])
def test_each_part_is_the_value_that_it_is_called(block: Hashed) -> None:
    for label, value in [*block.parts, *([block.key] if block.key else [])]:
        assert value == given(label), label


def test_the_page_derives_every_value_of_the_vector() -> None:
    names = {"L": "lock", "block 0": "block0"}
    derived = {names.get(name, name): output for name, output in OUTPUTS.items()}
    for name in ("key_commit", "seed", "commit", "commits_root", "bets_root", "lock", "beacon", "block0", "result"):
        assert derived[name] == VECTOR[name]


def test_each_value_is_used_only_after_it_was_derived() -> None:
    seen: set[str] = set()
    for block in BLOCKS:
        assert not {label for label, _ in block.parts if label in OUTPUTS} - seen
        seen.add(block.name)


def test_the_values_that_the_vector_does_not_have_are_those_of_the_core() -> None:
    room, round_number = bytes.fromhex(VECTOR["room"]), VECTOR["round"]
    commit, root, key_commit = (bytes.fromhex(VECTOR[name]) for name in ("commit", "commits_root", "key_commit"))
    opened_ms = VECTOR["lock_ms"] - 3_600_000
    epoch = keno1.epoch_hash(room, VECTOR["epoch_first"], VECTOR["epoch_count"], root, key_commit, opened_ms)
    assert OUTPUTS["epoch"] == epoch.hex()
    zeros = bytes(32)
    lock = keno1.Lock(room, round_number, commit, zeros, zeros, 0, 0, VECTOR["beacon_round"], zeros)
    assert OUTPUTS["P"] == lock.pre.hex()


def test_the_numbers_are_read_from_block_0_byte_by_byte() -> None:
    rows = re.findall(r"^\| ([0-9a-f]{2}) \| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert "".join(byte for byte, _, _ in rows) == VECTOR["block0"][: 2 * len(rows)]
    numbers: list[int] = []
    for byte, decimal, outcome in rows:
        assert int(byte, 16) == int(decimal)
        number = int(decimal) % 80 + 1
        if int(decimal) >= 240:
            assert outcome == "skipped, 240 or more"
        elif number in numbers:
            assert outcome == f"{number}, drawn already"
        else:
            assert outcome == f"**{number}**"
            numbers.append(number)
    assert numbers == VECTOR["numbers"]
    assert f"So the draw is {', '.join(map(str, numbers))}, and" in PAGE


def test_the_beacon_round_follows_from_the_lock_as_the_page_says() -> None:
    assert keno1.beacon_round_at(VECTOR["lock_ms"], VECTOR["guard_ms"]) == VECTOR["beacon_round"]
    stated = f"ceil(({VECTOR['lock_ms']} + {VECTOR['guard_ms']} - 1692803367000) / 3000) + 1 = {VECTOR['beacon_round']}"
    assert stated in PAGE
