"""Our side of the benchmarks of bets: a migrated database with an operator, players and open rounds, and its books."""

import asyncio
import hashlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from uuid import UUID, uuid4

import asyncpg

from benchmarks import servers
from benchmarks.servers import Database, Measured, ServerCpu, Servers
from keno.bets import store
from keno.bets.outcome import Outcome
from keno.bets.store import BetRow
from keno.game import rules
from keno.game.numbers import picks_mask
from keno.game.profiles import shipped_paytable
from keno.infra.migrate import migrate
from keno.infra.postgres import create_pool
from keno.reporting.audit import applicable
from keno.reporting.audit.store import Part, clear, lay_out, rows_breaking
from keno.requests import fingerprint
from keno.rounds.service import GUARD_MS, RoomService, default_limits

CONNECTIONS = 2
DEPOSIT_MINOR = 10**12
_OPEN_MS = 86_400_000
# What money and bets must satisfy at any instant: draws and events are no business of these benchmarks.
_MONEY = ("01", "02", "03", "05", "06", "07", "12")

_random = random.Random(7)
_ids = itertools.count(time.time_ns() // 10**6 * 50)
_MASKS = [picks_mask(_random.sample(range(1, 81), 1 + n % 10)) for n in range(1_000)]


def ordered_id() -> str:
    """A UUIDv7, 50 of them in a millisecond."""
    ms = next(_ids) // 50
    bits = _random.getrandbits(74)
    return str(UUID(int=ms << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0x2 << 62 | bits & (1 << 62) - 1))


def random_id() -> str:
    """A UUIDv4."""
    return str(UUID(int=_random.getrandbits(128), version=4))


class House:
    """An operator with players 1 to `players`, each with more money than it can lose, and one room."""

    def __init__(self, database: Database, pool: asyncpg.Pool, players: int, operator_id: UUID, room_id: UUID) -> None:
        self.database = database
        self.operator_id = operator_id
        self.room_id = room_id
        self.acknowledged = 0
        self.pool = pool
        self._players = players

    def bets(self, count: int, *, rounds: Sequence[int] | None = None, random_ids: bool = False) -> list[BetRow]:
        """New bets on the round on sale, or one after the other on each of `rounds`."""
        new_id = random_id if random_ids else ordered_id
        where = itertools.cycle([(None, each) for each in rounds] if rounds else [(self.room_id, None)])
        return [
            BetRow(
                operator_id=self.operator_id,
                transaction_id=new_id(),
                fingerprint=fingerprint(n),
                room_id=room_id,
                round_id=round_id,
                player=str(_random.randint(1, self._players)),
                picks=_random.choice(_MASKS),
                stake_minor=100 * _random.randint(1, 100),
                currency="EUR",
                paytable=None,
            )
            for n, (room_id, round_id) in zip(range(count), where, strict=False)
        ]

    async def run(self, bets: Sequence[BetRow], batch: int, connections: int) -> Measured:
        """Places bets in batches, each connection the next batch as soon as the one before has returned."""
        batches = iter([bets[at : at + batch] for at in range(0, len(bets), batch)])
        async with ServerCpu(self.database.owner) as cpu:
            started = time.perf_counter()
            accepted = await asyncio.gather(*(self._place(batches) for _ in range(connections)))
            wall_s = time.perf_counter() - started
        if sum(accepted) != len(bets):
            raise SystemExit(f"{len(bets) - sum(accepted)} of {len(bets)} bets were refused")
        return Measured(len(bets), wall_s, cpu.seconds)

    async def _place(self, batches: Iterator[Sequence[BetRow]]) -> int:
        accepted = 0
        async with self.pool.acquire() as conn:
            for batch in batches:
                rows = await store.place_bets(conn, batch)
                accepted += sum(row.outcome is Outcome.ACCEPTED for row in rows)
        self.acknowledged += accepted
        return accepted

    async def open_rounds(self, count: int) -> list[int]:
        """More rounds of the room, all of them on sale for a day."""
        return await _open_rounds(self.database.owner, self.room_id, count)

    async def objections(self) -> list[str]:
        """What is wrong in the books: bets that are missing or too many, money that came or went, broken invariants."""
        owner, found = self.database.owner, []
        await owner.execute("VACUUM ANALYZE")
        stored, staked = await owner.fetchrow("SELECT count(*), coalesce(sum(stake_minor), 0)::bigint FROM bets")
        balances = await owner.fetchval("SELECT sum(balance_minor)::bigint FROM accounts WHERE kind = 'player'")
        if stored != self.acknowledged:
            found.append(f"{stored} bets are stored, {self.acknowledged} were acknowledged")
        if balances + staked != self._players * DEPOSIT_MINOR:
            found.append("balances and stakes are not the deposits")
        everything = Part(after=0)
        async with owner.transaction(isolation="repeatable_read"):
            await lay_out(owner, everything)
            for invariant in applicable(everything):
                if invariant.name.startswith(_MONEY):
                    rows = await rows_breaking(owner, everything, invariant.sql, 3)
                    found += [f"{invariant.name}: {row}" for row in rows]
        await clear(owner)
        return found


def bet_rows(operator_id: UUID, room_ids: Sequence[UUID], bets_a_room: int, players: int) -> Iterator[BetRow]:
    """New bets of random players on the rounds on sale, room after room."""
    for room_id in room_ids:
        for n in range(bets_a_room):
            yield BetRow(
                operator_id=operator_id,
                transaction_id=ordered_id(),
                fingerprint=fingerprint(n),
                room_id=room_id,
                round_id=None,
                player=str(_random.randint(1, players)),
                picks=_random.choice(_MASKS),
                stake_minor=100 * _random.randint(1, 100),
                currency="EUR",
                paytable=None,
            )


@asynccontextmanager
async def house(found: Servers, players: int) -> AsyncIterator[House]:
    """A house on a database of its own, with one round on sale."""
    async with servers.database(found) as database:
        await migrate(database.owner_url)
        async with await create_pool(
            database.app_url, connections_min=CONNECTIONS, connections_max=CONNECTIONS
        ) as pool:
            owner, operator_id = database.owner, uuid4()
            await owner.execute(
                "INSERT INTO operators (id, name, currencies) VALUES ($1, 'casino', '{EUR}')", operator_id
            )
            await add_players(owner, operator_id, players)
            room_id = await _add_room(pool)
            await owner.execute("INSERT INTO leases VALUES (0, 1, 'benchmark', clock_timestamp())")
            await _open_rounds(owner, room_id, 1)
            await owner.execute("VACUUM ANALYZE")
            yield House(database, pool, players, operator_id, room_id)


async def add_players(owner: asyncpg.Connection, operator_id: UUID, players: int) -> None:
    """Players 1, 2, 3, each after one deposit: what the wallet would write, in three statements."""
    await owner.execute(
        """
        INSERT INTO players (operator_id, reference, account_hash)
        SELECT $1, n::text, sha256('keno1:account'::bytea || uuid_send($1) || convert_to(n::text, 'UTF8'))
        FROM generate_series(1, $2::bigint) AS n
        """,
        operator_id,
        players,
    )
    await owner.execute(
        """
        INSERT INTO accounts (operator_id, kind, player_id, currency, balance_minor)
        SELECT operator_id, 'player', id, 'EUR', $1 FROM players ORDER BY id
        """,
        DEPOSIT_MINOR,
    )
    await owner.execute(
        """
        INSERT INTO wallet_transactions
            (operator_id, kind, debit_account_id, credit_account_id, amount_minor, transaction_id, fingerprint)
        SELECT held.operator_id, 'deposit', cash.id, held.id, held.balance_minor, 'deposit-' || held.id,
            decode(repeat('00', 16), 'hex')
        FROM accounts AS held JOIN accounts AS cash ON cash.kind = 'cash' AND cash.operator_id = held.operator_id
        WHERE held.kind = 'player' ORDER BY held.id
        """
    )


async def _add_room(pool: asyncpg.Pool) -> UUID:
    paytable = shipped_paytable("94")
    room_rules = rules.build(
        profile="S",
        guard_ms=GUARD_MS,
        beacon_chain=None,
        rtp_bounds=(Fraction(935, 1000), Fraction(945, 1000)),
        paytables=[paytable.hash],
        currencies={"EUR": default_limits("EUR")},
    )
    rooms = RoomService(pool)
    room = await rooms.add(
        "hall", period_ms=60_000, lock_lead_ms=1_000, room_rules=room_rules, paytables=[paytable], actor="benchmark"
    )
    return room.id


async def _open_rounds(owner: asyncpg.Connection, room_id: UUID, count: int) -> list[int]:
    """Rounds that stay open longer than a room's period allows, under commitments to nothing: none is ever drawn."""
    first = await owner.fetchval("SELECT coalesce(max(number), 0) + 1 FROM rounds WHERE room_id = $1", room_id)
    commit = hashlib.sha256(b"benchmark").digest()
    epoch_id = await owner.fetchval(
        """
        INSERT INTO epochs (room_id, first_round, rounds_count, key_commit, commits, commits_root, opened_ms, hash)
        VALUES ($1, $2, $3, $4, $5, $4, now_ms(), $4) RETURNING id
        """,
        room_id,
        first,
        count,
        commit,
        commit * count,
    )
    rows = await owner.fetch(
        """
        INSERT INTO rounds
            (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms,
            lease_epoch)
        SELECT room.id, n, 'open', room.rules_hash, $2, $3, now_ms(), now_ms() + $4, now_ms() + $4 + 1000, 1
        FROM rooms AS room, generate_series($5::bigint, $5 + $6::bigint - 1) AS n WHERE room.id = $1
        RETURNING id
        """,
        room_id,
        epoch_id,
        commit,
        _OPEN_MS,
        first,
        count,
    )
    await owner.execute("VACUUM ANALYZE rounds")
    return [row["id"] for row in rows]
