"""A hall of rooms for tests: every service of a round's way on one database, and a clock that stands until it is set.

The clock replaces the database's `now_ms()`, by which rounds open, lock and are drawn. Leases run by the real time.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from structlog.testing import capture_logs

import keno
from keno import verifier
from keno.bets.request import BetRequest
from keno.bets.service import BetService, Placed
from keno.bets.settler import Settler
from keno.fairness import keno1
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witnesses import Witnesses
from keno.fairness.receipts import ReceiptKey
from keno.fairness.service import EvidenceService
from keno.fairness.vault import Vault
from keno.game import rules
from keno.game.numbers import picks_mask
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rules import CurrencyRules, RoomRules
from keno.infra.key_providers import LocalKeys
from keno.rounds import store as rounds_store
from keno.rounds.engine import Engine, LeaseLostError
from keno.rounds.room_store import Room
from keno.rounds.schedule import Schedule
from keno.rounds.service import GUARD_MS, RoomService, default_limits
from keno.wallet import store as wallet_store

START_MS = 1_800_000_000_000
PERIOD_MS = 10_000
LOCK_LEAD_MS = 2_000
EPOCH_ROUNDS = 4
ROUNDS_AHEAD = 2
WRAPPING_KEY = bytes(range(32))
PRIVACY_KEY = bytes(range(32, 64))
PLATFORM_KEY = bytes(range(64, 96))
RECEIPT_KEY = ReceiptKey(PLATFORM_KEY)

_VERIFIER = Path(keno.__file__).parent / "verifier.py"


def room_rules(**changes: Any) -> RoomRules:
    """Rules of profile S with the shipped paytable of 94 %, and euros, unless changed."""
    limits = {"EUR": default_limits("EUR")}
    stated: dict[str, Any] = {
        "profile": "S",
        "guard_ms": GUARD_MS,
        "beacon_chain": None,
        "rtp_bounds": rtp_profile("94").rtp_bounds,
        "paytables": [shipped_paytable("94").hash],
        "currencies": limits,
    }
    return rules.build(**(stated | changes))


def tight_limits(win_max_minor: int) -> CurrencyRules:
    """Limits of EUR of which a usual win takes more than the maximum."""
    usual = default_limits("EUR")
    return CurrencyRules(
        exponent=usual.exponent,
        stake_min_minor=usual.stake_min_minor,
        stake_max_minor=usual.stake_max_minor,
        stake_step_minor=usual.stake_step_minor,
        win_max_minor=win_max_minor,
    )


@dataclass(frozen=True)
class Clock:
    """The clock of a test's database."""

    owner_pool: asyncpg.Pool

    @classmethod
    async def install(cls, owner_pool: asyncpg.Pool, at_ms: int) -> "Clock":
        await owner_pool.execute("CREATE TABLE test_clock (ms bigint NOT NULL)")
        await owner_pool.execute("INSERT INTO test_clock VALUES ($1)", at_ms)
        await owner_pool.execute("GRANT SELECT ON test_clock TO PUBLIC")
        await owner_pool.execute(
            "CREATE OR REPLACE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE "
            "RETURN (SELECT ms FROM test_clock)"
        )
        return cls(owner_pool)

    async def set(self, at_ms: int) -> None:
        await self.owner_pool.execute("UPDATE test_clock SET ms = $1", at_ms)


@dataclass
class Hall:
    """The services on one database. `app_pool`, `vault_pool` and `owner_pool` act in the roles of their names."""

    app_pool: asyncpg.Pool
    vault_pool: asyncpg.Pool
    owner_pool: asyncpg.Pool
    clock: Clock
    rooms: RoomService
    bets: BetService
    settler: Settler
    evidence: EvidenceService
    log: Sequencer
    scheduler: "ShardLeader"
    vault: Vault
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def add_room(
        self,
        name: str = "one",
        *,
        period_ms: int = PERIOD_MS,
        lock_lead_ms: int = LOCK_LEAD_MS,
        its_rules: RoomRules | None = None,
        shard: int = 0,
    ) -> Room:
        """A room whose round 1 is on sale now."""
        room = await self.rooms.add(
            name,
            period_ms=period_ms,
            lock_lead_ms=lock_lead_ms,
            room_rules=its_rules or room_rules(),
            paytables=[shipped_paytable("94")],
            actor="a test",
        )
        await self.owner_pool.execute("UPDATE rooms SET shard = $2 WHERE id = $1", room.id, shard)
        return room

    async def add_operator(self, name: str) -> UUID:
        """An operator that offers euros, with a rich player named "ann"."""
        operator_id: UUID = await self.app_pool.fetchval(
            "INSERT INTO operators (name, currencies) VALUES ($1, '{EUR}') RETURNING id", name
        )
        account = keno1.account_hash(operator_id.bytes, "ann")
        await wallet_store.move_money(
            self.app_pool, "deposit", operator_id, "ann", account, "EUR", 10**9, f"deposit {name}", bytes(16)
        )
        return operator_id

    async def bet(self, operator_id: UUID, room: Room, picks: Sequence[int], stake_minor: int = 100) -> Placed:
        """A bet of ann's on the round on sale."""
        request = BetRequest(
            transaction_id=f"bet {next(self._ids)}",
            player="ann",
            picks=list(picks),
            stake_minor=stake_minor,
            currency="EUR",
            room=room.id,
        )
        return await self.bets.place(operator_id, request, picks_mask(request.picks))

    async def at_lock(self, room: Room, number: int) -> None:
        """Sets the clock to the instant at which the sales of a round close."""
        await self.clock.set(schedule(room).lock_due_ms(number))

    async def at_draw(self, room: Room, number: int) -> None:
        """Sets the clock to the instant of a draw."""
        await self.clock.set(schedule(room).draw_due_ms(number))

    async def tick(self, *, settle: bool = True) -> None:
        """Lets everyone do what is due at this instant: commitments, openings, locks, releases, draws, settlement."""
        for _ in range(2):
            await self.vault.step()
            await self.scheduler.step()
        while settle and await self.settler.step() == 0:
            pass
        await self.vault.step()

    async def void(self, room: Room, number: int, reason: int) -> None:
        """Voids a sealed round whose seed has been released."""
        row = await self.row(room, number)
        seed = await self.app_pool.fetchval("SELECT seed FROM seed_releases WHERE round_id = $1", row["id"])
        lease = await self.owner_pool.fetchrow(
            "SELECT l.shard, l.epoch FROM leases AS l JOIN rooms AS r ON r.shard = l.shard WHERE r.id = $1", room.id
        )
        assert lease is not None, "the room has a scheduler"
        assert await rounds_store.void_rounds(self.app_pool, *lease.values(), [(row["id"], seed, reason)]) == 1

    async def play(self, room: Room, numbers: Sequence[int]) -> None:
        """Plays rounds to their end; the first of them is on sale."""
        await self.tick()
        for number in numbers:
            await self.at_lock(room, number)
            await self.tick()
            await self.at_draw(room, number)
            await self.tick()

    async def row(self, room: Room, number: int) -> asyncpg.Record:
        """A round as it is stored."""
        found = await self.owner_pool.fetchrow(
            "SELECT * FROM rounds WHERE room_id = $1 AND number = $2", room.id, number
        )
        assert found is not None, f"no round {number}"
        return found

    async def phases(self, room: Room) -> list[str]:
        """The phases of a room's rounds from round 1 on; fails where a number is missing."""
        rows = await self.owner_pool.fetch(
            "SELECT number, phase FROM rounds WHERE room_id = $1 ORDER BY number", room.id
        )
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["phase"] for row in rows]

    async def written(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that a scheduler may write, to see whether it wrote."""
        tables = ("rounds", "outbox", "audit_logs")
        return {
            table: [tuple(row) for row in await self.owner_pool.fetch(f"SELECT * FROM {table} ORDER BY id")]  # noqa: S608
            for table in tables
        }

    async def free_lease(self, shard: int = 0) -> None:
        """Lets another scheduler take a lease, behind its holder's back."""
        await self.owner_pool.execute("UPDATE leases SET holder = NULL WHERE shard = $1", shard)

    async def tamper(self, statement: str, *values: object) -> None:
        """Changes what no role can change: as a superuser, behind the triggers' back."""
        async with self.owner_pool.acquire() as conn, conn.transaction():
            await conn.execute("SET LOCAL session_replication_role = replica")
            await conn.execute(statement, *values)

    def new_scheduler(self, holder: str, shard: int = 0) -> "ShardLeader":
        """Another candidate for the lease of a shard."""
        return ShardLeader(self.app_pool, holder, shard)


class ShardLeader:
    """Moves the rounds of one shard with an engine, a tick at a time, while the shard's lease is its own."""

    def __init__(self, pool: asyncpg.Pool, holder: str, shard: int = 0, privacy_key: bytes = PRIVACY_KEY) -> None:
        self._pool = pool
        self._holder = holder
        self._shard = shard
        # The clock stands still between ticks, and each has to find what has become due.
        self._engine = Engine(pool, privacy_key, look_s=0)
        self._epoch: int | None = None

    @property
    def leads(self) -> bool:
        return self._epoch is not None

    async def step(self) -> float | None:
        """Takes the lease if it is free, and ticks if it is ours: in how many seconds again, None without a lease."""
        async with self._pool.acquire() as conn:
            if self._epoch is None:
                lease = await conn.fetchrow("SELECT epoch, holder FROM leases WHERE shard = $1", self._shard)
                if lease is None or lease["holder"] is None:
                    seen_epoch = 0 if lease is None else lease["epoch"]
                    self._epoch = await rounds_store.take_lease(conn, self._shard, self._holder, seen_epoch)
            if self._epoch is None:
                return None
            try:
                return await self._engine.tick(conn, self._shard, self._epoch)
            except LeaseLostError:
                self._epoch = None
                return None

    async def close(self) -> None:
        """Gives the lease up."""
        await self._engine.close()
        if self._epoch is not None:
            await rounds_store.give_up_lease(self._pool, self._shard, self._epoch)
            self._epoch = None


async def refused_by(step: Awaitable[object]) -> list[str]:
    """Why rounds and epochs were refused in a step: what the log says."""
    with capture_logs() as logged:
        await step
    return [each["reason"] for each in logged if each["event"] in ("round.refused", "epoch.refused")]


async def check_chain(hall: Hall, room: Room) -> None:
    """Each locked round's lock is the hash of its parts and names the one before; its draw follows from its seed."""
    previous = bytes(32)
    for number, phase in enumerate(await hall.phases(room), 1):
        row = await hall.row(room, number)
        if row["lock_hash"] is None:
            assert phase in ("open", "skipped")
            continue
        assert row["prev_lock"] == previous
        context = room.id.bytes + number.to_bytes(8, "big")
        numbers = [row["bets_count"], row["locked_ms"], row["beacon_round"]]
        lock = verifier.sha256(
            b"keno1:lock",
            context,
            row["commit_hash"],
            row["rules_hash"],
            row["bets_root"],
            *(each.to_bytes(8, "big") for each in numbers),
            previous,
        )
        assert row["lock_hash"] == lock
        if phase in ("drawn", "settled"):
            assert verifier.sha256(b"keno1:commit", context, row["seed"]) == row["commit_hash"]
            x = verifier.sha256(b"keno1:pre", context, row["commit_hash"], bytes(8))
            assert list(row["numbers"]) == verifier.draw(row["seed"], x, bytes(32))
        previous = lock


def schedule(room: Room) -> Schedule:
    """The times of a room."""
    return Schedule(slot_epoch_ms=room.slot_epoch_ms, period_ms=room.period_ms, lock_lead_ms=room.lock_lead_ms)


@asynccontextmanager
async def open_hall(app_pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Hall]:
    """A hall without rooms."""
    clock = await Clock.install(owner_pool, START_MS)
    hall = Hall(
        app_pool=app_pool,
        vault_pool=vault_pool,
        owner_pool=owner_pool,
        clock=clock,
        rooms=RoomService(app_pool),
        bets=BetService(app_pool, PRIVACY_KEY, RECEIPT_KEY),
        settler=Settler(app_pool),
        evidence=EvidenceService(app_pool, PRIVACY_KEY),
        log=Sequencer(app_pool, LogKeys(app_pool, PLATFORM_KEY, "keno.test/log"), Witnesses(())),
        scheduler=ShardLeader(app_pool, "the scheduler"),
        vault=Vault(vault_pool, LocalKeys(WRAPPING_KEY), EPOCH_ROUNDS, ROUNDS_AHEAD),
    )
    yield hall
    await hall.bets.close()


def verify(bundles: bytes, folder: Path) -> dict[str, Any]:
    """What `keno-verify` says of bundles, from a process that sees nothing of this project but its one file."""
    file = folder / "evidence.jsonl"
    file.write_bytes(bundles)
    done = subprocess.run(
        [sys.executable, "-I", "-S", _VERIFIER, "--json", file], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["exit_status"] == done.returncode
    return said
