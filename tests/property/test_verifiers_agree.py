"""Both verifiers on the published vectors and on generated cases: `make agree CASES=n` runs as many as you like."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from support.bundles import DRAND, House, dump
from support.tampering import case_of
from support.verifying import verify

from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

VECTORS = Path(__file__).parents[1] / "vectors"
CASES = int(os.environ.get("KENO_AGREE_CASES", "300"))
FIRST = int(os.environ.get("KENO_AGREE_FIRST", "0"))


def test_they_agree_on_each_published_vector() -> None:
    rounds = (VECTORS / "keno1-rounds.jsonl").read_text().splitlines()
    typed = [json.dumps({"type": "round"} | json.loads(line)).encode() for line in rounds]
    for data in (*typed, b"\n".join(typed)):
        for drand in (None, DRAND):
            verify(data, drand=drand)


@pytest.mark.parametrize("part", range(10))
def test_they_agree_on_each_generated_and_tampered_case(part: int) -> None:
    statuses: Counter[int] = Counter()
    for number in range(FIRST + part, FIRST + CASES, 10):
        case = case_of(number)
        try:
            statuses[verify(*case.files, drand=case.drand)[0]] += 1
        except AssertionError as difference:
            difference.add_note(f"case {number}: case_of({number}) of tests/support/tampering.py")
            raise
    assert statuses[VIOLATION]
    assert statuses[VERIFIED] + statuses[INCOMPLETE] + statuses[MALFORMED]


class LateHouse(House):
    """A house that has played for ever; its clock still shows a time."""

    def lock_ms(self, number: int) -> int:
        return super().lock_ms(number % 1000)


@pytest.mark.parametrize("number", [2**53 - 1, 2**53, 2**53 + 1, 2**64 - 1])
def test_they_agree_on_integers_that_no_double_can_hold(number: int) -> None:
    house = LateHouse(first=number, count=1)
    assert verify(dump(house.play(number)))[0] == VERIFIED
    lines = LateHouse(first=number, count=1).play(number)
    lines[3]["round"] -= 1
    lines[4]["round"] -= 1
    assert verify(dump(lines))[0] == VIOLATION
