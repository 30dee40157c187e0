"""`keno audit`: the invariants of money and rounds, each a query that returns the rows which break it.

The queries stand in `invariants/`, one a file, numbered by subject; the first line of each says in words
what it demands. What the database cannot compute (that draws follow from seeds and payouts from paytables) is left to
the independent verifier, which reads the rounds' evidence in a process of its own; dead events are asked of their bus.

An audit that finds everything right sets a checkpoint, after which the next one goes on: a query reads the names of the
tables, over which the part to be audited is laid. The audit changes nothing but its checkpoint.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg

from keno.errors import KenoError
from keno.fairness.beacons import copies
from keno.fairness.log.growing_tree import GrowingTree
from keno.fairness.log.store import LogDamagedError
from keno.fairness.service import EvidenceService
from keno.infra.bus import BusError, DeadLetters
from keno.infra.postgres import Connection
from keno.reporting.audit import log, store
from keno.reporting.audit.store import Checkpoint, Part

_INVARIANTS = Path(__file__).parents[1] / "invariants"
_VERIFIER = Path(__file__).parents[2] / "verifier.py"
_ROUNDS_A_RUN = 200
_ROWS_SHOWN_MAX = 5
_OF_NOW = "02_balances_are_sums"
_OF_A_CHECKPOINT = "14_the_checkpoint_is_right"
_THE_LOG = (
    "15_the_log_is_its_tree",
    "The entries of the log have no gap, and its stored hashes and signed checkpoints are those of the tree over them.",
)


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must always hold. `sql` returns a row for everything that breaks it."""

    name: str
    statement: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant, the first few things that break it, none where it holds, and how long it took to see."""

    invariant: str
    statement: str
    broken_by: list[str]
    took_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. `since_ms` is the instant of the checkpoint it went on from, None where it read everything;
    `rounds_count` are the ended rounds it read; `is_extended` says whether the checkpoint stands after them now.
    """

    findings: list[Finding]
    since_ms: int | None
    rounds_count: int
    is_extended: bool

    @property
    def is_clean(self) -> bool:
        """Whether every invariant holds."""
        return not any(finding.broken_by for finding in self.findings)


class AuditError(KenoError):
    """The audit cannot go on from its checkpoint."""


@cache
def invariants() -> tuple[Invariant, ...]:
    """Those that are queries, in the order of their numbers."""
    return tuple(_read(path) for path in sorted(_INVARIANTS.glob("*.sql")))


def _statement(name: str) -> str:
    return next(each.statement for each in invariants() if each.name == name)


def _read(path: Path) -> Invariant:
    sql = path.read_text(encoding="utf-8")
    return Invariant(path.stem, sql.partition("\n")[0].removeprefix("-- "), sql)


class Audit:
    """Checks what came after the last audit that found everything right, or all there is."""

    def __init__(self, pool: asyncpg.Pool, evidence: EvidenceService, dead_letters: DeadLetters) -> None:
        self._pool = pool
        self._evidence = evidence
        self._dead_letters = dead_letters

    async def run(self, *, full: bool = False, renew: bool = False) -> Report:
        """Audits what is not behind the checkpoint, and if `full` what is; if all is right, all goes behind it.

        `renew` forgets the checkpoint first, so that everything is read. Raises AuditError where the checkpoint was
        made on another server.
        """
        findings = _Findings()
        async with self._pool.acquire() as conn:
            try:
                await store.hold_off_archiving(conn)
                if renew:
                    await store.renew_checkpoint(conn)
                round_ids = await _check_behind(conn, findings) if full else []
                since, tree = await _check_since(conn, findings)
                round_ids += await store.ended_round_ids(conn)
                await findings.add(
                    "11_no_event_is_dead", "Every event was handled, or waits to be.", self._dead_events()
                )
                await findings.add(
                    "04_the_verifier_agrees",
                    "The independent verifier confirms the evidence of every settled round, with each payout.",
                    self._verify_rounds(round_ids),
                )
                is_extended = findings.are_clean() and await store.extend_checkpoint(conn, tree.size, tree.hashes)
            finally:
                await store.clear(conn)
        return Report(findings.all(), None if full or since.id == 0 else since.at_ms, len(round_ids), is_extended)

    async def _dead_events(self) -> list[str]:
        try:
            dead = await self._dead_letters.dead()
        except BusError as failure:
            return [str(failure)]
        return [
            f"event={each.id}, consumer={each.consumer}, routing_key={each.routing_key}, reason={each.reason}"
            for each in dead[:_ROWS_SHOWN_MAX]
        ]

    async def _verify_rounds(self, round_ids: Sequence[int]) -> list[str]:
        broken: list[str] = []
        for start in range(0, len(round_ids), _ROUNDS_A_RUN):
            async with self._pool.acquire() as conn:
                groups = await copies.by_chain(conn, round_ids[start : start + _ROUNDS_A_RUN])
            for group in groups:
                try:
                    bundles = [await self._evidence.bundle(each, auditor=True) for each in group.round_ids]
                except LogDamagedError as damage:
                    broken.append(f"no evidence of rounds {group.round_ids[0]} to {group.round_ids[-1]}: {damage}")
                    continue
                broken += await verify(b"".join(bundle for bundle in bundles if bundle is not None), group.answers)
            if len(broken) >= _ROWS_SHOWN_MAX:
                break
        return broken[:_ROWS_SHOWN_MAX]


class _Findings:
    """Findings as they come, one an invariant."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    async def add(self, invariant: str, statement: str, check: Awaitable[list[str]]) -> None:
        started_s = time.perf_counter()
        broken_by = await check
        took_ms = round((time.perf_counter() - started_s) * 1000)
        before = self._found.get(invariant)
        if before is not None:
            broken_by, took_ms = [*before.broken_by, *broken_by][:_ROWS_SHOWN_MAX], before.took_ms + took_ms
        self._found[invariant] = Finding(invariant, statement, broken_by, took_ms)

    def are_clean(self) -> bool:
        return not any(found.broken_by for found in self._found.values())

    def all(self) -> list[Finding]:
        return [self._found[name] for name in sorted(self._found)]


async def _check_behind(conn: Connection, findings: _Findings) -> list[int]:
    """Checks again what is behind the checkpoint, and the checkpoint by it; the rounds that have evidence.

    Nothing there may change, so that no query needs to see the state of another: a database in use is not held still.
    """
    async with conn.transaction(isolation="repeatable_read"):
        checkpoint = await _usable_checkpoint(conn)
        part = Part(after=0, upto=checkpoint.id)
        await store.lay_out(conn, part)
    await _check(conn, part, findings)
    tree = GrowingTree()
    await findings.add(*_THE_LOG, log.rows_breaking(conn, tree, _ROWS_SHOWN_MAX))
    await findings.add(_OF_A_CHECKPOINT, _statement(_OF_A_CHECKPOINT), _log_differing(checkpoint, tree))
    round_ids = await store.ended_round_ids(conn)
    await store.clear(conn)
    return round_ids


async def _check_since(conn: Connection, findings: _Findings) -> tuple[Checkpoint, GrowingTree]:
    """Checks what is not behind the newest checkpoint, all in one state of the database; returns the checkpoint, and
    the tree of the log as it is now.
    """
    # An audit that ran meanwhile may have set it further, and has checked what lies between.
    async with conn.transaction(isolation="repeatable_read"):
        checkpoint = await _usable_checkpoint(conn)
        part = Part(after=checkpoint.id)
        await store.lay_out(conn, part)
        await _check(conn, part, findings)
        tree = GrowingTree(checkpoint.log_size, checkpoint.log_hashes)
        await findings.add(*_THE_LOG, log.rows_breaking(conn, tree, _ROWS_SHOWN_MAX))
        await store.prepare_checkpoint(conn, part)
    return checkpoint, tree


async def _check(conn: Connection, part: Part, findings: _Findings) -> None:
    for each in applicable(part):
        await findings.add(each.name, each.statement, store.rows_breaking(conn, part, each.sql, _ROWS_SHOWN_MAX))


def applicable(part: Part) -> list[Invariant]:
    """The invariants that a part can be held to: balances are of now, and a checkpoint is proved by what is behind."""
    without = _OF_NOW if part.upto is not None else _OF_A_CHECKPOINT
    return [each for each in invariants() if each.name != without]


async def _log_differing(checkpoint: Checkpoint, tree: GrowingTree) -> list[str]:
    """Where the checkpoint carries another tree of the log than its entries give."""
    if (checkpoint.log_size, checkpoint.log_hashes) == (tree.size, tree.hashes):
        return []
    return [f"kind=log, log_size={checkpoint.log_size}, entries={tree.size}"]


async def _usable_checkpoint(conn: Connection) -> Checkpoint:
    checkpoint = await store.newest_checkpoint(conn)
    if not checkpoint.is_usable:
        raise AuditError("the checkpoint was made on another server: audit everything with keno audit --renew")
    return checkpoint


async def verify(bundles: bytes, beacons: bytes = b"") -> list[str]:
    """What `keno-verify` objects to in these bundles; nothing where it verifies them all. It runs alone: no package,
    no site. `beacons` are drand's answers, one a line, to compare beacons with.
    """
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file, tempfile.NamedTemporaryFile(suffix=".jsonl") as copy:
        await asyncio.to_thread(_write, file.name, bundles)
        await asyncio.to_thread(_write, copy.name, beacons)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_VERIFIER),
            "--quiet",
            "--drand",
            copy.name,
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
