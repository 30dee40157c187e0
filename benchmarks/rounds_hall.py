"""Our side of the benchmark of rounds: rooms on a database of its own, and a clock that moves from slot to slot.

The real engine, vault, settler and wallet, on connections of their roles. Only the clock is the benchmark's: it stands
until it is set, so that rounds are due as fast as they can be played, and every slot time is met.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from uuid import UUID, uuid4

import asyncpg

from benchmarks import servers
from benchmarks.bets_house import DEPOSIT_MINOR, add_players, bet_rows
from benchmarks.servers import Database, ServerCpu, Servers
from keno.bets import store as bets_store
from keno.bets.outcome import Outcome
from keno.bets.settler import Settler
from keno.bets.store import BetRow
from keno.fairness.vault import Vault
from keno.game import rules
from keno.game.profiles import shipped_paytable
from keno.infra.key_providers import LocalKeys
from keno.infra.migrate import migrate
from keno.infra.outbox import events_of
from keno.infra.postgres import create_pool
from keno.infra.store import OutboxBatch
from keno.reporting.audit import applicable
from keno.reporting.audit.store import Part, clear, lay_out, rows_breaking
from keno.rounds.engine import Engine
from keno.rounds.service import GUARD_MS, RoomService, default_limits
from keno.wallet.service import WalletService

PERIOD_MS, LEAD_MS = 2_000, 500
LARGE_ON_SALE_MS = 45_000
_START_MS = 1_800_000_000_000
_BATCH = 1_000
_EPOCH_ROUNDS = 64
# All but those that ask for reports and sent events, which are not made here, or by the real clock.
_INVARIANTS = ("01", "02", "03", "05", "06", "07", "08", "09", "10", "12", "13")


@dataclass(frozen=True)
class Played:
    """A run: rounds, and seconds of the wall, of this process and of the server."""

    rounds: int
    wall_s: float
    client_s: float
    server_s: float

    @property
    def rate(self) -> float:
        """Rounds a second."""
        return self.rounds / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Processor time of a round, ours and the server's."""
        return (self.client_s + self.server_s) / self.rounds * 1e6


class Hall:
    """Rooms whose slots are at the same instants, and the services that play them."""

    def __init__(
        self,
        database: Database,
        app: asyncpg.Pool,
        vault_pool: asyncpg.Pool,
        operator_id: UUID,
        *,
        shards: int,
        batch: int,
        real_time: bool,
    ) -> None:
        """Bets are placed `batch` at a time. In real time a room may have no round on sale for a moment, and a bet on
        it is refused.
        """
        self.database = database
        self.operator_id = operator_id
        self.room_ids: list[UUID] = []
        self.placed = 0
        self._app = app
        self._vault_pool = vault_pool
        self._vault = Vault(vault_pool, LocalKeys(bytes(32)), _EPOCH_ROUNDS, 8)
        self._engines = [Engine(app, bytes(32)) for _ in range(shards)]
        self._settler = Settler(app)
        self._wallet = WalletService(app)
        self._number = 1
        self._credited_to = 0
        self._real_time = real_time
        self._batch = batch
        self.large_room_id: UUID | None = None

    async def play(self, waves: int, bets_a_round: int, players: int) -> Played:
        """Plays `waves` rounds of every room to the last credit."""
        bets = [self.bets(bets_a_round, players) for _ in range(waves)]
        async with ServerCpu(self.database.owner) as cpu:
            started, client = time.perf_counter(), time.process_time()
            over = asyncio.Event()
            ending = asyncio.create_task(self._end_rounds(over))
            await self.place(bets[0])
            for wave in range(waves):
                await self._lock()
                next_bets = bets[wave + 1] if wave + 1 < waves else []
                await asyncio.gather(self._draw(), self.place(next_bets))
                self._number += 1
            over.set()
            await ending
            wall_s, client_s = time.perf_counter() - started, time.process_time() - client
        return Played(waves * len(self.room_ids), wall_s, client_s, cpu.seconds)

    async def open_first(self) -> None:
        """Publishes the commitments and opens the round on sale."""
        async with self._vault_pool.acquire() as conn:
            await self._vault.open_epochs(conn)
        await self._tick()

    async def _lock(self) -> None:
        await self._set_clock(_START_MS + self._number * PERIOD_MS - LEAD_MS)
        await self._tick()

    async def _draw(self) -> None:
        async with self._vault_pool.acquire() as conn:
            while await self._vault.release_seeds(conn):
                pass
            # As the vault's own loop, beside: commitments for rounds to come.
            await self._vault.open_epochs(conn)
        await self._set_clock(_START_MS + self._number * PERIOD_MS)
        await self._tick()

    async def _tick(self) -> None:
        await asyncio.gather(*(self._tick_shard(shard) for shard in range(len(self._engines))))

    async def _tick_shard(self, shard: int) -> None:
        async with self._app.acquire() as conn:
            while await self._engines[shard].tick(conn, shard, 1) == 0:
                pass

    async def _set_clock(self, at_ms: int) -> None:
        async with self._app.acquire() as conn:
            await conn.fetchval("SELECT setval('test_clock', $1)", at_ms)

    def bets(self, a_round: int, players: int) -> list[list[BetRow]]:
        """New bets on the rounds on sale, in batches."""
        return _batches(bet_rows(self.operator_id, self.room_ids, a_round, players), self._batch)

    async def fill_large_round(self, bets: int, players: int) -> int:
        """Opens a room beside the others whose round is on sale for LARGE_ON_SALE_MS, and places bets on it.

        Returns when it will be locked, in milliseconds of the database clock.
        """
        owner = self.database.owner
        lock_ms = await self.now_ms() + LARGE_ON_SALE_MS
        room_id = await owner.fetchval(
            """
            INSERT INTO rooms (name, profile, period_ms, lock_lead_ms, slot_epoch_ms, rules_hash)
            SELECT 'large', profile, 60000, lock_lead_ms, $1::bigint + lock_lead_ms - 60000, rules_hash
            FROM rooms WHERE id = $2
            RETURNING id
            """,
            lock_ms,
            self.room_ids[0],
        )
        async with self._vault_pool.acquire() as conn:
            await self._vault.open_epochs(conn)
        opened = "SELECT EXISTS (SELECT FROM rounds WHERE room_id = $1)"
        while not await owner.fetchval(opened, room_id):  # noqa: ASYNC110 - the engine opens it
            await asyncio.sleep(0.05)
        await self.place(_batches(bet_rows(self.operator_id, [room_id], bets, players), self._batch))
        self.large_room_id = room_id
        return lock_ms

    async def large_round_settled_ms(self) -> int | None:
        """How long after its lock the large round was settled; None where it is not."""
        settled_ms: int | None = await self.database.owner.fetchval(
            "SELECT ended_ms - locked_ms FROM rounds WHERE room_id = $1 AND number = 1 AND phase = 'settled'",
            self.large_room_id,
        )
        return settled_ms

    async def place(self, batches: Sequence[Sequence[BetRow]]) -> None:
        """Places batches on two connections."""
        todo = iter(batches)
        await asyncio.gather(*(self._place_each(todo) for _ in range(2)))

    async def _place_each(self, batches: Iterator[Sequence[BetRow]]) -> None:
        async with self._app.acquire() as conn:
            for batch in batches:
                rows = await bets_store.place_bets(conn, batch)
                accepted = sum(row.outcome is Outcome.ACCEPTED for row in rows)
                if accepted < len(rows) and not self._real_time:
                    raise SystemExit(f"{len(rows) - accepted} of {len(rows)} bets were refused")
                self.placed += accepted

    async def _end_rounds(self, over: asyncio.Event) -> None:
        """Settles and credits until it is over and nothing is left."""
        while True:
            last = over.is_set()
            rest_s = await self._settler.settle_small_rounds()
            credited = await self._credit()
            if rest_s and not credited:
                if last:
                    return
                await _rest(over, rest_s)

    async def _credit(self) -> int:
        """Gives the wallet the next events, as the bus would."""
        if not self.placed:
            return 0
        async with self._app.acquire() as conn:
            row = await conn.fetchrow(
                "SELECT id, first_event_id, routing_key, events, created_ms FROM outbox_batches"
                " WHERE id > $1 AND sent_ms IS NULL AND routing_key = 'payouts.ready' ORDER BY id LIMIT 1",
                self._credited_to,
            )
        if row is None:
            return 0
        events = events_of(OutboxBatch(*row.values()))
        await self._wallet.credit_payouts(*events)
        self._credited_to = row["id"]
        return len(events)

    async def run_workers(self, over: asyncio.Event) -> None:
        """Moves and ends rounds in real time until it is over."""
        works = self._run_engine, self._run_vault, self._end_rounds, self._end_large_rounds
        await asyncio.gather(*(work(over) for work in works))
        for engine in self._engines:
            await engine.close()

    async def _run_engine(self, over: asyncio.Event) -> None:
        while not over.is_set():
            async with self._app.acquire() as conn:
                rest_s = await self._engines[0].tick(conn, 0, 1)
            await asyncio.sleep(rest_s)

    async def _run_vault(self, over: asyncio.Event) -> None:
        while not over.is_set():
            rest_s = await self._vault.release()
            await asyncio.sleep(rest_s)

    async def _end_large_rounds(self, over: asyncio.Event) -> None:
        while not over.is_set():
            rest_s = await self._settler.settle_chunk()
            await asyncio.sleep(rest_s)

    async def now_ms(self) -> int:
        """The database clock."""
        now_ms: int = await self.database.owner.fetchval("SELECT now_ms()")
        return now_ms

    async def lateness(self, from_ms: int, to_ms: int) -> tuple[float, float, int]:
        """Of the locks due in a time: p50 and p99 of how late they were in milliseconds; and how many were skipped."""
        row = await self.database.owner.fetchrow(
            """
            SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY locked_ms - lock_due_ms),
                percentile_cont(0.99) WITHIN GROUP (ORDER BY locked_ms - lock_due_ms),
                count(*) FILTER (WHERE phase = 'skipped')
            FROM rounds WHERE lock_due_ms >= $1 AND lock_due_ms < $2
            """,
            from_ms,
            to_ms,
        )
        assert row is not None
        return row[0], row[1], row[2]

    async def objections(self, players: int) -> list[str]:
        """What is wrong in the rounds and the books."""
        owner = self.database.owner
        phases = {row[0]: row[1] for row in await owner.fetch("SELECT phase, count(*) FROM rounds GROUP BY 1")}
        expected = {"settled": (self._number - 1) * len(self.room_ids), "open": len(self.room_ids)}
        found = [] if phases == expected else [f"rounds by phase: {json.dumps(phases)}, not {json.dumps(expected)}"]
        stored = await owner.fetchval("SELECT count(*) FROM bets")
        if stored != self.placed:
            found.append(f"{stored} bets are stored, {self.placed} were acknowledged")
        uncredited = await owner.fetchval(
            "SELECT count(*) FROM payouts AS p LEFT JOIN round_credits AS c USING (round_id) WHERE c.round_id IS NULL"
        )
        if uncredited:
            found.append(f"{uncredited} payouts are not credited")
        balances = await owner.fetchval(
            "SELECT (SELECT sum(balance_minor) FROM accounts WHERE kind = 'player')::bigint"
            " + (SELECT coalesce(sum(stake_minor), 0) FROM bets)::bigint"
            " - (SELECT coalesce(sum(payout_minor), 0) FROM payouts)::bigint"
        )
        if balances != players * DEPOSIT_MINOR:
            found.append("balances, stakes and payouts are not the deposits")
        await owner.execute("VACUUM ANALYZE")
        everything = Part(after=0)
        async with owner.transaction(isolation="repeatable_read"):
            await lay_out(owner, everything)
            for invariant in applicable(everything):
                if invariant.name.startswith(_INVARIANTS):
                    rows = await rows_breaking(owner, everything, invariant.sql, 3)
                    found += [f"{invariant.name}: {row}" for row in rows]
        await clear(owner)
        return found


async def _rest(over: asyncio.Event, seconds: float) -> None:
    """Waits, until it is over at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), seconds)


def _batches(bets: Iterable[BetRow], size: int) -> list[list[BetRow]]:
    rows = list(bets)
    return [rows[at : at + size] for at in range(0, len(rows), size)]


@asynccontextmanager
async def hall(
    found: Servers,
    rooms: int,
    players: int,
    *,
    idle_rooms: int = 0,
    shards: int = 1,
    batch: int = _BATCH,
    real_time: bool = False,
) -> AsyncIterator[Hall]:
    """A hall with `rooms` rooms that play in step, and `idle_rooms` whose first round is on sale for thirty slots.

    In real time the clock is the server's, and the slots of the rooms are spread evenly.
    """
    async with servers.database(found) as database:
        owner = database.owner
        await migrate(database.owner_url)
        if not real_time:
            await _install_clock(owner)
        operator_id = uuid4()
        await owner.execute("INSERT INTO operators (id, name, currencies) VALUES ($1, 'casino', '{EUR}')", operator_id)
        await add_players(owner, operator_id, players)
        await owner.execute(
            "INSERT INTO leases SELECT n, 1, 'benchmark', clock_timestamp() FROM generate_series(0, $1 - 1) AS n",
            shards,
        )
        async with (
            await create_pool(database.app_url, connections_min=6, connections_max=6) as app,
            await create_pool(database.url_as("keno_vault"), connections_max=1) as vault_pool,
        ):
            made = Hall(database, app, vault_pool, operator_id, shards=shards, batch=batch, real_time=real_time)
            made.room_ids = await _add_rooms(app, owner, rooms, idle_rooms, shards, real_time=real_time)
            await made.open_first()
            await owner.execute("VACUUM ANALYZE")
            yield made


async def _install_clock(owner: asyncpg.Connection) -> None:
    """A clock that costs about as much to read as the real one, and that everybody sees move at once."""
    await owner.execute(f"CREATE SEQUENCE test_clock START {_START_MS}")
    await owner.execute("SELECT nextval('test_clock')")
    await owner.execute("GRANT ALL ON SEQUENCE test_clock TO PUBLIC")
    await owner.execute(
        "CREATE OR REPLACE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE "
        "RETURN pg_sequence_last_value('test_clock'::regclass)"
    )


async def _add_rooms(
    app: asyncpg.Pool, owner: asyncpg.Connection, count: int, idle: int, shards: int, *, real_time: bool
) -> list[UUID]:
    paytable = shipped_paytable("94")
    room_rules = rules.build(
        profile="S",
        guard_ms=GUARD_MS,
        beacon_chain=None,
        rtp_bounds=(Fraction(935, 1000), Fraction(945, 1000)),
        paytables=[paytable.hash],
        currencies={"EUR": default_limits("EUR")},
    )
    rooms = RoomService(app)
    await rooms.add(
        "rules", period_ms=60_000, lock_lead_ms=1_000, room_rules=room_rules, paytables=[paytable], actor="benchmark"
    )
    await rooms.close("rules", actor="benchmark")
    insert = """
        INSERT INTO rooms (name, profile, period_ms, lock_lead_ms, slot_epoch_ms, rules_hash, shard)
        SELECT $1 || n, 'S', $2, $3, $4::bigint + n * $7::integer / $6::integer, $5, n % $8::integer
        FROM generate_series(1, $6::integer) AS n
        RETURNING id
    """
    if idle:
        # Its slots begin a second before the others', and its first round is locked 59 s after that.
        await owner.execute(insert, "idle ", 60_000, 59_000, _START_MS + 58_000, room_rules.hash, idle, 0, shards)
    start_ms, spread_ms = (await owner.fetchval("SELECT now_ms()"), PERIOD_MS) if real_time else (_START_MS, 0)
    made = await owner.fetch(insert, "room ", PERIOD_MS, LEAD_MS, start_ms, room_rules.hash, count, spread_ms, shards)
    return [row["id"] for row in made]
