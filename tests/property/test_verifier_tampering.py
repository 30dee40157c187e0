"""Blind tampering: whatever is changed in an honest bundle, neither verifier calls the result verified, and both agree.

All of drand is at hand, so that no verdict rests on a beacon that was merely not compared.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.bundles import DRAND, EUR, House, Line, TestBet, dump, paytable_document
from support.verifying import verify

from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

BETS = (
    TestBet(3, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 300),
    TestBet(4, tuple(range(11, 81, 8)), 10_000),
    *(TestBet(n, (n,), 100 * n) for n in range(5, 15)),
)
OTHER_BETS = tuple(TestBet(n, (n, n + 1), 200) for n in range(40, 60))


def other_house(profile: str) -> House:
    """Another room, with other keys and rules."""
    changes = {"rtp_bounds": ["9/10", "189/200"]}
    return House(profile, room=bytes(16), first=3, count=7, epoch_key=bytes(32), guard_ms=3500, rules_changes=changes)


HONEST = {
    "S": (House("S").play(2, BETS), other_house("S").play(4, OTHER_BETS)),
    "E": (House("E").play(2, BETS), other_house("E").play(4, OTHER_BETS)),
    "B": (House("B").play(2, BETS), other_house("B").play(4, OTHER_BETS)),
    "public": (House("B").play(2, BETS, public=True), other_house("B").play(4, OTHER_BETS, public=True)),
    "void": (House("S").play(2, BETS, void=1), other_house("S").play(4, OTHER_BETS, void=2)),
    "void with a beacon": (House("B").play(2, BETS, void=1), other_house("B").play(4, OTHER_BETS, void=2)),
}
every_bundle = pytest.mark.parametrize("name", HONEST)


def options_of(name: str) -> dict[str, Any]:
    """How another round is played for these bundles to be of the same kind."""
    return {"public": name == "public", "void": 2 if name.startswith("void") else None}


def status(data: bytes, drand: Mapping[int, bytes] | None = DRAND) -> int:
    return verify(data, drand=drand)[0]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every member at every depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in items:
        yield (*path, key)
        yield from paths(member, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def replaced(lines: list[Line], path: tuple[Any, ...], member: Any) -> bytes:
    changed = deepcopy(lines)
    at(changed, path[:-1])[path[-1]] = member
    return dump(changed)


def deleted(lines: list[Line], path: tuple[Any, ...]) -> bytes:
    changed = deepcopy(lines)
    del at(changed, path[:-1])[path[-1]]
    return dump(changed)


def flips(member: Any) -> Iterator[Any]:
    """Values of the same type, and of the same form if it has one, that differ a little."""
    if isinstance(member, int):
        yield member + 1
        if member:
            yield member - 1
    elif isinstance(member, str):
        for index in {0, len(member) // 2, len(member) - 1} if member else ():
            flipped = "1" if member[index] == "0" else "0"
            yield member[:index] + flipped + member[index + 1 :]
        if not member:
            yield "00" * 48
    elif isinstance(member, list) and len(member) > 1:
        yield member[::-1]
        yield [*member, member[-1]]


@every_bundle
def test_the_honest_bundles_verify(name: str) -> None:
    for lines in HONEST[name]:
        assert status(dump(lines)) == VERIFIED
        beacon_drawn = "numbers" in lines[3] and lines[3]["profile"] != "S"
        assert status(dump(lines), drand=None) == (INCOMPLETE if beacon_drawn else VERIFIED)


@every_bundle
def test_each_flipped_value_is_a_violation(name: str) -> None:
    lines, _ = HONEST[name]
    flipped = [(path, member) for path in paths(lines) for member in flips(at(lines, path))]
    assert len(flipped) > 100
    words = {"type", "kind", "profile"}
    for path, member in flipped:
        expected = MALFORMED if path[-1] in words else VIOLATION
        assert status(replaced(lines, path, member)) == expected, (path, member)


@every_bundle
def test_each_other_profile_is_a_violation(name: str) -> None:
    lines, _ = HONEST[name]
    for profile in {"S", "E", "B"} - {lines[3]["profile"]}:
        assert status(replaced(lines, (3, "profile"), profile)) == VIOLATION


@every_bundle
def test_each_deleted_member_is_noticed(name: str) -> None:
    lines, _ = HONEST[name]
    for path in paths(lines):
        if path == (3, "epoch_key"):
            expected = VERIFIED  # what is left is the honest bundle of a round whose epoch still runs
        elif len(path) == 1:
            expected = INCOMPLETE
        else:
            expected = VIOLATION if isinstance(path[-1], int) else MALFORMED
        assert status(deleted(lines, path)) == expected, path


@every_bundle
def test_each_member_of_another_round_is_noticed(name: str) -> None:
    lines, other = HONEST[name]
    swapped = 0
    for path in paths(lines):
        try:
            member = at(other, path)
        except IndexError:
            continue
        if member != at(lines, path):
            swapped += 1
            assert status(replaced(lines, path, member)) == VIOLATION, path
    assert swapped > 30


@every_bundle
def test_each_member_of_the_next_round_of_the_room_is_noticed(name: str) -> None:
    lines, _ = HONEST[name]
    house = House(lines[3]["profile"])
    house.play(1, BETS)
    other = house.play(3, OTHER_BETS, **options_of(name))
    for key in lines[3]:
        if other[3][key] != lines[3][key]:
            assert status(replaced(lines, (3, key), other[3][key])) == VIOLATION, key


@every_bundle
def test_two_rounds_never_verify_with_a_member_exchanged(name: str) -> None:
    house = House(HONEST[name][0][3]["profile"])
    one, two = house.play(1, BETS, **options_of(name)), house.play(2, OTHER_BETS, **options_of(name))
    assert status(dump(one, two)) == VERIFIED
    for key in one[3]:
        if one[3][key] != two[3][key]:
            mixed_one, mixed_two = one[3] | {key: two[3][key]}, two[3] | {key: one[3][key]}
            assert status(dump(one[:3], [mixed_one], one[4:], two[:3], [mixed_two], two[4:])) == VIOLATION, key


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["00" * 16, "00" * 32, "47/50", "S", "rules", "round", 2**64, 2**64 - 1]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(sorted(HONEST)), json_values)
def test_no_value_in_place_of_another_verifies(data: st.DataObject, name: str, value: Any) -> None:
    lines, _ = HONEST[name]
    path = data.draw(st.sampled_from(list(paths(lines))))
    assume(json.dumps(value) != json.dumps(at(lines, path)))
    assert status(replaced(lines, path, value)) in (VIOLATION, MALFORMED)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(sorted(HONEST)))
def test_no_changed_bytes_verify_unless_they_say_the_same(data: st.DataObject, name: str) -> None:
    honest = dump(HONEST[name][0])
    start = data.draw(st.integers(0, len(honest) - 1))
    end = data.draw(st.integers(start, min(start + 3, len(honest))))
    digit = st.sampled_from([bytes([byte]) for byte in b'0123456789abcdef",:{}[] \n'])
    changed = honest[:start] + data.draw(digit | st.binary(max_size=3)) + honest[end:]
    assume(not says_the_same(changed, honest))
    assert status(changed) != VERIFIED


def says_the_same(changed: bytes, honest: bytes) -> bool:
    try:
        return json_lines(changed) == json_lines(honest)
    except ValueError:
        return False


def json_lines(data: bytes) -> list[str]:
    """What each line says. The last newline may lack."""
    return [json.dumps(json.loads(line)) for line in data.decode().removesuffix("\n").split("\n")]


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.lists(json_values, min_size=1, max_size=3).map(lambda values: "\n".join(map(json.dumps, values)).encode())
)
def test_what_is_no_bundle_is_malformed(data: bytes) -> None:
    assert status(data) == MALFORMED


edges = st.sampled_from([0, 1, 2, 100, 2**63, 2**64 - 1, 2**64]) | st.integers(-1, 2**65) | json_values


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted([*EUR, "round_win_max_minor"])), edges)
def test_published_limits_of_any_value_end_in_a_verdict(key: str, value: Any) -> None:
    house = House(count=1, rules_changes={"currencies": {"EUR": EUR | {key: value}}})
    assert status(dump(house.play(1, BETS, void=1))) in (VERIFIED, VIOLATION, MALFORMED)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["profile", "guard_ms", "beacon_chain", "rtp_bounds", "paytables", "currencies"]), json_values)
def test_published_rules_of_any_content_never_verify_by_accident(key: str, value: Any) -> None:
    house = House(count=1, rules_changes={key: value})
    assume(house.rules["text"] != House(count=1).rules["text"])
    assert status(dump(house.play(1, BETS, void=1))) in (VIOLATION, MALFORMED)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 10).flatmap(lambda picks: st.lists(st.integers(0, 2**48), min_size=picks + 1, max_size=picks + 1))
)
def test_a_paytable_with_any_other_row_is_a_violation_though_it_is_paid_as_published(row: list[int]) -> None:
    multipliers = json.loads(paytable_document())["multipliers"] | {str(len(row) - 1): row}
    assume(multipliers != json.loads(paytable_document())["multipliers"])
    house = House(count=1, paytable_text=paytable_document(multipliers=multipliers))
    assert status(dump(house.play(1, BETS))) == VIOLATION


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from("SEB"),
    st.integers(1, 3),
    st.none() | st.integers(0, 255),
    st.booleans(),
    st.lists(
        st.builds(
            TestBet,
            st.integers(0, 2**64 - 1),
            st.lists(st.integers(1, 80), min_size=1, max_size=10, unique=True).map(tuple),
            st.integers(1, 100).map(lambda units: units * 100),
            st.sampled_from(["EUR", "JPY"]),
        ),
        max_size=12,
        unique_by=lambda bet: bet.bet_id,
    ),
)
def test_whatever_an_honest_house_plays_verifies(
    profile: str, number: int, void: int | None, public: bool, bets: list[TestBet]
) -> None:
    prev_lock = bytes(32) if number == 1 else bytes.fromhex("33" * 32)
    lines = House(profile, count=3, prev_lock=prev_lock).play(number, tuple(bets), public=public, void=void)
    assert status(dump(lines)) == VERIFIED
    beacon_drawn = void is None and profile != "S"
    assert status(dump(lines), drand=None) == (INCOMPLETE if beacon_drawn else VERIFIED)
