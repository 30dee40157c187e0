"""Both verifiers on locks that operators have countersigned."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.bundles import DRAND, House, Line, dump, uint
from support.verifying import failed, verify

from keno import verifier
from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

OPERATORS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 4)]


def public(operator: Ed25519PrivateKey) -> bytes:
    return operator.public_key().public_bytes_raw()


def seen(line: Line, operator: Ed25519PrivateKey, seen_ms: int | None = None) -> Line:
    at_ms = line["lock_ms"] + 40 if seen_ms is None else seen_ms
    signature = operator.sign(b"keno1:seen" + bytes.fromhex(line["lock"]) + uint(at_ms, 8))
    return {
        "type": "seen",
        "room": line["room"],
        "round": line["round"],
        "public_key": public(operator).hex(),
        "seen_ms": at_ms,
        "signature": signature.hex(),
    }


def witnessed(house: House, number: int = 1, count: int = 3) -> list[Line]:
    lines = house.play(number)
    return [*lines, *(seen(lines[3], operator) for operator in OPERATORS[:count])]


def checks(lines: list[Line], *trusted: bytes, profile: str = "S") -> tuple[int, dict[str, tuple[str, str]]]:
    trust = verifier.LogTrust(operators=trusted)
    (report,) = verifier.verify_bundles({"file": dump(lines)}, DRAND if profile != "S" else None, trust)
    found = {check.name: (check.verdict, check.detail) for check in report.rounds[0].checks if "seen" in check.name}
    return report.status, found


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_operators_may_have_seen_a_lock(count: int) -> None:
    lines = witnessed(House(), count=count)
    assert verify(dump(lines))[0] == VERIFIED
    status, found = checks(lines)
    assert status == VERIFIED
    assert set(found) == {f"lock seen by {public(operator).hex()}" for operator in OPERATORS[:count]}


def test_only_the_auditor_knows_whose_key_it_is() -> None:
    lines, (mine, _, other) = witnessed(House(), count=2), map(public, OPERATORS)
    _, found = checks(lines, mine)
    assert found[f"lock seen by {mine.hex()}"] == ("ok", f"at {lines[3]['lock_ms'] + 40}")
    assert "whose key this is was not given" in found[f"lock seen by {public(OPERATORS[1]).hex()}"][1]
    status, found = checks(lines, other)
    assert status == INCOMPLETE
    assert found[f"lock seen by {other.hex()}"] == ("missing", "the bundle has no countersignature of this key")


def test_a_lock_of_profile_b_that_was_seen_before_its_beacon_says_so() -> None:
    key = public(OPERATORS[0])
    house = House("B")
    lines = house.play(1)
    beacon_ms = verifier.drand_time_ms(lines[3]["beacon_round"])
    for seen_ms, words in ((beacon_ms - 1, "before its beacon was out"), (beacon_ms, "after its beacon")):
        status, found = checks([*lines, seen(lines[3], OPERATORS[0], seen_ms)], key, profile="B")
        assert (status, found[f"lock seen by {key.hex()}"]) == (VERIFIED, ("ok", f"at {seen_ms}, {words}"))


def another_lock(line: Line) -> None:
    operator = OPERATORS[0]
    line |= {"signature": operator.sign(b"keno1:seen" + bytes(32) + uint(line["seen_ms"], 8)).hex()}


CHEATS: list[tuple[Callable[[Line], None], list[str]]] = [
    (another_lock, ["lock seen by KEY"]),
    (lambda line: line.update(seen_ms=line["seen_ms"] + 1), ["lock seen by KEY"]),
    (lambda line: line.update(signature="00" * 64), ["lock seen by KEY"]),
    (lambda line: line.update(round=2), ["file"]),
    (lambda line: line.update(room="00" * 16), ["file"]),
]


@pytest.mark.parametrize(("cheat", "names"), CHEATS)
def test_a_countersignature_that_is_not_of_this_lock_is_a_violation(
    cheat: Callable[[Line], None], names: list[str]
) -> None:
    lines = witnessed(House(), count=1)
    cheat(lines[-1])
    assert failed(lines) == [name.replace("KEY", public(OPERATORS[0]).hex()) for name in names]


def test_a_lock_cannot_be_seen_before_it_was() -> None:
    lines = House().play(1)
    early = lines[3]["lock_ms"] - 60_000
    assert failed([*lines, seen(lines[3], OPERATORS[0], early)]) == []
    name = f"lock seen by {public(OPERATORS[0]).hex()}"
    assert failed([*lines, seen(lines[3], OPERATORS[0], early - 1)]) == [name]


def test_a_countersignature_is_there_once_and_says_one_thing() -> None:
    lines = witnessed(House(), count=1)
    assert failed([*lines, lines[-1]]) == ["file"]
    assert failed([*lines, seen(lines[3], OPERATORS[0], lines[3]["lock_ms"] + 41)]) == ["file", "file"]


def test_countersignatures_of_several_rounds_are_held_apart() -> None:
    house = House()
    first, second = witnessed(house, 1), witnessed(house, 2)
    assert verify(dump(first, second))[0] == VERIFIED
    first[-1], second[-1] = second[-1], first[-1]
    assert verify(dump(first, second))[0] == VERIFIED
    first[-1]["round"], second[-1]["round"] = 1, 2
    assert verify(dump(first, second))[0] == VIOLATION


@pytest.mark.parametrize("key", ["00" * 32, "ff" * 32, "02" + "00" * 31])
def test_a_key_that_is_no_point_has_signed_nothing(key: str) -> None:
    lines = witnessed(House(), count=1)
    lines[-1]["public_key"] = key
    assert failed(lines) == [f"lock seen by {key}"]


@pytest.mark.parametrize(
    "changes", [{"public_key": "00"}, {"signature": "00"}, {"seen_ms": "1"}, {"seen_ms": -1}, {"more": 1}]
)
def test_a_line_of_another_form_is_malformed(changes: Line) -> None:
    lines = witnessed(House(), count=1)
    lines[-1] |= changes
    assert verify(dump(lines))[0] == MALFORMED


def test_a_key_of_an_operator_must_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "00", "zz" * 32):
        assert verifier.main(["--operator-key", text, "no file"]) == MALFORMED
        assert "malformed option" in capsys.readouterr().err
