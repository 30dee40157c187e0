"""`python -m benchmarks.verify`: how long `keno-verify` takes for the evidence of 10,000 rounds, as an auditor runs it.

Exits with 1 if a round does not verify, never because a target was missed.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.evidence_rounds import write
from benchmarks.report import Row
from keno import verifier

METHOD = (
    "Wall time of `python -I -S verifier.py --quiet FILE` as its own process, start and reading included: median of 5 "
    "runs after one that is not counted. One file of 10,000 consecutive rounds of profile S in epochs of 1,024, each "
    "round with its copy of the documents and of the epoch."
)
ROUNDS, RUNS, LIMIT_S = 10_000, 5, 2.0
# Auditor's bundles unless it says public; the demo's rounds have a few bets each.
SIZES = ((0, False), (4, False), (8, False), (8, True), (40, False), (40, True))


def verify_s(path: Path) -> float:
    """Seconds of one run."""
    command = [sys.executable, "-I", "-S", verifier.__file__, "--quiet", str(path)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  our own verifier
    seconds = time.perf_counter() - started
    assert done.stdout.count(": verified, profile S\n") == ROUNDS
    return seconds


def measured(path: Path, bets: int, public: bool) -> Row:
    size_mb = write(path, ROUNDS, bets, public=public) / 1e6
    verify_s(path)
    seconds = statistics.median(verify_s(path) for _ in range(RUNS))
    what = f"verify {ROUNDS} {'public' if public else 'auditor'} bundles of {bets} bets, {size_mb:.0f} MB"
    # The target is for rounds like the demo's; more bets are shown without one.
    target = 1.0 if bets <= 8 else None
    return report.compare_costs(what, "s", seconds, LIMIT_S, "the limit", target)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(Path(folder, "rounds.jsonl"), bets, public) for bets, public in SIZES]
    report.publish("verify", METHOD, rows)


if __name__ == "__main__":
    main()
