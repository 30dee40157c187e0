"""Runs both verifiers on bundles that stand in memory, for their tests: they must agree on each."""

from collections.abc import Mapping

from keno import verifier
from keno.verifier import VIOLATION
from support.bundles import DRAND, Line, dump
from support.javascript import assert_agreement


def verify(*files: bytes, drand: Mapping[int, bytes] | None = None) -> tuple[int, list[verifier.FileReport]]:
    """As the commands do: without `drand`, no beacon is compared."""
    reports = verifier.verify_bundles({f"file {n}": data for n, data in enumerate(files)}, drand)
    assert_agreement(files, drand, reports)
    return verifier.worst(report.status for report in reports), reports


def failed(*bundles: list[Line]) -> list[str]:
    """The names of the checks that failed with all of drand at hand, and "file" for each fault of the file, which no
    round of it survives.
    """
    status, (report,) = verify(dump(*bundles), drand=DRAND)
    names = [check.name for r in report.rounds for check in r.checks if check.verdict == "FAIL"]
    assert names.count("file") == (len(report.rounds) if report.faults else 0)
    names = [name for name in names if name != "file"] + ["file"] * len(report.faults)
    assert (status == VIOLATION) == bool(names)
    return names
