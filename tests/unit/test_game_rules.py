"""The rules document of a room, and what no room may be opened under."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from keno.game import paytable as paytables
from keno.game.paytable import Paytable
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rules import CurrencyRules, RoomRules, RulesError, build, check, parse
from keno.money import MINOR_MAX

EUR = CurrencyRules(
    exponent=2, stake_min_minor=100, stake_max_minor=10_000, stake_step_minor=100, win_max_minor=5_000_000
)
JPY = CurrencyRules(exponent=0, stake_min_minor=100, stake_max_minor=1_000, stake_step_minor=100, win_max_minor=10**7)
CHAIN = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
PAYTABLE = shipped_paytable("94")


def room_rules(**changes: Any) -> RoomRules:
    values: dict[str, Any] = {
        "profile": "S",
        "guard_ms": 2000,
        "beacon_chain": None,
        "rtp_bounds": rtp_profile("94").rtp_bounds,
        "paytables": [PAYTABLE.hash],
        "currencies": {"EUR": EUR},
    }
    return build(**(values | changes))


def limits(**changes: int) -> CurrencyRules:
    return msgspec.structs.replace(EUR, **changes)


def test_the_document_is_the_compact_json_of_the_published_format() -> None:
    rules = room_rules(currencies={"JPY": JPY, "EUR": EUR})
    expected = {
        "protocol": "keno1",
        "numbers": 80,
        "drawn": 20,
        "profile": "S",
        "guard_ms": 2000,
        "beacon_chain": None,
        "rtp_bounds": ["187/200", "189/200"],
        "paytables": [PAYTABLE.hash.hex()],
        "currencies": {"EUR": msgspec.to_builtins(EUR), "JPY": msgspec.to_builtins(JPY)},
    }
    assert rules.document == json.dumps(expected, separators=(",", ":")).encode()
    assert rules.hash == sha256(rules.document).digest()


def test_a_maximum_of_a_round_stands_behind_that_of_a_bet_and_is_absent_where_there_is_none() -> None:
    limited = room_rules(currencies={"EUR": limits(round_win_max_minor=6_000_000), "JPY": JPY})
    without = room_rules(currencies={"EUR": EUR, "JPY": JPY})
    more = b'"win_max_minor":5000000,"round_win_max_minor":6000000}'
    assert limited.document == without.document.replace(b'"win_max_minor":5000000}', more)
    assert parse(limited.document).currencies["EUR"].round_win_max_minor == 6_000_000
    assert parse(limited.document).currencies["JPY"].round_win_max_minor is None
    check(limited, [PAYTABLE])


def test_rules_without_a_maximum_of_a_round_keep_the_hash_that_they_always_had() -> None:
    assert room_rules().hash.hex() == "f67691bafcb1c5ceb51923dfea71fa62d2e05aa6519cb171b5742b00c37d5103"


def test_parsing_a_built_document_gives_the_same_rules() -> None:
    rules = room_rules(profile="B", beacon_chain=CHAIN)
    parsed = parse(rules.document)
    assert (parsed, parsed.hash) == (rules, rules.hash)
    assert (parsed.profile, parsed.guard_ms, parsed.beacon_chain) == ("B", 2000, CHAIN)
    assert parsed.rtp_bounds == (Fraction(187, 200), Fraction(189, 200))
    assert parsed.paytables == (PAYTABLE.hash,)
    assert parsed.currencies == {"EUR": EUR}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("guard_ms"),
        lambda d: d.update(house_edge="6/100"),
        lambda d: d.update(protocol="keno2"),
        lambda d: d.update(numbers=79),
        lambda d: d.update(drawn=True),
        lambda d: d.update(profile="X"),
        lambda d: d.update(guard_ms="2000"),
        lambda d: d.update(rtp_bounds=["0.935", "0.945"]),
        lambda d: d.update(rtp_bounds=["374/400", "189/200"]),
        lambda d: d.update(rtp_bounds=["1/0", "189/200"]),
        lambda d: d.update(rtp_bounds=["187/200"]),
        lambda d: d.update(paytables=[PAYTABLE.hash.hex().upper()]),
        lambda d: d.update(paytables=["94"]),
        lambda d: d["currencies"]["EUR"].pop("win_max_minor"),
        lambda d: d["currencies"]["EUR"].update(bonus=1),
        lambda d: d["currencies"]["EUR"].update(round_win_max_minor=None),
        lambda d: d["currencies"]["EUR"].update(round_win_max_minor=6_000_000.0),
        lambda d: d["currencies"]["EUR"].update(round_win_max_minor="6000000"),
        lambda d: d["currencies"].update(EUR={"round_win_max_minor": 6_000_000, **d["currencies"]["EUR"]}),
        lambda d: d["currencies"]["EUR"].update(stake_min_minor=1.0),
        lambda d: d.update(currencies={"JPY": msgspec.to_builtins(JPY), **d["currencies"]}),
    ],
)
def test_a_document_with_a_wrong_missing_or_further_value_is_refused(
    change: Callable[[dict[str, Any]], object],
) -> None:
    content = json.loads(room_rules().document)
    change(content)
    with pytest.raises(RulesError):
        parse(json.dumps(content, separators=(",", ":")).encode())


def test_the_same_content_in_other_bytes_is_refused() -> None:
    data = room_rules().document
    for other in (
        data + b"\n",
        data.replace(b":2000", b": 2000"),
        data.replace(b'"drawn":20', b'"drawn":9,"drawn":20'),
    ):
        assert json.loads(other) == json.loads(data)
        with pytest.raises(RulesError):
            parse(other)


@pytest.mark.parametrize("name", ["92", "94", "96"])
def test_a_shipped_paytable_passes_under_the_bounds_of_its_profile(name: str) -> None:
    shipped = shipped_paytable(name)
    check(room_rules(paytables=[shipped.hash], rtp_bounds=rtp_profile(name).rtp_bounds), [shipped])


@pytest.mark.parametrize("profile", ["B", "E"])
def test_a_profile_with_a_beacon_passes_with_its_chain_and_not_without(profile: str) -> None:
    check(room_rules(profile=profile, beacon_chain=CHAIN), [PAYTABLE])
    for chain in (None, "", CHAIN.upper(), CHAIN[:-1]):
        with pytest.raises(RulesError, match="beacon_chain"):
            check(room_rules(profile=profile, beacon_chain=chain), [PAYTABLE])


def test_profile_s_must_not_name_a_beacon_it_does_not_use() -> None:
    with pytest.raises(RulesError, match="no beacon"):
        check(room_rules(beacon_chain=CHAIN), [PAYTABLE])


@pytest.mark.parametrize("guard_ms", [-1, 0, 1999, 60_001])
def test_a_guard_outside_of_its_limits_is_refused(guard_ms: int) -> None:
    with pytest.raises(RulesError, match="guard_ms"):
        check(room_rules(guard_ms=guard_ms), [PAYTABLE])


def test_a_single_pick_count_outside_of_the_bounds_is_refused() -> None:
    rows = [list(row) for row in PAYTABLE.multipliers]
    rows[7][7] += 30_000  # 300 times the stake more for 7 of 7 returns 94.56 %
    generous = paytables.build("generous", 1, 100, rows)
    with pytest.raises(RulesError, match=r"generous returns .* for 7 picks"):
        check(room_rules(paytables=[generous.hash]), [generous])


def test_the_bounds_are_inclusive() -> None:
    exact = (min(PAYTABLE.rtp[1:]), max(PAYTABLE.rtp[1:]))
    check(room_rules(rtp_bounds=exact), [PAYTABLE])
    for tighter in ((exact[0] + Fraction(1, 10**9), exact[1]), (exact[0], exact[1] - Fraction(1, 10**9))):
        with pytest.raises(RulesError, match="outside"):
            check(room_rules(rtp_bounds=tighter), [PAYTABLE])


@pytest.mark.parametrize(
    "bounds",
    [(Fraction(0), Fraction(1)), (Fraction(95, 100), Fraction(93, 100)), (Fraction(9, 10), Fraction(101, 100))],
)
def test_bounds_that_promise_nothing_or_more_than_the_stake_are_refused(bounds: tuple[Fraction, Fraction]) -> None:
    with pytest.raises(RulesError, match="rtp_bounds"):
        check(room_rules(rtp_bounds=bounds), [PAYTABLE])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (limits(exponent=3), "exponent"),
        (limits(stake_min_minor=10_100), "limits"),
        (limits(stake_min_minor=0), "limits"),
        (limits(stake_min_minor=150), "multiples"),
        (limits(stake_max_minor=9_950), "multiples"),
        (limits(stake_step_minor=0), "limits"),
        (limits(stake_step_minor=-100), "limits"),
        (limits(win_max_minor=9_999), "limits"),
        (limits(win_max_minor=MINOR_MAX + 1), "limits"),
        (limits(stake_max_minor=10**11, win_max_minor=10**11), "before the maximum win"),
        (limits(round_win_max_minor=4_999_999), "the maximum win a round of EUR is not from"),
        (limits(round_win_max_minor=0), "the maximum win a round"),
        (limits(round_win_max_minor=-1), "the maximum win a round"),
        (limits(round_win_max_minor=MINOR_MAX + 1), "the maximum win a round"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(changed: CurrencyRules, reason: str) -> None:
    with pytest.raises(RulesError, match=reason):
        check(room_rules(currencies={"EUR": changed}), [PAYTABLE])


def test_a_step_at_which_rounding_would_lower_the_return_is_refused() -> None:
    check(room_rules(currencies={"EUR": limits(stake_step_minor=50)}), [PAYTABLE])
    with pytest.raises(RulesError, match="whole minor units for 1 hits of 1 picks"):
        check(room_rules(currencies={"EUR": limits(stake_step_minor=10)}), [PAYTABLE])  # 0.10 EUR x 3.76


@pytest.mark.parametrize("code", ["XYZ", "eur", ""])
def test_an_unknown_currency_is_refused(code: str) -> None:
    with pytest.raises(RulesError, match="unknown currency"):
        check(room_rules(currencies={code: EUR}), [PAYTABLE])


def test_an_offer_that_is_empty_repeats_itself_or_is_not_the_one_checked_is_refused() -> None:
    other = shipped_paytable("92")
    offers: list[tuple[RoomRules, list[Paytable]]] = [
        (room_rules(paytables=[]), []),
        (room_rules(currencies={}), [PAYTABLE]),
        (room_rules(paytables=[PAYTABLE.hash, PAYTABLE.hash]), [PAYTABLE]),
        (room_rules(), []),
        (room_rules(), [other]),
        (room_rules(), [PAYTABLE, other]),
    ]
    for rules, offered in offers:
        with pytest.raises(RulesError):
            check(rules, offered)


def test_more_pairs_of_paytable_and_currency_than_a_byte_can_name_are_refused() -> None:
    offered = [paytables.build(f"keno-{number}", 1, 100, PAYTABLE.multipliers) for number in range(257)]
    hashes = [paytable.hash for paytable in offered]
    check(room_rules(paytables=hashes[:256]), offered[:256])
    with pytest.raises(RulesError, match="256 pairs"):
        check(room_rules(paytables=hashes), offered)


def test_a_stake_is_accepted_within_its_limits_and_on_a_step_only() -> None:
    accepted = [stake for stake in range(-100, 10_301, 50) if EUR.accepts(stake)]
    assert accepted == list(range(100, 10_001, 100))


def test_rules_are_compared_by_their_document() -> None:
    assert room_rules() == room_rules()
    assert room_rules() != room_rules(guard_ms=3000)
    assert replace(room_rules(), document=b"") != room_rules()
