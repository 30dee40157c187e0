"""keno-verify against the published vectors and honest houses, with all evidence and with some of it missing."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.bundles import (
    DRAND,
    EUR,
    SOME_BETS,
    House,
    TestBet,
    document,
    dump,
    paytable_document,
    sha,
)
from support.verifying import failed, verify

from keno import verifier
from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

VECTORS = Path(__file__).parents[1] / "vectors"


def verdicts(data: bytes) -> dict[str, str]:
    _, (report,) = verify(data)
    (r,) = report.rounds
    return {check.name: check.verdict for check in r.checks}


def typed_vectors() -> list[str]:
    lines = (VECTORS / "keno1-rounds.jsonl").read_text().splitlines()
    return [line.replace("{", '{"type":"round",', 1) for line in lines]


# Vectors


@pytest.mark.parametrize("vector", json.loads((VECTORS / "keno1-draws.json").read_text()), ids=lambda v: v["note"])
def test_draw_follows_the_published_vectors(vector: dict[str, Any]) -> None:
    seed, x, beacon = (bytes.fromhex(vector[key]) for key in ("seed", "x", "beacon"))
    assert verifier.draw(seed, x, beacon) == vector["numbers"]
    assert verifier.draw_block(seed, x, beacon, 0).hex() == vector["block0"]
    assert verifier.draw_block(seed, x, beacon, 1).hex() == vector.get(
        "block1", verifier.draw_block(seed, x, beacon, 1).hex()
    )


def test_tree_has_the_roots_of_certificate_transparency() -> None:
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    data = [bytes.fromhex(leaf) for leaf in leaves]
    assert verifier.merkle_root(data[:0]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert verifier.merkle_root(data[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert verifier.merkle_root(data[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert verifier.merkle_root(data).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_published_rounds_pass_all_cryptography_and_lack_only_documents() -> None:
    status, (report,) = verify("\n".join(typed_vectors()).encode())
    assert status == INCOMPLETE
    assert len(report.rounds) == 3
    for r in report.rounds:
        found = {check.name: check.verdict for check in r.checks}
        assert "FAIL" not in found.values()
        for name in (
            *("key_commit", "seed", "commit", "commits_root", "bets_count", "bets_root", "beacon"),
            *("lock", "prev_lock", "x", "block0", "numbers", "result"),
        ):
            assert found[name] == "ok", name
        assert found["epoch"] == found["rules document"] == "missing"


def test_published_rounds_without_a_type_are_malformed() -> None:
    assert verify((VECTORS / "keno1-rounds.jsonl").read_bytes())[0] == MALFORMED


# Pure functions


def test_a_payout_rounds_down_and_is_capped_once() -> None:
    assert verifier.payout(100, 376, 100, 5_000_000) == (376, 0)
    assert verifier.payout(7, 333, 1000, 100) == (2, 0)
    assert verifier.payout(10_000, 2**63, 100, 5_000_000) == (5_000_000, 10_000 * 2**63 // 100 - 5_000_000)
    assert verifier.payout(100, 0, 100, 5_000_000) == (0, 0)


def test_the_return_of_a_paytable_is_exact() -> None:
    assert verifier.paytable_rtp({1: [0, 376]}, 100) == {1: Fraction(47, 50)}
    assert verifier.paytable_rtp({2: [100, 100, 100]}, 100) == {2: Fraction(1)}
    for picks in range(1, 11):
        assert sum(verifier.chance(picks, hits) for hits in range(picks + 1)) == 1


# Honest houses


@pytest.mark.parametrize("epoch_over", [True, False], ids=["epoch over", "epoch running"])
@pytest.mark.parametrize("public", [False, True], ids=["auditor's", "public"])
@pytest.mark.parametrize("bets", [SOME_BETS, ()], ids=["bets", "no bets"])
@pytest.mark.parametrize("void", [None, 3], ids=["drawn", "void"])
@pytest.mark.parametrize("profile", ["S", "E", "B"])
def test_an_honest_round_verifies(
    profile: str, void: int | None, bets: tuple[TestBet, ...], public: bool, epoch_over: bool
) -> None:
    house = House(profile, reveal_epoch_key=epoch_over)
    status, (report,) = verify(dump(house.play(1, bets, public=public, void=void)), drand=DRAND)
    (r,) = report.rounds
    assert (status, [check for check in r.checks if check.verdict in ("FAIL", "missing")]) == (VERIFIED, [])
    assert r.profile_proved == (profile if void is None else None)


@pytest.mark.parametrize("public", [False, True], ids=["auditor's", "public"])
@pytest.mark.parametrize("void", [None, 3], ids=["drawn", "void"])
@pytest.mark.parametrize("profile", ["S", "E", "B"])
def test_without_drand_only_a_round_drawn_with_a_beacon_is_incomplete(
    profile: str, void: int | None, public: bool
) -> None:
    status, (report,) = verify(dump(House(profile).play(1, public=public, void=void)))
    (r,) = report.rounds
    drawn_with_beacon = void is None and profile != "S"
    assert status == (INCOMPLETE if drawn_with_beacon else VERIFIED)
    missing = [check.name for check in r.checks if check.verdict in ("FAIL", "missing")]
    assert missing == (["beacon signature"] if drawn_with_beacon else [])
    assert r.profile_proved == ("S" if profile == "S" and void is None else None)


@pytest.mark.parametrize("first", [1, 1000])
def test_a_chain_of_rounds_verifies_at_every_place_of_an_uneven_epoch(first: int) -> None:
    house = House(first=first, count=11)
    bundles = [house.play(number, void=1 if number % 4 == 0 else None) for number in range(first, first + 11)]
    status, (report,) = verify(dump(*bundles))
    assert (status, len(report.rounds)) == (VERIFIED, 11)
    chained = [check.verdict for r in report.rounds for check in r.checks if check.name == "prev_lock"]
    assert chained == ["ok" if first == 1 else "skipped", *["ok"] * 10]


def test_rounds_may_share_one_copy_of_their_documents_and_epoch() -> None:
    house = House()
    shared, *others = [house.play(number) for number in (1, 2, 3)]
    assert verify(dump(shared, *[bundle[3:] for bundle in others]))[0] == VERIFIED


def test_rounds_of_several_rooms_verify_in_one_file() -> None:
    data = dump(House().play(1), House("B", room=bytes(16)).play(1))
    assert verify(data, drand=DRAND)[0] == VERIFIED
    status, (report,) = verify(data)
    assert (status, [r.profile_proved for r in report.rounds]) == (INCOMPLETE, ["S", None])


def test_an_epoch_of_one_round_has_an_empty_path() -> None:
    lines = House(count=1).play(1)
    assert lines[3]["commit_path"] == []
    assert verify(dump(lines))[0] == VERIFIED


def test_lines_may_stand_in_any_order_and_the_last_newline_may_lack() -> None:
    assert verify(dump(House().play(1)[::-1]).removesuffix(b"\n"))[0] == VERIFIED


def test_a_skipped_round_leaves_a_gap_in_the_numbers_but_not_in_the_chain() -> None:
    house = House()
    bundles = [house.play(1), house.play(3)]
    _, (report,) = verify(dump(*bundles))
    assert [check.verdict for check in report.rounds[1].checks if check.name == "prev_lock"] == ["ok"]


def test_a_round_after_rounds_that_are_not_given_cannot_be_chained_and_says_so() -> None:
    house = House()
    bundles = [house.play(number) for number in (1, 2, 3)]
    status, (report,) = verify(dump(bundles[0], bundles[2]))
    assert status == VERIFIED
    assert [check.verdict for check in report.rounds[1].checks if check.name == "prev_lock"] == ["skipped"]


def test_the_chain_goes_across_files() -> None:
    house, other = House(), House(prev_lock=bytes.fromhex("11" * 32))
    one, two, forked = dump(house.play(1)), dump(house.play(2)), dump(other.play(2))
    assert verify(two, one)[0] == VERIFIED
    assert verify(forked)[0] == VERIFIED
    assert verify(one, forked)[0] == VIOLATION


def test_two_files_with_different_locks_of_one_round_are_a_violation() -> None:
    assert verify(dump(House().play(1)), dump(House().play(1)))[0] == VERIFIED
    status, reports = verify(dump(House().play(1)), dump(House().play(1, ())))
    assert status == VIOLATION
    assert "another lock" in reports[1].faults[0]


def test_a_capped_win_is_verified_with_its_cut() -> None:
    house = House(rules_changes={"currencies": {"EUR": EUR | {"win_max_minor": 150}}})
    lines = house.play(1)
    assert any(win["cut_minor"] for win in lines[4]["payouts"])
    assert verify(dump(lines))[0] == VERIFIED
    uncapped = next(win for win in lines[4]["payouts"] if win["cut_minor"])
    uncapped["payout_minor"], uncapped["cut_minor"] = uncapped["payout_minor"] + uncapped["cut_minor"], 0
    assert failed(lines) == ["payouts"]


def test_a_public_bundle_says_that_bets_and_payouts_were_not_checked() -> None:
    found = verdicts(dump(House().play(1, public=True)))
    assert (found["bets_root"], found["bets"], found["payouts"]) == ("ok", "skipped", "skipped")


def test_totals_are_by_currency() -> None:
    bets = (*SOME_BETS, TestBet(99, (1, 2), 700, "JPY"))
    house = House()
    lines = house.play(1, bets)
    _, (report,) = verify(dump(lines))
    totals = report.rounds[0].totals
    paid = {win["bet"]: win["payout_minor"] for win in lines[4]["payouts"]}
    jpy = paid.pop(f"{99:032x}", 0)
    assert totals == {
        "bets": len(bets),
        "currencies": {
            "EUR": {"staked_minor": sum(bet.stake_minor for bet in SOME_BETS), "payout_minor": sum(paid.values())},
            "JPY": {"staked_minor": 700, "payout_minor": jpy},
        },
    }
    _, (report,) = verify(dump(House().play(1, bets, void=1)))
    assert report.rounds[0].totals["currencies"]["JPY"] == {"staked_minor": 700, "refunded_minor": 700}


# Profiles and the beacon


@pytest.mark.parametrize("profile", ["E", "B"])
def test_a_beacon_profile_is_proved_only_by_the_auditors_own_beacon(profile: str) -> None:
    house = House(profile)
    data, beacon_round = dump(house.play(1)), house.beacon_round(1)
    for drand, status, proved, verdict in (
        (None, INCOMPLETE, None, "incomplete, checks without their evidence: 1"),
        ({beacon_round: DRAND[beacon_round]}, VERIFIED, profile, f"verified, profile {profile}"),
        ({}, INCOMPLETE, None, "incomplete, checks without their evidence: 1"),
        ({beacon_round + 1: DRAND[beacon_round]}, INCOMPLETE, None, "incomplete, checks without their evidence: 1"),
        ({beacon_round: bytes(48)}, VIOLATION, None, "VIOLATION, checks failed: 1"),
    ):
        found, (report,) = verify(data, drand=drand)
        (r,) = report.rounds
        assert (found, r.profile_proved, r.summary) == (status, proved, f"{r.round.name}: {verdict}")


@pytest.mark.parametrize(
    ("time_ms", "expected"),
    [
        (1_692_803_367_000, 1),
        (1_692_803_367_001, 2),
        (1_692_803_370_000, 2),
        (1_692_803_370_001, 3),
        (1_692_806_362_000 + 2000, 1000),
        (0, 1),
    ],
)
def test_the_drand_round_is_the_first_at_or_after_a_time(time_ms: int, expected: int) -> None:
    assert verifier.drand_round_after(time_ms) == expected


@pytest.mark.parametrize("profile", ["E", "B"])
@pytest.mark.parametrize("guard_ms", [2000, 2863, 2864, 5000])
def test_the_guard_delays_the_beacon(profile: str, guard_ms: int) -> None:
    assert verify(dump(House(profile, guard_ms=guard_ms).play(1)), drand=DRAND)[0] == VERIFIED


@pytest.mark.parametrize("signature", ["", "00" * 47, "00" * 96])
def test_a_beacon_signature_of_another_size_is_a_violation(signature: str) -> None:
    lines = House("B").play(1)
    lines[3]["beacon_sig"] = signature
    lines[3]["beacon"] = sha(bytes.fromhex(signature)).hex()
    assert "beacon signature" in failed(lines)


def test_a_void_round_may_show_the_beacon_it_did_not_use() -> None:
    house = House("B")
    lines = house.play(1, void=1)
    lines[3]["beacon_sig"] = DRAND[house.beacon_round(1)].hex()
    assert verify(dump(lines))[0] == VERIFIED
    assert verify(dump(lines), drand=DRAND)[0] == VERIFIED
    assert verify(dump(lines), drand={})[0] == INCOMPLETE
    assert verify(dump(lines), drand={house.beacon_round(1): bytes(48)})[0] == VIOLATION


# Missing evidence


@pytest.mark.parametrize("index", range(5))
def test_a_missing_line_is_incomplete_evidence(index: int) -> None:
    lines = House().play(1)
    del lines[index]
    assert verify(dump(lines))[0] == INCOMPLETE


def test_a_public_bundle_with_payouts_cannot_be_verified() -> None:
    lines = [*House().play(1, public=True), House().play(1)[4]]
    assert verify(dump(lines))[0] == INCOMPLETE


def test_a_second_offered_paytable_must_be_there() -> None:
    first, second = document("paytable", paytable_document()), document("paytable", paytable_document("other"))
    house = House(rules_changes={"paytables": [first["hash"], second["hash"]]})
    lines = house.play(1)
    assert verify(dump(lines))[0] == INCOMPLETE
    assert verify(dump([*lines, second]))[0] == VERIFIED


def test_payouts_of_bets_that_can_be_judged_are_judged_though_a_paytable_is_missing() -> None:
    first, second = document("paytable", paytable_document()), document("paytable", paytable_document("other"))
    house = House(rules_changes={"paytables": [first["hash"], second["hash"]]})
    paytables = [bytes.fromhex(first["hash"]), bytes.fromhex(second["hash"])]
    leaves = [TestBet(number, (number,)).leaf(paytables[number % 2]) for number in range(1, 81)]
    lines = house.play_leaves(1, leaves)
    assert verify(dump(lines))[0] == INCOMPLETE
    wins = lines[4]["payouts"]
    judged = next(win for win in wins if int(win["bet"], 16) % 2 == 0)
    lines[4]["payouts"] = [win for win in wins if win is not judged]
    assert failed(lines) == ["payouts"]
    lines[4]["payouts"] = [*wins, wins[-1] | {"bet": "ff" * 16}]
    assert failed(lines) == ["payouts"]
