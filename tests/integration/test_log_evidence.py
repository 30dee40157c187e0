"""A bundle shows its round in the log, and the verifier believes it only by the keys it is given."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.logs import signature_line, vkey_of
from support.rounds import Hall

from keno import verifier
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witnesses import Witnesses
from keno.verifier import COSIGNATURE, LOG_SIGNATURE, LogTrust, read_log_key

OTHER = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
NAME = "keno.test/log"


@pytest.fixture
async def logged(hall: Hall) -> tuple[list[dict[str, Any]], str]:
    """The lines of a bundle whose round is logged, and the log's key."""
    room = await hall.add_room()
    await hall.play(room, [1, 2, 3])
    keys = LogKeys(hall.app_pool, bytes(32), NAME)
    await Sequencer(hall.app_pool, keys, Witnesses(())).step()
    made, key = await hall.evidence.bundle((await hall.row(room, 2))["id"]), await keys.public()
    assert made is not None
    assert key is not None
    return [json.loads(line) for line in made.splitlines()], key.text


def verify(lines: list[dict[str, Any]], trust: LogTrust) -> tuple[int, dict[str, str]]:
    """The status, and the verdicts about the log."""
    bundle = "\n".join(json.dumps(line) for line in lines).encode()
    (file,) = verifier.verify_bundles({"bundle": bundle}, None, trust)
    checks = {check.name: check.verdict for report in file.rounds for check in report.checks if "log" in check.name}
    return file.status, checks


def trust(key: str, *witnesses: str) -> LogTrust:
    cosigners = tuple(read_log_key(each, COSIGNATURE) for each in witnesses)
    return LogTrust(read_log_key(key, LOG_SIGNATURE), cosigners)


async def test_a_logged_round_is_verified_by_the_logs_key_and_not_said_to_be_without_it(
    logged: tuple[list[dict[str, Any]], str],
) -> None:
    lines, key = logged
    found = {"log entries": "ok", "log inclusion": "ok", "log cosignatures": "skipped"}
    assert verify(lines, trust(key)) == (0, found | {"log signature": "ok"})
    assert verify(lines, LogTrust()) == (0, found | {"log signature": "skipped"})


async def test_a_bundle_without_its_line_is_incomplete_where_the_log_is_asked_for(
    logged: tuple[list[dict[str, Any]], str],
) -> None:
    lines, key = logged
    bare = [line for line in lines if line["type"] != "log"]
    assert verify(bare, trust(key)) == (3, {"log": "missing"})
    assert verify(bare, LogTrust()) == (0, {"log": "skipped"})


async def test_keys_of_others_and_witnesses_that_have_not_signed_are_told_apart(
    logged: tuple[list[dict[str, Any]], str],
) -> None:
    lines, key = logged
    status, said = verify(lines, trust(vkey_of(NAME, 1, OTHER)))
    assert (status, said["log signature"]) == (3, "missing")
    status, said = verify(lines, trust(vkey_of("another.test/log", 1, OTHER)))
    assert (status, said["log signature"]) == (1, "FAIL")
    witness = vkey_of("w.test", 4, OTHER)
    status, said = verify(lines, trust(key, witness))
    assert (status, said["log cosignature of w.test"]) == (3, "missing")
    shown = next(line for line in lines if line["type"] == "log")
    body, at = shown["checkpoint"].partition("\n\n")[0] + "\n", (1_800_000_000).to_bytes(8, "big")
    signed = OTHER.sign(b"cosignature/v1\ntime 1800000000\n" + body.encode())
    unsigned = shown["checkpoint"]
    shown["checkpoint"] = unsigned + signature_line("w.test", 4, OTHER, at + signed).decode()
    status, said = verify(lines, trust(key, witness))
    assert (status, said["log cosignature of w.test"]) == (0, "ok")
    late = (1_800_000_001).to_bytes(8, "big")
    shown["checkpoint"] = unsigned + signature_line("w.test", 4, OTHER, late + signed).decode()
    status, said = verify(lines, trust(key, witness))
    assert (status, said["log cosignature of w.test"]) == (1, "FAIL")


async def test_whatever_is_changed_in_the_line_is_no_pass(logged: tuple[list[dict[str, Any]], str]) -> None:
    lines, key = logged
    whole = next(json.dumps(line) for line in lines if line["type"] == "log")
    others = [line for line in lines if line["type"] != "log"]

    def changed(change: Any) -> int:
        shown = json.loads(whole)
        change(shown, shown["entries"])
        return verify([*others, shown], trust(key))[0]

    def flip(text: str, place: int) -> str:
        return text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :]

    assert changed(lambda shown, entries: None) == 0
    for at in range(3):
        size = len(json.loads(whole)["entries"][at]["entry"])
        for place in range(0, size, 7):
            assert changed(lambda _, e, a=at, p=place: e[a].update(entry=flip(e[a]["entry"], p))) == 1
        assert changed(lambda _, e, a=at: e[a].update(index=e[a]["index"] + 1)) == 1
        assert changed(lambda _, e, a=at: e[a]["path"].pop()) == 1
        assert changed(lambda _, e, a=at: e[a]["path"].append("00" * 32)) == 1
        assert changed(lambda _, e, a=at: e[a].update(entry="")) == 1
    assert changed(lambda _, e: e.reverse()) == 1
    assert changed(lambda _, e: e.pop()) == 2
    assert changed(lambda shown, _: shown.update(round=3)) == 1
    for text in ("", "hello", "a\n1\nb\n\nc\n", "\ud7ff\n\n\n"):
        assert changed(lambda shown, _, t=text: shown.update(checkpoint=t)) == 2
    assert changed(lambda shown, _: shown.update(checkpoint=shown["checkpoint"].replace("\n", "\n1", 1))) == 1
