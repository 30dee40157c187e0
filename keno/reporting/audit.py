"""`keno audit`: the invariants of money and rounds, each a query that returns the rows which break it.

The queries stand in `invariants/`, one a file, numbered by subject; the first line of each says in words
what it demands. What the database cannot compute (that draws follow from seeds and payouts from paytables) is left to
the independent verifier, which reads the rounds' evidence in a process of its own; dead events are asked of their bus.
The audit changes nothing.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg

from keno.fairness.service import EvidenceService
from keno.infra.bus import BusError, DeadLetters
from keno.reporting import store

_INVARIANTS = Path(__file__).parent / "invariants"
_VERIFIER = Path(__file__).parents[1] / "verifier.py"
_ROUNDS_A_RUN = 200
_ROWS_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must always hold. `sql` returns a row for everything that breaks it."""

    name: str
    statement: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant and the first few things that break it; none where it holds."""

    invariant: str
    statement: str
    broken_by: list[str]


@cache
def invariants() -> tuple[Invariant, ...]:
    """All of them, in the order of their numbers."""
    return tuple(_read(path) for path in sorted(_INVARIANTS.glob("*.sql")))


def _read(path: Path) -> Invariant:
    sql = path.read_text(encoding="utf-8")
    return Invariant(path.stem, sql.partition("\n")[0].removeprefix("-- "), sql)


class Audit:
    """Checks the whole database."""

    def __init__(self, pool: asyncpg.Pool, evidence: EvidenceService, dead_letters: DeadLetters) -> None:
        self._pool = pool
        self._evidence = evidence
        self._dead_letters = dead_letters

    async def findings(self) -> AsyncIterator[Finding]:
        """One finding an invariant, as they are checked."""
        for invariant in invariants():
            async with self._pool.acquire() as conn:
                broken_by = await store.rows_breaking(conn, invariant.sql, _ROWS_SHOWN_MAX)
            yield Finding(invariant.name, invariant.statement, broken_by)
        yield Finding("11_no_event_is_dead", "Every event was handled, or waits to be.", await self._dead_events())
        yield Finding(
            "04_the_verifier_agrees",
            "The independent verifier confirms the evidence of every settled round, with each payout.",
            await self._verify_rounds(),
        )

    async def _dead_events(self) -> list[str]:
        try:
            dead = await self._dead_letters.dead()
        except BusError as failure:
            return [str(failure)]
        return [
            f"event={each.id}, consumer={each.consumer}, routing_key={each.routing_key}, reason={each.reason}"
            for each in dead[:_ROWS_SHOWN_MAX]
        ]

    async def _verify_rounds(self) -> list[str]:
        round_ids = await store.ended_round_ids(self._pool)
        broken: list[str] = []
        for start in range(0, len(round_ids), _ROUNDS_A_RUN):
            bundles = [
                await self._evidence.bundle(each, auditor=True) for each in round_ids[start : start + _ROUNDS_A_RUN]
            ]
            broken += await verify(b"".join(bundle for bundle in bundles if bundle is not None))
            if len(broken) >= _ROWS_SHOWN_MAX:
                break
        return broken[:_ROWS_SHOWN_MAX]


async def verify(bundles: bytes) -> list[str]:
    """What `keno-verify` objects to in these bundles; nothing where it verifies them all. It runs alone: no package,
    no site.
    """
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        await asyncio.to_thread(_write, file.name, bundles)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_VERIFIER),
            "--quiet",
            file.name,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    if process.returncode == 0:
        return []
    objections = [line for line in output.decode(errors="replace").splitlines() if ": verified" not in line]
    # It may have been killed before it could say anything, which must not pass for consent.
    return objections or [f"the verifier ended with status {process.returncode}"]


def _write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
