"""keno-verify against houses that cheat consistently.

A cheat here recomputes every hash that covers it, so that only the rule it breaks can give it away. Blind tampering is
in `tests/property/test_verifier_tampering.py`.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.bundles import (
    EUR,
    FIRST_LOCK_MS,
    SOME_BETS,
    House,
    Line,
    TestBet,
    document,
    dump,
    paytable_document,
    sha,
)
from support.verifying import failed, verify

from keno.verifier import INCOMPLETE, VERIFIED, VIOLATION


class LateBeaconHouse(House):
    """Locks so early in the epoch that the epoch's beacon was not out."""

    def lock_ms(self, number: int) -> int:
        return FIRST_LOCK_MS + number * 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.opened_ms = self.lock_ms(self.first) - 10_000


class BackdatedHouse(House):
    """Publishes its commitments after the lock."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.opened_ms = self.lock_ms(self.first)


class ImpatientHouse(House):
    """Takes a beacon that was out before the lock."""

    def beacon_round(self, number: int) -> int:
        return super().beacon_round(number) - 1


class InventingHouse(House):
    """Makes up a beacon of its own once the bets are locked, and so chooses the draw."""

    def signature(self, beacon_round: int) -> bytes:
        return super().signature(beacon_round)[::-1]


class ReseedingHouse(House):
    """Draws with a seed that does not come from the epoch key, but commits to it."""

    def seed(self, number: int) -> bytes:
        return sha(super().seed(number))


class SwitchingHouse(House):
    """Commits to the seed of the epoch key and draws with another, while the epoch key is still secret."""

    def seed(self, number: int) -> bytes:
        return sha(super().seed(number))

    def commit(self, number: int) -> bytes:
        return sha(b"keno1:commit", self.context(number), super().seed(number))


@pytest.mark.parametrize(
    ("house", "names"),
    [
        (SwitchingHouse("S", reveal_epoch_key=False), ["commit"]),
        (SwitchingHouse("B"), ["seed", "commit"]),
        (LateBeaconHouse("E"), ["beacon before the lock"]),
        (BackdatedHouse("S"), ["epoch opened before the lock"]),
        (ImpatientHouse("B"), ["beacon_round"]),
        (ImpatientHouse("E"), ["beacon_round"]),
        (InventingHouse("B"), ["beacon signature"]),
        (InventingHouse("E"), ["beacon signature"]),
        (ReseedingHouse("S"), ["seed"]),
        (House("B", guard_ms=1999), ["rules content"]),
        (House("B", rules_changes={"beacon_chain": None}), ["rules content"]),
        (House("E", rules_changes={"beacon_chain": "00" * 32}), ["rules content"]),
        (House("S", rules_changes={"beacon_chain": "quicknet"}), ["rules content"]),
        (House("S", rules_changes={"profile": "B", "beacon_chain": "quicknet"}), ["rules profile"]),
        (House("S", rules_changes={"guard_ms": 2001}), ["rules guard_ms"]),
        (House("S", rules_changes={"protocol": "keno2"}), ["rules protocol"]),
        (House("S", rules_changes={"numbers": 70}), ["rules protocol"]),
        (House("S", rules_changes={"drawn": 21}), ["rules protocol"]),
        (House("S", rules_changes={"rtp_bounds": ["189/200", "187/200"]}), ["rules content", *["RTP"] * 10]),
        (House("S", rules_changes={"rtp_bounds": ["47/50", "47/50"]}), ["RTP"] * 9),
        (House("S", rules_changes={"rtp_bounds": ["1/2", "9/10"]}), ["RTP"] * 10),
        (House(paytable_text=paytable_document(scale=99)), ["RTP"] * 20),
        (House(rules_changes={"currencies": {"EUR": EUR | {"stake_min_minor": 0}}}), ["rules content"]),
        (House(rules_changes={"currencies": {"EUR": EUR | {"exponent": 9}}}), ["rules content"]),
        (House(rules_changes={"currencies": {"EUR": EUR | {"win_max_minor": 0}}}), ["rules content"]),
        (House(rules_changes={"currencies": {}}), ["rules content"]),
        (House(rules_changes={"paytables": [], "currencies": {}}), ["rules content", "rules content", "file"]),
        (House(prev_lock=bytes.fromhex("22" * 32)), ["prev_lock"]),
    ],
)
def test_a_house_that_breaks_one_rule_consistently_is_found_by_that_rule(house: House, names: list[str]) -> None:
    bets = () if "currencies" in house.rules_changes else SOME_BETS[:2]
    found = ["RTP" if name.startswith("RTP") else name for name in failed(house.play(1, bets))]
    # At most ten faults of a check are listed, the rest counted in one line.
    assert found == (["RTP"] * 11 if names == ["RTP"] * 20 else names)


@pytest.mark.parametrize("profile", ["E", "B"])
def test_an_invented_beacon_does_not_verify_without_drand_either(profile: str) -> None:
    assert verify(dump(InventingHouse(profile).play(1)))[0] == INCOMPLETE


def test_a_misstated_return_is_found_though_the_multipliers_are_sound() -> None:
    honest = json.loads(paytable_document())
    house = House(paytable_text=json.dumps(honest | {"rtp": honest["rtp"] | {"4": "17/18"}}))
    lines = house.play(1)
    _, (report,) = verify(dump(lines))
    (fault,) = [check.detail for check in report.rounds[0].checks if check.verdict == "FAIL"]
    assert fault == f"4 picks: expected {honest['rtp']['4']}, found 17/18"


def leaf(**changes: Any) -> Callable[[House], list[bytes]]:
    bet = replace(TestBet(5, (1, 2, 3)), **changes)
    return lambda house: [bet.leaf(bytes.fromhex(house.paytable["hash"]))]


def leaves(*bet_ids: int) -> Callable[[House], list[bytes]]:
    paytable = bytes.fromhex(House().paytable["hash"])
    return lambda house: [TestBet(bet_id, (bet_id,)).leaf(paytable) for bet_id in bet_ids]


@pytest.mark.parametrize(
    ("make_leaves", "detail"),
    [
        (leaf(picks=()), "0 picks"),
        (leaf(picks=tuple(range(1, 12))), "11 picks"),
        (leaf(stake_minor=0), "stake 0 is not within"),
        (leaf(stake_minor=10_100), "stake 10100 is not within"),
        (leaf(stake_minor=150), "stake 150 is not a multiple of 100"),
        (leaf(currency="USD"), "currency 5553440000000000 is unknown"),
        (leaf(currency="EUR\0X"), "currency 4555520058000000 is unknown"),
        (lambda house: [TestBet(5, (1,)).leaf(bytes(32))], "is not offered"),
        (lambda house: [bytes(137)], "leaf 0 has 137 bytes"),
        (lambda house: [bytes(139)], "leaf 0 has 139 bytes"),
        (lambda house: [b""], "leaf 0 has 0 bytes"),
        (leaves(2, 1), "does not follow"),
        (leaves(1, 3, 2), "does not follow"),
        (lambda house: leaf()(house) + leaf(picks=(9,))(house), "does not follow"),
    ],
)
def test_a_locked_bet_against_the_rules_is_a_violation(
    monkeypatch: pytest.MonkeyPatch, make_leaves: Callable[[House], list[bytes]], detail: str
) -> None:
    house = House()
    monkeypatch.setattr(house, "payouts", lambda leaves, drawn: [])
    _, (report,) = verify(dump(house.play_leaves(1, make_leaves(house))))
    assert report.status == VIOLATION
    assert any(check.name == "bets" and detail in check.detail for check in report.rounds[0].checks)


def test_the_same_bet_twice_is_a_violation_even_when_bets_are_not_public() -> None:
    house = House()
    assert failed(house.play_leaves(1, leaf()(house) * 2, public=True)) == ["bets"]


@pytest.mark.parametrize("length", [0, 3, 5])
def test_a_path_of_another_length_proves_nothing(length: int) -> None:
    lines = House().play(1)
    lines[3]["commit_path"] = (lines[3]["commit_path"] * 2)[:length]
    assert failed(lines) == ["commits_root"]


def test_a_round_outside_its_epoch_is_a_violation() -> None:
    house = House(first=5)
    lines = house.play(15)
    for outside in (4, 16):
        assert "commits_root" in failed([*lines[:3], lines[3] | {"round": outside}])


@pytest.mark.parametrize(
    "cheat",
    [
        lambda wins: wins.pop(),
        lambda wins: wins.pop(0),
        lambda wins: wins.reverse(),
        lambda wins: wins.append(wins[-1]),
        lambda wins: wins.append(wins[-1] | {"bet": "ff" * 16}),
        lambda wins: wins.insert(0, wins[0] | {"bet": f"{1:032x}"}),
        lambda wins: wins[0].update(payout_minor=wins[0]["payout_minor"] + 1),
        lambda wins: wins[0].update(cut_minor=1),
        lambda wins: wins[0].update(hits=wins[0]["hits"] + 1),
        lambda wins: wins[0].update(payout_minor=0),
    ],
)
def test_payouts_that_differ_from_what_is_due_are_a_violation(cheat: Callable[[list[Line]], object]) -> None:
    lines = House().play(1)
    cheat(lines[4]["payouts"])
    assert set(failed(lines)) == {"payouts"}


def test_a_loser_listed_with_nothing_is_a_violation() -> None:
    lines = House().play(1)
    winners = {win["bet"] for win in lines[4]["payouts"]}
    loser = next(f"{bet.bet_id:032x}" for bet in SOME_BETS if f"{bet.bet_id:032x}" not in winners)
    wins = [*lines[4]["payouts"], {"bet": loser, "hits": 0, "payout_minor": 0, "cut_minor": 0}]
    lines[4]["payouts"] = sorted(wins, key=lambda win: str(win["bet"]))
    assert failed(lines) == ["payouts"]


def test_a_void_round_pays_nothing() -> None:
    wins = House().play(1)[4]
    assert set(failed([*House().play(1, void=1), wins])) == {"payouts"}


def test_a_broken_chain_is_a_violation_though_each_lock_is_right() -> None:
    house = House()
    one, two = house.play(1), house.play(2)
    for prev_lock in (bytes(32), bytes.fromhex("11" * 32), bytes.fromhex(two[3]["lock"])):
        assert failed(one, House(prev_lock=prev_lock).play(2)) == ["prev_lock"]
    skipping = House(prev_lock=bytes.fromhex(one[3]["lock"]))
    assert failed(one, two, skipping.play(4)) == ["prev_lock"]


# Lines that do not belong


def other_round(kind: int) -> Line:
    return House(room=bytes(16), first=50).play(50)[kind]


@pytest.mark.parametrize(
    "stranger",
    [
        other_round(2),
        other_round(4),
        document("rules", House("B").rules["text"]),
        document("paytable", paytable_document("another")),
        House(first=100).epoch_line(),
        House(count=12).epoch_line(),
        {"type": "payouts", "room": House().room.hex(), "round": 2, "payouts": []},
    ],
)
def test_a_line_of_another_round_is_a_violation(stranger: Line) -> None:
    assert set(failed([*House().play(1), stranger])) == {"file"}
    assert set(failed([stranger, *House().play(1)])) == {"file"}


@pytest.mark.parametrize("index", range(5))
def test_a_line_twice_is_a_violation(index: int) -> None:
    lines = House().play(1)
    assert failed([*lines, lines[index]]) == ["file"]


@pytest.mark.parametrize("index", [2, 3, 4])
def test_two_versions_of_a_line_are_a_violation(index: int) -> None:
    lines = House().play(1)
    other = House(epoch_key=bytes(32)).play(1)
    assert "file" in failed([*lines, other[index]])


def test_overlapping_epochs_are_a_violation() -> None:
    house = House(first=1, count=11)
    last = house.play(11)
    assert verify(dump(last, House(first=12, prev_lock=house.prev_lock).play(12)))[0] == VERIFIED
    assert failed(last, House(first=10, prev_lock=house.prev_lock).play(12)) == ["file"]
