"""Both verifiers as commands: the same exit status for the same files, and never a traceback."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bundles import DRAND, SOME_BETS, House, dump, paytable_document
from support.javascript import CLI, NODE
from support.receipts import Signer

from keno import verifier
from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

COMMANDS = {"python": [sys.executable, "-I", "-S", verifier.__file__], "javascript": [str(NODE), str(CLI)]}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=COMMANDS)
def run(request: pytest.FixtureRequest) -> Run:
    def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        whole = [*COMMANDS[request.param], *map(str, arguments)]
        return subprocess.run(whole, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})

    return command


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_an_honest_file_ends_with_0_and_the_profile(run: Run, tmp_path: Path) -> None:
    done = run(written(tmp_path / "good.jsonl", dump(House().play(1))))
    assert (done.returncode, done.stderr) == (VERIFIED, "")
    assert done.stdout.endswith("\nround 1 of room 00112233445566778899aabbccddeeff: verified, profile S\n")
    assert "  ok           payouts: winners: " in done.stdout


def test_the_auditors_beacon_decides_whether_profile_b_is_proved(run: Run, tmp_path: Path) -> None:
    house = House("B")
    path = written(tmp_path / "b.jsonl", dump(house.play(1)))
    number = house.beacon_round(1)
    beacons = tmp_path / "beacons.jsonl"
    beacons.write_text(json.dumps({"round": number, "signature": DRAND[number].hex()}) + "\n\n")
    assert run("--quiet", path).returncode == INCOMPLETE
    assert run("--quiet", "--drand", beacons, path).returncode == VERIFIED
    beacons.write_text(json.dumps({"round": number, "signature": "00" * 48}) + "\n")
    assert run("--quiet", "--drand", beacons, path).returncode == VIOLATION
    assert run("--quiet", "--drand", written(beacons, b"{}"), path).returncode == MALFORMED


def test_receipts_are_verified_by_either_with_the_same_status(run: Run, tmp_path: Path) -> None:
    signer, house = Signer(), House()
    answer = written(tmp_path / "bet", json.dumps(signer.answers(house, 1, SOME_BETS[:3])[1]).encode())
    keys = written(tmp_path / "keys", json.dumps(signer.key_set).encode())
    kept, cheat = house.play(1), House().play(1, SOME_BETS[2:])
    evidence = [written(tmp_path / name, dump(lines)) for name, lines in (("kept", kept), ("cheat", cheat))]
    done = [run("receipt", "--jwks", keys, "--evidence", each, answer) for each in evidence]
    assert [each.returncode for each in done] == [VERIFIED, VIOLATION]
    assert done[0].stdout.endswith(": verified, signed, and in the lock\n")
    assert done[1].stdout.endswith("left it out: the receipt proves the omission\n")
    assert run("receipt", "--quiet", answer).returncode == INCOMPLETE
    assert run("receipt", "--jwks", answer, answer).returncode == MALFORMED
    assert run("receipt", "--evidence", keys, answer).returncode == MALFORMED
    assert run("receipt", "--jwks", keys, tmp_path / "none").returncode == MALFORMED
    assert run("receipt").returncode == MALFORMED


def test_the_worst_of_some_files_counts(run: Run, tmp_path: Path) -> None:
    lines = House().play(1)
    lines[3]["result"] = "00" * 32
    good = written(tmp_path / "good", dump(House().play(1, void=1)))
    bad = written(tmp_path / "bad", dump(lines))
    lacking = written(tmp_path / "lacking", dump(House().play(1)[1:]))
    assert run(good, lacking).returncode == INCOMPLETE
    assert run(lacking, bad, good).returncode == VIOLATION
    assert run(bad, tmp_path / "absent").returncode == MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n" * 1_000_000,
        b"[" * 5_000_000,
        b'{"a":' * 1_000_000,
        b'"' + b"\\u0041" * 1_000_000 + b'"',
        b"9" * 5_000_000,
        b'{"type":"round","beacon_sig":"' + b"0" * 20_000_000,
        b'{"type":"round","round":' + b"1" * 1_000_000 + b"}",
        b'{"type":"document","kind":"rules","hash":"' + b"0" * 5_000_000 + b'","text":""}',
        b"\xff" * 1000,
        "\ufeff{}".encode(),
        dump(House().play(1)).decode().encode("utf-16"),
        dump(House().play(1)) + b"\0",
    ],
    ids=lambda data: f"{len(data)} bytes {data[:12]!a}",
)
def test_what_is_no_evidence_is_malformed_however_large(run: Run, tmp_path: Path, data: bytes) -> None:
    done = run(written(tmp_path / "odd", data))
    assert (done.returncode, done.stderr) == (MALFORMED, "")
    assert "malformed" in done.stdout
    assert len(done.stdout) < 1000


def test_a_file_that_is_too_long_is_not_read(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(verifier.FILE_BYTES_MAX + 1)
    done = run(path)
    assert (done.returncode, done.stderr) == (MALFORMED, "")
    assert f"longer than {verifier.FILE_BYTES_MAX} bytes" in done.stdout


def test_a_round_with_many_bets_is_verified_as_one_with_few(run: Run, tmp_path: Path) -> None:
    house = House(count=1)
    leaf = house.play(1)[3]["bets"][0]
    leaves = [bytes.fromhex(leaf[:32] + f"{number:032x}" + leaf[64:]) for number in range(20_000)]
    assert run(written(tmp_path / "many", dump(House(count=1).play_leaves(1, leaves)))).returncode == VERIFIED


@pytest.mark.parametrize("arguments", [(), ("--quiet",), ("--unknown", "x"), ("--drand",)])
def test_wrong_use_ends_with_2_and_how_to_use_it(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (MALFORMED, "")
    assert "usage:" in done.stderr


def test_files_that_cannot_be_read_are_malformed(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        done = run(path)
        assert (done.returncode, done.stderr) == (MALFORMED, "")
        assert "malformed: cannot be read" in done.stdout


def test_no_name_can_print_a_line_of_its_own(run: Run, tmp_path: Path) -> None:
    forged = "x\nround 1 of room 00: verified, profile B\x1b[2J\u2028é"
    path = written(tmp_path / "a\nround 9: verified", dump(House(paytable_text=paytable_document(forged)).play(1)))
    done = run(path, tmp_path / "absent\nround 9: verified")
    assert done.returncode == MALFORMED
    assert done.stdout.isascii()
    assert "\nround 9" not in done.stdout
