"""A fuzzing run of Schemathesis against a gateway: where it goes, and what it may name."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.openapi.document import encoded

_TESTS = Path(__file__).parents[1]
_CONFIG = """
[output.sanitization]
enabled = false

[checks]
# Their question is put by the walk over every route, and by our own check of the codes.
ignored_auth.enabled = false
positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /v1/bets/batch"
# A bet of a batch that is not as the document says is refused in its result: the answer is 200.
checks.negative_data_rejection.enabled = false

[[operations]]
include-path = "/v1/live"
enabled = false
"""


class FuzzTarget(msgspec.Struct):
    """Where to send what: `known` are values that are there, by the names of parameters and fields."""

    origin: str
    key_id: str
    secret: str
    staff_token: str
    session_player: str
    known: dict[str, list[str]]


async def fuzz(
    target: FuzzTarget, folder: Path, examples: int, seed: int, calls: Sequence[str] = ()
) -> tuple[int, str]:
    """The exit code and the report of a run, with this many examples a call: of all calls, or of those
    that are named by method and path."""
    described = folder / "openapi.json"
    described.write_bytes(encoded())
    config = folder / "schemathesis.toml"
    config.write_text(_CONFIG)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(config),
        "run",
        str(described),
        f"--url={target.origin}",
        *(f"--include-name={call}" for call in calls),
        # A server of some calls does not know the other methods of their paths.
        *(["--exclude-checks=allow_header_conformance"] if calls else []),
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={examples}",
        f"--seed={seed}",
        "--warnings=off",
        "--no-color",
        "--suppress-health-check=all",
        "--continue-on-failure",
        cwd=folder,
        env=os.environ
        | {
            "KENO_FUZZ": msgspec.json.encode(target).decode(),
            "SCHEMATHESIS_HOOKS": "support.fuzz_hooks",
            "PYTHONPATH": f"{_TESTS}{os.pathsep}{_TESTS.parent}",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        report, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, report.decode()
