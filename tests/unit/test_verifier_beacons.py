"""What the verifier makes of beacons: their signatures by pairing, their chain, and one that is not public."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.bundles import House, Line, dump
from support.verifying import failed, verify

import keno
from keno import verifier
from keno.fairness.beacon import QUICKNET, Chain, local_chain, sign_locally
from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

SECRET = bytes(32)
LOCAL = local_chain(SECRET)


def chain_line(chain: Chain, **changes: Any) -> Line:
    return {
        "type": "chain",
        "hash": chain.hash.hex(),
        "public_key": chain.public_key.hex(),
        "period": chain.period_s,
        "genesis_time": chain.genesis_s,
        "group_hash": chain.group_hash.hex(),
        "beacon_id": chain.beacon_id,
    } | changes


class SigningHouse(House):
    """A house that draws with a local beacon."""

    def signature(self, beacon_round: int) -> bytes:
        return sign_locally(SECRET, beacon_round)


def local_round(profile: str = "B", chain: Chain = LOCAL, **changes: Any) -> list[Line]:
    house = SigningHouse(profile, rules_changes={"beacon_chain": chain.hash.hex()})
    return [*house.play(1), chain_line(chain, **changes)]


def paired(lines: list[Line]) -> verifier.Report:
    ((report,),) = [file.rounds for file in verifier.verify_bundles({"file": dump(lines)}, bls=verifier.Bls())]
    return report


@pytest.mark.parametrize("profile", ["E", "B"])
def test_a_local_beacons_signature_is_verified_and_proves_no_profile(profile: str) -> None:
    report = paired(local_round(profile))
    assert (report.status, report.profile_proved) == (VERIFIED, None)
    assert report.summary.endswith(f"verified, profile {profile} on a local beacon, not public")
    assert [check.name for check in report.checks if "not public" in check.detail] == ["public beacon"]


def test_a_made_up_signature_fails_by_pairing_under_either_chain() -> None:
    made_up = paired([*House("B").play(1), chain_line(QUICKNET)])
    assert [check.name for check in made_up.checks if check.verdict == "FAIL"] == ["beacon signature"]
    house = House("B", rules_changes={"beacon_chain": LOCAL.hash.hex()})
    assert paired([*house.play(1), chain_line(LOCAL)]).status == VIOLATION


def test_without_pairing_and_copy_a_local_beacon_is_incomplete() -> None:
    assert verify(dump(local_round()))[0] == INCOMPLETE


def test_quicknets_own_chain_line_is_welcome_and_not_needed() -> None:
    assert failed([*House("B").play(1), chain_line(QUICKNET)]) == []
    assert failed(House("B").play(1)) == []


OTHERS = {
    "a chain of another name": Chain(LOCAL.public_key, 3, LOCAL.genesis_s, bytes(32), "quicknet"),
    "a chain of another period": Chain(LOCAL.public_key, 30, LOCAL.genesis_s, bytes(32), LOCAL.beacon_id),
    "a chain of another start": Chain(LOCAL.public_key, 3, LOCAL.genesis_s + 1, bytes(32), LOCAL.beacon_id),
}


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_chain_may_be_named(name: str) -> None:
    report = paired(local_round(chain=OTHERS[name]))
    assert "rules content" in [check.name for check in report.checks if check.verdict == "FAIL"]


@pytest.mark.parametrize("key", ["public_key", "period", "genesis_time", "group_hash", "beacon_id"])
def test_a_chain_line_that_does_not_have_its_hash_is_a_violation(key: str) -> None:
    stated = chain_line(LOCAL)[key]
    other = {"public_key": QUICKNET.public_key.hex(), "group_hash": "11" * 32, "beacon_id": "keno"}.get(key)
    report = paired(local_round(**{key: stated + 1 if other is None else other}))
    assert report.status == VIOLATION


def test_rules_that_name_a_chain_without_its_line_are_a_violation() -> None:
    report = paired(local_round()[:-1])
    assert "rules content" in [check.name for check in report.checks if check.verdict == "FAIL"]


def test_a_chain_line_that_no_round_names_is_a_violation() -> None:
    for lines in ([*House("S").play(1), chain_line(LOCAL)], [*House("B").play(1), chain_line(LOCAL)]):
        assert verify(dump(lines))[0] == VIOLATION
    lines = local_round()
    assert verify(dump([*lines, lines[-1]]))[0] == VIOLATION


@pytest.mark.parametrize("changes", [{"period": "3"}, {"public_key": "00"}, {"hash": None}, {"more": 1}])
def test_a_chain_line_of_another_shape_is_malformed(changes: dict[str, Any]) -> None:
    assert verify(dump(local_round(**changes)))[0] == MALFORMED


def test_pairing_leaves_the_limit_of_nested_input_as_it_was() -> None:
    before = sys.getrecursionlimit()
    verifier.Bls()
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize("key", [bytes(96), b"\xc0" + bytes(95), b"\xff" * 96])
def test_a_key_that_is_no_point_verifies_nothing(key: bytes) -> None:
    assert not verifier.Bls(key).verifies(1, sign_locally(SECRET, 1))


def test_the_command_verifies_by_pairing_or_says_what_it_needs(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.jsonl"
    bundle.write_bytes(dump(local_round()))
    file = Path(keno.__file__).parent / "verifier.py"
    with_package = subprocess.run(
        [sys.executable, file, "--json", "--bls", bundle], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert with_package.returncode == VERIFIED, with_package.stderr
    (said,) = json.loads(with_package.stdout)["files"][0]["rounds"]
    assert (said["profile_proved"], said["local_beacon"]) == (None, True)
    alone = subprocess.run(
        [sys.executable, "-I", "-S", file, "--bls", bundle], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert alone.returncode == MALFORMED
    assert "keno[bls]" in alone.stderr
    assert "Traceback" not in alone.stderr


def test_the_beacons_value_is_the_hash_of_the_raw_signature() -> None:
    lines = local_round()
    (line,) = [each for each in lines if each["type"] == "round"]
    assert line["beacon"] == hashlib.sha256(bytes.fromhex(line["beacon_sig"])).hexdigest()
