"""Both verifiers of receipts against answers of honest and of cheating houses, and against input that is none."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.bundles import SOME_BETS, House, Line, dump, path, sha, tree
from support.receipts import Signer, assert_agreement, essence, verdicts, verify_receipt

from keno import verifier
from keno.verifier import INCOMPLETE, MALFORMED, VERIFIED, VIOLATION

SIGNER = Signer()
BETS = SOME_BETS[:7]
KEYS = SIGNER.key_set


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def judge(answer: Line, evidence: list[Line] | None = None, *, keys: bool = True) -> verifier.ReceiptReport:
    receipt = verifier.read_receipt(json.loads(json.dumps(answer)))
    bundle = None if evidence is None else verifier.Evidence(dump(evidence))
    report = verifier.verify_receipt(receipt, {SIGNER.id: SIGNER.public} if keys else {}, bundle)
    found = essence(report.status, report.omitted, [check._asdict() for check in report.checks])
    given = encoded(KEYS) if keys else None
    assert_agreement([found], encoded(answer), given, None if evidence is None else dump(evidence))
    return report


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_bet_that_is_in_the_lock_is_verified_from_any_batch(size: int, public: bool) -> None:
    house = House()
    answers = SIGNER.answers(house, 1, BETS[:size])
    bundle = house.play(1, public=public)
    for answer in answers:
        report = judge(answer, bundle)
        assert (report.status, report.included, report.omitted) == (VERIFIED, True, False), report.checks


@pytest.mark.parametrize("public", [False, True])
def test_a_bet_that_the_lock_leaves_out_is_proved_to_be_left_out(tmp_path: Path, public: bool) -> None:
    house = House()
    answers = SIGNER.answers(house, 1, BETS)
    bundle = dump(house.play(1, tuple(bet for bet in SOME_BETS if bet is not BETS[3]), public=public))
    said = verify_receipt(tmp_path, encoded(answers[3]), keys=KEYS, evidence=bundle)
    (found,) = said["files"][0]["receipts"]
    assert (said["exit_status"], found["omitted"]) == (VIOLATION, True)
    assert found["verdict"] == (
        "VIOLATION, the platform accepted this bet and left it out: the receipt proves the omission"
    )
    assert verdicts(said)["included in the lock"] == "FAIL"
    assert verify_receipt(tmp_path, encoded(answers[2]), keys=KEYS, evidence=bundle)["exit_status"] == VERIFIED


def test_a_bundle_that_hides_the_omission_by_another_root_is_no_evidence() -> None:
    house = House()
    answer = SIGNER.answers(house, 1, BETS)[3]
    bundle = house.play(1, public=True)
    line = next(line for line in bundle if line["type"] == "round")
    line["bet_leaves"].remove(answer["receipt"]["leaf_hash"])
    line["bets_count"] -= 1
    report = judge(answer, bundle)
    assert (report.status, report.omitted) == (VIOLATION, False)
    line["bets_root"] = tree([bytes.fromhex(each) for each in line["bet_leaves"]]).hex()
    report = judge(answer, bundle)
    assert [check.name for check in report.checks if check.verdict == "FAIL"] == ["lock"]


def test_without_the_platforms_key_nothing_is_proved(tmp_path: Path) -> None:
    house = House()
    answer = SIGNER.answers(house, 1, BETS)[0]
    others = Signer(bytes(32)).key_set
    for keys in (None, others, {"keys": []}):
        assert verify_receipt(tmp_path, encoded(answer), keys=keys)["exit_status"] == INCOMPLETE
    report = judge(answer, house.play(1, ()), keys=False)
    assert (report.status, report.omitted) == (INCOMPLETE, False)


def test_a_receipt_is_verified_without_evidence_and_says_that_it_was_not_held_against_any(tmp_path: Path) -> None:
    said = verify_receipt(tmp_path, encoded(SIGNER.answers(House(), 1, BETS)[0]), keys=KEYS)
    assert (said["exit_status"], verdicts(said)["included in the lock"]) == (VERIFIED, "skipped")
    assert said["files"][0]["receipts"][0]["verdict"] == "verified, signed; no evidence was given"


def test_the_evidence_of_another_round_or_room_says_nothing_of_a_bet() -> None:
    house = House()
    answer = SIGNER.answers(house, 2, BETS)[0]
    assert judge(answer, house.play(1)).status == INCOMPLETE
    assert judge(answer, House(room=bytes(16)).play(2)).status == INCOMPLETE


def test_somebody_who_makes_up_a_receipt_proves_no_omission() -> None:
    house = House()
    forged = Signer(b"f" * 32)
    answer = forged.answers(house, 1, BETS)[0]
    answer["receipt"]["key_id"] = SIGNER.id
    report = judge(answer, house.play(1, ()))
    assert (report.status, report.omitted) == (VIOLATION, False)
    assert [check.name for check in report.checks if check.verdict == "FAIL"] == ["receipt signature"]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"bet_id": "8"}, "leaf"),
        ({"player": "another"}, "leaf"),
        ({"picks": [1, 2, 3]}, "leaf"),
        ({"stake_minor": 301}, "leaf"),
        ({"currency": "JPY"}, "leaf"),
        ({"paytable": "00" * 32}, "leaf"),
        ({"accepted_ms": 1}, "receipt signature"),
        ({"round": {"id": "1", "number": 2}}, "receipt signature"),
        ({"room": "00112233-4455-6677-8899-aabbccddee00"}, "receipt signature"),
    ],
)
def test_an_answer_that_says_something_else_than_its_receipt_is_a_violation(changes: Line, check: str) -> None:
    report = judge(SIGNER.answers(House(), 1, BETS)[0] | changes)
    assert [each.name for each in report.checks if each.verdict == "FAIL"] == [check]


def test_a_change_of_any_byte_of_a_receipt_is_found() -> None:
    for answer in (SIGNER.answers(House(), 1, BETS)[4], SIGNER.answers(House(), 1, BETS[:1])[0]):
        receipt, batch = answer["receipt"], answer["receipt"]["batch"]
        assert judge(answer).status == VERIFIED
        places: list[tuple[Any, Any]] = [(receipt, key) for key in ("leaf", "leaf_hash", "signature")]
        places += [(batch, "path")] if batch else []
        for holder, key in places:
            whole = holder[key]
            for at in range(0, len(whole), 2):
                holder[key] = f"{whole[:at]}{int(whole[at : at + 2], 16) ^ 1:02x}{whole[at + 2 :]}"
                assert judge(answer).status == VIOLATION, (key, at)
            holder[key] = whole


@pytest.mark.parametrize(
    "changes", [{"count": 8}, {"count": 6}, {"index": 3}, {"index": 7}, {"index": 9}, {"path": ""}, {"count": 1}]
)
def test_another_place_in_the_batch_is_found(changes: Line) -> None:
    answer = SIGNER.answers(House(), 1, BETS)[4]
    answer["receipt"]["batch"] |= changes
    assert judge(answer).status == VIOLATION


def test_a_batch_is_not_believed_for_a_bet_that_is_signed_by_itself_and_the_other_way_round() -> None:
    alone, together = SIGNER.answers(House(), 1, BETS[:1])[0], SIGNER.answers(House(), 1, BETS)[0]
    alone["receipt"]["batch"], together["receipt"]["batch"] = together["receipt"]["batch"], None
    assert [judge(each).status for each in (alone, together)] == [VIOLATION, VIOLATION]


def inclusion(bundle: list[Line], answer: Line) -> Line:
    line = next(line for line in bundle if line["type"] == "round")
    leaves = [bytes.fromhex(each) for each in line["bet_leaves"]]
    at = leaves.index(bytes.fromhex(answer["receipt"]["leaf_hash"]))
    return {
        "lock": line["lock"],
        "bets_root": line["bets_root"],
        "bets_count": len(leaves),
        "index": at,
        "path": [each.hex() for each in path(leaves, at)],
    }


def test_the_inclusion_that_comes_with_a_bet_is_checked_by_itself_and_against_the_evidence() -> None:
    house = House()
    answer = SIGNER.answers(house, 1, BETS)[2] | {"result": None}
    bundle = house.play(1, public=True)
    answer["inclusion"] = inclusion(bundle, answer)
    assert [judge(answer, of).status for of in (None, bundle)] == [VERIFIED, VERIFIED]
    for changes in ({"index": 0}, {"bets_count": 2}, {"path": []}, {"bets_root": "00" * 32}):
        assert judge(answer | {"inclusion": answer["inclusion"] | changes}).status == VIOLATION
    other_lock = answer | {"inclusion": answer["inclusion"] | {"lock": sha(b"another").hex()}}
    assert judge(other_lock).status == VERIFIED
    failed = [check.name for check in judge(other_lock, bundle).checks if check.verdict == "FAIL"]
    assert failed == ["inclusion of this lock"]


def test_answers_are_read_as_they_came_alone_in_a_batch_in_a_frame_and_line_by_line(tmp_path: Path) -> None:
    house = House()
    answers = SIGNER.answers(house, 1, BETS[:3])
    refused = {"status": 409, "problem": {"code": "round_not_open"}}
    batch = {"results": [*({"status": 201, "bet": each} for each in answers), refused]}
    frame = {"type": "bet.accepted", "channel": "player", "seq": 1, "bet": answers[0]}
    looked_up = answers[0] | {"round": {"id": "1", "number": 1, "phase": "open"}, "result": None, "inclusion": None}
    forms = [
        (encoded(answers[0]), 1),
        (json.dumps(answers[0], indent=1).encode(), 1),
        (encoded(batch), 3),
        (encoded(frame), 1),
        (encoded(looked_up), 1),
        (b"\n".join(map(encoded, answers)), 3),
    ]
    for data, count in forms:
        said = verify_receipt(tmp_path, data, keys=KEYS, evidence=dump(house.play(1)))
        assert (said["exit_status"], len(said["files"][0]["receipts"])) == (VERIFIED, count)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b"{" * 50_000,
        b'{"results": []}',
        b'{"results": [7]}',
        b'{"bet": 7}',
        b'{"bet": {"round": 7}}',
        encoded(SIGNER.answers(House(), 1, BETS)[0])[:-5],
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"more": 1}),
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"receipt": None}),
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"round": "1"}),
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"room": "00112233445566778899aabbccddeeff"}),
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"stake_minor": 1.0}),
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"bet_id": 7}),
        encoded(SIGNER.answers(House(), 1, BETS)[0] | {"inclusion": {}}),
    ],
)
def test_what_is_no_receipt_is_malformed(tmp_path: Path, data: bytes) -> None:
    said = verify_receipt(tmp_path, data, keys=KEYS)
    assert (said["exit_status"], said["files"][0]["receipts"]) == (MALFORMED, [])
    assert said["files"][0]["malformed"]


def test_keys_and_evidence_that_cannot_be_read_are_said_to_be_malformed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt, junk = tmp_path / "receipt.json", tmp_path / "junk"
    receipt.write_bytes(encoded(SIGNER.answers(House(), 1, BETS)[0]))
    for text in ("", "7", "{}", '{"keys": 7}', '{"keys": [7]}', '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": 7}]}'):
        junk.write_text(text)
        assert verifier.main(["receipt", "--jwks", str(junk), str(receipt)]) == MALFORMED
        assert "malformed" in capsys.readouterr().err
    assert verifier.main(["receipt", "--evidence", str(junk), str(receipt)]) == MALFORMED
    assert verifier.main(["receipt", str(tmp_path / "missing")]) == MALFORMED


def test_the_verdict_is_printed_for_people_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = House()
    answer = SIGNER.answers(house, 1, BETS)[0]
    (tmp_path / "receipt").write_bytes(encoded(answer))
    (tmp_path / "keys").write_bytes(encoded(KEYS))
    (tmp_path / "bundle").write_bytes(dump(house.play(1, ())))
    options = ["--jwks", str(tmp_path / "keys"), "--evidence", str(tmp_path / "bundle"), str(tmp_path / "receipt")]
    assert verifier.main(["receipt", *options]) == VIOLATION
    said = capsys.readouterr().out
    assert "FAIL         included in the lock: the platform signed that it accepted this bet in this round" in said
    assert said.splitlines()[-1].endswith("left it out: the receipt proves the omission")
    assert verifier.main(["receipt", "--quiet", *options]) == VIOLATION
    assert len(capsys.readouterr().out.splitlines()) == 1
