"""keno-verify as a command, and against input that is no bundle."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from support.bundles import (
    DRAND,
    EUR,
    SOME_BETS,
    House,
    dump,
    paytable_document,
    sha,
)
from support.verifying import verify

from keno import verifier
from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

VERIFIER = Path(verifier.__file__)

# Malformed input

ROUND_TEXT = json.dumps(House().play(1)[3])
PAYTABLE = json.loads(paytable_document())


def with_round(key: str, value: str) -> bytes:
    """An honest bundle whose round line has this raw JSON for a key."""
    lines = House().play(1)
    lines[3][key] = "@"
    return dump(lines).replace(b'"@"', value.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        bytes(range(256)),
        b"\xef\xbb\xbf" + dump(House().play(1)),
        dump(House().play(1)) + b"\n",
        dump(House().play(1)).replace(b"\n", b"\n\n", 1),
        dump(House().play(1))[:-40],
        dump(House().play(1)) + b"garbage",
        b"[]",
        b"null",
        b"7",
        b'"round"',
        b"{}",
        b'{"type":"log"}',
        b'{"type":["round"]}',
        b'{"type":"round"}',
        b"[" * 100_000,
        b'{"type":' * 50_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"9" * 5000,
        ROUND_TEXT.replace("{", '{"round": 1, ', 1).encode(),
        ROUND_TEXT.replace("{", '{"extra": 1, ', 1).encode(),
        ROUND_TEXT.replace("{", '{"bet_leaves": [], ', 1).encode(),
        ROUND_TEXT.replace("{", '{"void_reason": 1, ', 1).encode(),
        *(with_round("round", raw) for raw in ("1.0", "1e0", "true", "null", '"1"', "-1", "1" * 30, "1" * 5000, "NaN")),
        *(with_round("lock_ms", raw) for raw in ("Infinity", "-Infinity", "1.5", "[]", "{}", str(2**64))),
        *(with_round("epoch_count", raw) for raw in (str(2**32), "-0.0", "false")),
        *(
            with_round("seed", raw)
            for raw in ("1", "null", "[]", '""', f'"{"0" * 63}"', f'"{"0" * 66}"', f'"{"A" * 64}"')
        ),
        *(with_round("seed", f'"{raw}"') for raw in ("0" * 62 + "zz", " " + "0" * 64, "٠" * 64, "\\ud800" * 64)),
        *(with_round("beacon_sig", raw) for raw in ('"0"', '"0x"', '"AB"', "0", '" "')),
        *(with_round("numbers", raw) for raw in ("{}", "1", '["1"]', "[1.0]", "[true]", "[[1]]", "[-1]")),
        *(with_round("commit_path", raw) for raw in ('"00"', "[0]", '["00"]', "[null]")),
        *(with_round("bets", raw) for raw in ('"00"', "[0]", '["0"]', '["AA"]', "null")),
        *(with_round("profile", raw) for raw in ('"A"', '"s"', '""', "1", "[]", '["S"]')),
        dump([*House().play(1)[:4], {"type": "payouts", "room": House().room.hex(), "round": 1, "payouts": [{}]}]),
        dump([*House().play(1), {"type": "document", "kind": "log", "hash": "00" * 32, "text": ""}]),
        dump([*House().play(1), {"type": "document", "kind": "rules", "hash": "00" * 32, "text": "\ud800"}]),
        *(
            dump(House(rules_changes=changes).play(1, ()))
            for changes in (
                {"numbers": "80"},
                {"numbers": True},
                {"rtp_bounds": ["0.9", "1"]},
                {"rtp_bounds": ["94/100", "189/200"]},
                {"rtp_bounds": ["1/0", "189/200"]},
                {"rtp_bounds": ["1/2"]},
                {"rtp_bounds": [0.9, 0.95]},
                {"currencies": {"EUROEUROE": EUR}},
                {"currencies": {"": EUR}},
                {"currencies": {"E\nR": EUR}},
                {"currencies": {"EUR": {}}},
                {"currencies": {"EUR": EUR | {"stake_step_minor": 0}}},
                {"currencies": {"EUR": EUR | {"round_win_max_minor": None}}},
                {"currencies": {"EUR": EUR | {"round_win_max_minor": -1}}},
                {"currencies": {"EUR": EUR | {"round_win_max": 10**9}}},
                {"currencies": []},
                {"jackpot": 1},
                {"beacon_chain": 0},
                {"paytables": ["00"]},
            )
        ),
        *(
            dump(House(paytable_text=text).play(1, (), public=True))
            for text in (
                "",
                "[]",
                "{" * 5000,
                paytable_document(scale=0),
                paytable_document(scale=100.0),
                paytable_document(jackpot=1),
                paytable_document(name=None),
                paytable_document(multipliers={}),
                paytable_document(multipliers=PAYTABLE["multipliers"] | {"11": [0] * 12}),
                paytable_document(multipliers=PAYTABLE["multipliers"] | {"3": [0, 0, 1]}),
                paytable_document(multipliers=PAYTABLE["multipliers"] | {"3": [0, 0, 1, -1]}),
                paytable_document(rtp=PAYTABLE["rtp"] | {"1": "94/100"}),
                paytable_document(rtp=PAYTABLE["rtp"] | {"1": 0.94}),
                paytable_document(rtp=PAYTABLE["rtp"] | {"1": "9" * 5000 + "/1"}),
            )
        ),
    ],
)
def test_malformed_input_is_reported_as_such(data: bytes) -> None:
    status, (report,) = verify(data)
    assert status == MALFORMED
    assert report.malformed
    assert report.rounds == ()


def test_the_worst_verdict_wins() -> None:
    house = House()
    good = house.play(1)
    incomplete, bad = house.play(2)[1:], House().play(1)
    bad[3]["result"] = "00" * 32
    files = {VERIFIED: dump(good), INCOMPLETE: dump(incomplete), VIOLATION: dump(bad), MALFORMED: b"!"}
    order = [VERIFIED, INCOMPLETE, VIOLATION, MALFORMED]
    for better, worse in pairwise(order):
        assert verify(files[better], files[worse])[0] == worse
        assert verify(files[worse], files[better])[0] == worse


# The command


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(VERIFIER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})


def test_the_file_runs_alone_without_site_packages(tmp_path: Path) -> None:
    path = tmp_path / "bundle.jsonl"
    path.write_bytes(dump(House().play(1)))
    done = run(path)
    assert (done.returncode, done.stderr) == (VERIFIED, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "round 1 of room 00112233445566778899aabbccddeeff"
    assert lines[-1] == "round 1 of room 00112233445566778899aabbccddeeff: verified, profile S"
    assert all(line.startswith(("  ok ", "  not checked ", "  totals ")) for line in lines[1:-1])


def test_the_verifier_imports_only_the_standard_library() -> None:
    code = (
        "import sys, runpy; before = set(sys.modules); runpy.run_path(sys.argv[1]); "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, VERIFIER], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_quiet_prints_one_line_a_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, house = tmp_path / "bundle.jsonl", House()
    bundles = [house.play(1), house.play(2, void=7)]
    bundles[0][3]["result"] = "00" * 32
    path.write_bytes(dump(*bundles))
    assert verifier.main(["--quiet", str(path)]) == VIOLATION
    room = house.room.hex()
    assert capsys.readouterr().out.splitlines() == [
        f"round 1 of room {room}: VIOLATION, checks failed: 1",
        f"round 2 of room {room}: verified, void for reason 7, nothing drawn",
    ]


def test_a_failure_shows_what_was_expected_and_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, lines = tmp_path / "bundle.jsonl", House().play(1)
    expected, lines[3]["result"] = lines[3]["result"], "00" * 32
    path.write_bytes(dump(lines))
    assert verifier.main([str(path)]) == VIOLATION
    assert f"  FAIL         result: expected {expected}, found {'00' * 32}\n" in capsys.readouterr().out


def write_drand(path: Path, beacon_round: int) -> None:
    """The file of an auditor who fetched one beacon."""
    signature = DRAND[beacon_round]
    answer = {"round": beacon_round, "randomness": sha(signature).hex(), "signature": signature.hex()}
    path.write_text(json.dumps(answer) + "\n\n")


def test_json_output_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, drand, house = tmp_path / "bundle.jsonl", tmp_path / "drand.jsonl", House("B")
    path.write_bytes(dump(house.play(1)))
    write_drand(drand, house.beacon_round(1))
    assert verifier.main(["--json", "--drand", str(drand), str(path), str(tmp_path / "absent")]) == MALFORMED
    found = json.loads(capsys.readouterr().out)
    good, absent = found["files"]
    assert (found["exit_status"], good["exit_status"], absent["exit_status"]) == (MALFORMED, VERIFIED, MALFORMED)
    (r,) = good["rounds"]
    assert (r["round"], r["profile_claimed"], r["profile_proved"]) == (1, "B", "B")
    assert {"name": "lock", "verdict": "ok", "detail": ""} in r["checks"]
    assert r["totals"]["bets"] == len(SOME_BETS)


@pytest.mark.parametrize("profile", ["E", "B"])
def test_a_profile_that_is_claimed_but_not_proved_never_ends_with_status_0(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.jsonl"
    path.write_bytes(dump(House(profile).play(1)))
    for option in ((), ("--quiet",), ("--json",)):
        done = run(*option, path)
        assert done.returncode == INCOMPLETE
        assert "verified" not in done.stdout
    (r,) = json.loads(done.stdout)["files"][0]["rounds"]
    assert (r["exit_status"], r["profile_claimed"], r["profile_proved"]) == (INCOMPLETE, profile, None)


def test_drand_answers_are_read_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house, path, drand = House("B"), tmp_path / "bundle.jsonl", tmp_path / "drand.jsonl"
    path.write_bytes(dump(house.play(1)))
    write_drand(drand, house.beacon_round(1))
    assert verifier.main(["--quiet", "--drand", str(drand), str(path)]) == VERIFIED
    assert capsys.readouterr().out.endswith("verified, profile B\n")
    write_drand(drand, house.beacon_round(2))
    assert verifier.main(["--quiet", "--drand", str(drand), str(path)]) == INCOMPLETE


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"round":1}', b'{"round":"1","signature":"00"}', b"\xff", b"!"])
def test_a_malformed_drand_file_is_wrong_use(content: bytes, tmp_path: Path) -> None:
    path, drand = tmp_path / "bundle.jsonl", tmp_path / "drand.jsonl"
    path.write_bytes(dump(House("B").play(1)))
    drand.write_bytes(content)
    assert verifier.main(["--drand", str(drand), str(path)]) == MALFORMED
    assert verifier.main(["--drand", str(tmp_path / "absent"), str(path)]) == MALFORMED


def test_files_that_cannot_be_read_are_malformed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "absent", "a\0b"):
        assert verifier.main([str(path)]) == MALFORMED
        assert "malformed: cannot be read" in capsys.readouterr().out


def test_no_file_is_wrong_use() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (MALFORMED, "")
    assert "usage: keno-verify" in done.stderr


def test_a_name_in_the_evidence_cannot_print_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "bundle\nround 9: verified, profile B"
    forged = "x\nround 1 of room 00: verified, profile B\x1b[2J\u2028é\ud800"
    path.write_bytes(dump(House(paytable_text=paytable_document(forged.replace("\ud800", ""))).play(1)))
    done = run(path, tmp_path / "absent\nround 9: verified")
    assert done.returncode == MALFORMED
    assert [line for line in done.stdout.splitlines() if line.startswith("round")] == [
        "round 1 of room 00112233445566778899aabbccddeeff",
        "round 1 of room 00112233445566778899aabbccddeeff: verified, profile S",
    ]
    assert done.stdout.isascii()
    path.write_bytes(dump(House(paytable_text=paytable_document(forged)).play(1)))
    assert "not strict JSON" in run(path).stdout


def test_a_closed_pipe_changes_neither_verdict_nor_stderr(tmp_path: Path) -> None:
    path, house = tmp_path / "bundle.jsonl", House(count=60)
    path.write_bytes(dump(*[house.play(number, ()) for number in range(1, 61)]))
    command = [sys.executable, "-I", "-S", str(VERIFIER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == VERIFIED
