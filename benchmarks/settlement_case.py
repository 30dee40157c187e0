"""A database of its own with drawn rounds to settle, and what brings them back to where they were."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import asyncpg
import numpy as np

from benchmarks import core_cases
from benchmarks.core_stream import HEADER, TRAILER, table
from benchmarks.servers import Servers, database
from keno.game import rules
from keno.game.profiles import shipped_paytable
from keno.game.rules import CurrencyRules
from keno.infra.migrate import migrate
from keno.infra.postgres import create_pool
from keno.rounds.service import GUARD_MS, RoomService

PLAYERS = 100_000
OPERATORS = 5
PAYTABLES = [shipped_paytable("94"), shipped_paytable("96")]
WIN_MAX_MINOR = 5_000_000
_EUR = CurrencyRules(
    exponent=2, stake_min_minor=100, stake_max_minor=10_000, stake_step_minor=100, win_max_minor=WIN_MAX_MINOR
)
_STAGED = {"n": ">i8", "picks": "V10", "stake_minor": ">i8", "terms": ">i2"}


@dataclass(frozen=True)
class Drawn:
    """A round to settle."""

    id: int
    bets: int
    mask: bytes


@dataclass(frozen=True)
class Case:
    """The drawn rounds, and the owner's connection."""

    url: str
    owner: asyncpg.Connection
    rounds: list[Drawn]

    async def reset(self, round_id: int) -> None:
        """Makes a round drawn again, unpaid, and the tables as they were."""
        async with self.owner.transaction():
            await self.owner.execute("SET LOCAL session_replication_role = replica")
            await self.owner.execute("TRUNCATE payouts, round_credits, round_totals, settlement_chunks, outbox_batches")
            await self.owner.execute("UPDATE rounds SET phase = 'drawn', ended_ms = NULL WHERE id = $1", round_id)
            await self.owner.execute("UPDATE accounts SET balance_minor = 0 WHERE balance_minor > 0")
        await self.owner.execute("VACUUM accounts")
        await self.owner.execute("CHECKPOINT")

    async def set_due(self, round_id: int) -> None:
        """Makes this round the only one that a settler finds."""
        await self.owner.execute("TRUNCATE rounds_set_aside")
        await self.owner.execute(
            "INSERT INTO rounds_set_aside (round_id, retry_ms, reason) SELECT id, 2^62, 'not measured now' FROM rounds"
            " WHERE id <> $1",
            round_id,
        )

    async def outcome(self) -> dict[str, str | None]:
        """Digests of what was paid, added up and credited."""
        columns = {
            "payouts": "bet_id, round_id, account_id, hits, payout_minor, cut_minor",
            "round_totals": "round_id, operator_id, currency, bets_count, staked_minor, paid_minor, cut_minor",
            "accounts": "id, balance_minor",
        }
        return {
            name: await self.owner.fetchval(
                f"SELECT md5(string_agg(row::text, ',' ORDER BY row)) FROM (SELECT {listed} FROM {name}) AS row"  # noqa: S608
            )
            for name, listed in columns.items()
        }


@asynccontextmanager
async def open_case(servers: Servers, sizes: list[int], players: int = PLAYERS) -> AsyncIterator[Case]:
    """A database of its own, with players, a room and drawn rounds of these sizes."""
    async with database(servers) as made:
        url = made.owner_url
        await migrate(url)
        # Not `made.owner`, which plans for the audit.
        owner = await asyncpg.connect(url)
        try:
            await _add_players(owner, players)
            await owner.execute("INSERT INTO leases VALUES (0, 1, 'benchmark', clock_timestamp())")
            rules_hash, room_id = await _add_room(url)
            rounds = [
                await _add_round(owner, room_id, rules_hash, number, size, players)
                for number, size in enumerate(sizes, 1)
            ]
            await owner.execute("VACUUM ANALYZE")
            yield Case(url, owner, rounds)
        finally:
            await owner.close()


def server_cpu_s(pids: list[int]) -> float:
    """Processor time of the server's processes so far."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


async def _add_players(owner: asyncpg.Connection, players: int) -> None:
    await owner.execute(
        "INSERT INTO operators (name, currencies) SELECT 'operator ' || n, '{EUR}' FROM generate_series(1, $1) AS n",
        OPERATORS,
    )
    await owner.execute(
        """
        INSERT INTO players (operator_id, reference, account_hash)
        SELECT o.id, 'player ' || n, sha256(n::text::bytea)
        FROM generate_series(1, $1::bigint) AS n
        JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM operators) AS o ON o.place = n % $2::bigint
        """,
        players,
        OPERATORS,
    )
    await owner.execute(
        "INSERT INTO accounts (operator_id, kind, player_id, currency)"
        " SELECT operator_id, 'player', id, 'EUR' FROM players ORDER BY id"
    )


async def _add_room(url: str) -> tuple[bytes, object]:
    room_rules = rules.build(
        profile="S",
        guard_ms=GUARD_MS,
        beacon_chain=None,
        rtp_bounds=(Fraction(935, 1000), Fraction(965, 1000)),
        paytables=[paytable.hash for paytable in PAYTABLES],
        currencies={"EUR": _EUR},
    )
    async with await create_pool(url, connections_max=1) as pool:
        room = await RoomService(pool).add(
            "room", period_ms=10_000, lock_lead_ms=2_000, room_rules=room_rules, paytables=PAYTABLES, actor="benchmark"
        )
    return room.rules_hash, room.id


async def _add_round(
    owner: asyncpg.Connection, room_id: object, rules_hash: bytes, number: int, size: int, players: int
) -> Drawn:
    bets, rng = core_cases.bets(size), np.random.default_rng(number)
    rows = table(_STAGED, size)
    rows["n"], rows["picks"] = rng.integers(0, players, size), np.frombuffer(bets.picks, "V10")
    rows["stake_minor"], rows["terms"] = np.frombuffer(bets.stakes, "<i8"), rng.integers(0, len(PAYTABLES), size)
    staged = HEADER + rows.tobytes() + TRAILER

    async def source() -> AsyncIterator[bytes]:
        yield staged

    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        round_id: int = await owner.fetchval(
            """
            INSERT INTO rounds (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms,
                draw_due_ms, locked_ms, bets_count, bets_root, beacon_round, prev_lock, lock_hash, drawn_ms, seed,
                numbers, result, lease_epoch)
            VALUES ($1, $2, 'drawn', $3, 1, $5, 1, 3, 4, 3, $4, $5, 0, $5, $5, 5, $5, $6, $5, 1) RETURNING id
            """,
            room_id,
            number,
            rules_hash,
            size,
            bytes(32),
            bets.numbers,
        )
        await owner.execute(
            "CREATE TEMP TABLE staged (n bigint, picks bytea, stake_minor bigint, terms smallint) ON COMMIT DROP"
        )
        await owner.copy_to_table("staged", source=source(), format="binary")
        await owner.execute(
            """
            INSERT INTO bets (operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint,
                transaction_id)
            SELECT a.operator_id, $1::bigint, a.id, s.stake_minor, 2, s.terms, s.picks, decode(repeat('00', 16), 'hex'),
                $1::bigint || '-' || row_number() OVER ()
            FROM staged AS s
            JOIN (SELECT id, operator_id, row_number() OVER (ORDER BY id) - 1 AS n FROM accounts WHERE kind = 'player')
                AS a USING (n)
            """,
            round_id,
        )
    return Drawn(round_id, size, bets.drawn_mask)
