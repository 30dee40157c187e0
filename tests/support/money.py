"""A betting floor for the tests of money: a hall with an operator's players, bets as rows, and the books to compare."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from uuid import UUID

import asyncpg

from keno.bets import store
from keno.bets.outcome import Outcome
from keno.bets.store import BetRow, PlacedRow
from keno.fairness import keno1
from keno.game import rules
from keno.game.numbers import picks_mask
from keno.game.profiles import shipped_paytable
from keno.game.rules import CurrencyRules, RoomRules
from keno.infra.bus import Event
from keno.infra.local_bus import LocalBus
from keno.infra.postgres import Executor
from keno.money import currency
from keno.reporting.audit import Audit
from keno.requests import fingerprint
from keno.rounds.room_store import Room
from keno.rounds.service import GUARD_MS
from keno.wallet import store as wallet_store
from support.rounds import LOCK_LEAD_MS, PERIOD_MS, Hall, open_hall

DEFAULT_PAYTABLE, OTHER_PAYTABLE = shipped_paytable("94"), shipped_paytable("96")
STAKE_MIN_MINOR, STAKE_MAX_MINOR, STAKE_STEP_MINOR = 100, 10_000, 100


def limits(code: str, win_max_minor: int = 5_000_000, round_win_max_minor: int | None = None) -> CurrencyRules:
    """Stakes of 100 to 10,000 minor units in steps of 100."""
    return CurrencyRules(
        exponent=currency(code).exponent,
        stake_min_minor=STAKE_MIN_MINOR,
        stake_max_minor=STAKE_MAX_MINOR,
        stake_step_minor=STAKE_STEP_MINOR,
        win_max_minor=win_max_minor,
        round_win_max_minor=round_win_max_minor,
    )


def floor_rules(*, round_win_max_minor: int | None = None, **win_max_minor: int) -> RoomRules:
    """The paytables of 94 % (the default) and 96 %; EUR, USD and BTC, which the floor's operator does not have.

    `win_max_minor` by currency replaces the usual one; `round_win_max_minor` holds for EUR.
    """
    return rules.build(
        profile="S",
        guard_ms=GUARD_MS,
        beacon_chain=None,
        rtp_bounds=(Fraction(935, 1000), Fraction(965, 1000)),
        paytables=[DEFAULT_PAYTABLE.hash, OTHER_PAYTABLE.hash],
        currencies={
            code: limits(code, win_max_minor.get(code, 5_000_000), round_win_max_minor if code == "EUR" else None)
            for code in ("EUR", "USD", "BTC")
        },
    )


@dataclass
class Floor:
    """One open room of a hall and one operator (EUR, USD and JPY, which the room does not offer)."""

    hall: Hall
    room: Room
    operator_id: UUID
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def pool(self) -> asyncpg.Pool:
        """The services' connections."""
        return self.hall.app_pool

    @property
    def owner_pool(self) -> asyncpg.Pool:
        """The schema owner's connections."""
        return self.hall.owner_pool

    async def add_operator(self, *currencies: str) -> UUID:
        """Another operator."""
        operator_id: UUID = await self.pool.fetchval(
            "INSERT INTO operators (name, currencies) VALUES ($1, $2) RETURNING id",
            f"operator {next(self._numbers)}",
            list(currencies),
        )
        return operator_id

    async def add_room(
        self,
        *,
        its_rules: RoomRules | None = None,
        operator_id: UUID | None = None,
        period_ms: int = PERIOD_MS,
        lock_lead_ms: int = LOCK_LEAD_MS,
    ) -> Room:
        """Another room, whose first round opens with the next tick."""
        return await self.hall.rooms.add(
            f"room {next(self._numbers)}",
            period_ms=period_ms,
            lock_lead_ms=lock_lead_ms,
            room_rules=its_rules or floor_rules(),
            paytables=[DEFAULT_PAYTABLE, OTHER_PAYTABLE],
            operator_id=operator_id,
            actor="a test",
        )

    async def fund(
        self, player: str, amount_minor: int, code: str = "EUR", operator_id: UUID | None = None
    ) -> wallet_store.Movement:
        """Deposits for a player."""
        operator_id = operator_id or self.operator_id
        transaction_id = f"fund {next(self._numbers)}"
        return await wallet_store.move_money(
            self.pool,
            "deposit",
            operator_id,
            player,
            keno1.account_hash(operator_id.bytes, player),
            code,
            amount_minor,
            transaction_id,
            fingerprint(transaction_id),
        )

    def bet(self, player: str = "ann", stake_minor: int = 100, **changes: Any) -> BetRow:
        """A new bet on the room's round on sale, correct unless changed; `picks` may be numbers or a mask."""
        picks = changes.pop("picks", (1, 2, 3))
        row: dict[str, Any] = {
            "operator_id": self.operator_id,
            "transaction_id": f"bet {next(self._numbers)}",
            "room_id": self.room.id,
            "round_id": None,
            "player": player,
            "picks": picks if isinstance(picks, bytes) else picks_mask(list(picks)),
            "stake_minor": stake_minor,
            "currency": "EUR",
            "paytable": None,
        } | changes
        if row["round_id"] is not None:
            row["room_id"] = None
        content = {name: str(value) for name, value in row.items() if name not in ("transaction_id", "fingerprint")}
        return BetRow(**({"fingerprint": hashlib.sha256(repr(content).encode()).digest()[:16]} | row))

    async def place(self, *bets: BetRow, conn: Executor | None = None) -> list[PlacedRow]:
        """Places bets in one batch."""
        return await store.place_bets(conn or self.pool, bets)

    async def outcomes(self, *bets: BetRow) -> list[Outcome]:
        """Places bets in one batch; says what became of them."""
        return [row.outcome for row in await self.place(*bets)]

    async def balance(self, player: str, code: str = "EUR", operator_id: UUID | None = None) -> int | None:
        """A player's money; None where there is no account."""
        balances = await wallet_store.balances(self.pool, operator_id or self.operator_id, player)
        return {each.currency: each.balance_minor for each in balances or []}.get(code)

    async def round_id(self, room: Room | None = None, number: int = 1) -> int:
        """The id of a room's round."""
        row = await self.hall.row(room or self.room, number)
        found: int = row["id"]
        return found

    async def draw(self, number: int = 1, room: Room | None = None) -> None:
        """Takes a round on sale to its draw, and into the log; settles nothing."""
        hall, room = self.hall, room or self.room
        await hall.at_lock(room, number)
        await hall.scheduler.step()
        await hall.vault.step()
        await hall.at_draw(room, number)
        await hall.scheduler.step()
        await hall.log.step()

    async def settle(self, number: int = 1, room: Room | None = None) -> None:
        """Takes a round on sale to its end, and settles whatever else is drawn."""
        await self.draw(number, room)
        while await self.hall.settler.step() == 0:
            pass

    async def void(self, number: int = 1, room: Room | None = None, reason: int = 1) -> None:
        """Takes a round on sale to its lock, voids it, and logs that."""
        hall, room = self.hall, room or self.room
        await hall.at_lock(room, number)
        await hall.scheduler.step()
        await hall.vault.step()
        await hall.void(room, number, reason)
        await hall.log.step()

    async def events(self, routing_key: str) -> list[Event]:
        """The events of a kind, as they leave the outbox."""
        rows = await self.owner_pool.fetch("SELECT * FROM outbox WHERE routing_key = $1 ORDER BY id", routing_key)
        return [
            Event(row["event_id"], row["routing_key"], row["aggregate"], row["created_ms"], row["payload"].encode())
            for row in rows
        ]

    async def until_waiting(self, pid: int) -> None:
        """Returns once a session waits for a lock."""
        async with asyncio.timeout(30):
            waiting = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
            while not await self.owner_pool.fetchval(waiting, pid):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)

    async def account_ids(self, *players: str) -> list[int]:
        """The ids of players' EUR accounts, in the order of the ids."""
        rows = await self.owner_pool.fetch(
            """
            SELECT a.id FROM accounts AS a JOIN players AS p ON p.id = a.player_id
            WHERE p.operator_id = $1 AND p.reference = ANY ($2) AND a.currency = 'EUR' ORDER BY a.id
            """,
            self.operator_id,
            list(players),
        )
        return [row["id"] for row in rows]

    async def books(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that money is written in, to see whether it moved."""
        tables = (
            "players",
            "accounts",
            "bets",
            "wallet_transactions",
            "rollbacks",
            "payouts",
            "round_credits",
            "round_totals",
            "settlement_chunks",
            "outbox",
            "inbox",
        )
        return {
            table: sorted(tuple(row) for row in await self.owner_pool.fetch(f"SELECT * FROM {table}"))  # noqa: S608
            for table in tables
        }

    @property
    def audit(self) -> Audit:
        """The audit."""
        return Audit(self.pool, self.hall.evidence, LocalBus(self.pool))

    async def broken(self) -> dict[str, list[str]]:
        """What the audit of everything finds: the invariants that do not hold, with what breaks them."""
        report = await self.audit.run(full=True)
        return {found.invariant: found.broken_by for found in report.findings if found.broken_by}

    async def stored_bets(self, transaction_ids: Sequence[str]) -> list[tuple[str, int, int]]:
        """(transaction id, bets, debits) of those that have any."""
        rows = await self.owner_pool.fetch(
            """
            SELECT b.transaction_id, count(DISTINCT b.id), count(w.bet_id)
            FROM bets AS b LEFT JOIN ledger AS w ON w.bet_id = b.id AND w.kind = 'bet'
            WHERE b.transaction_id = ANY ($1) GROUP BY 1 ORDER BY 1
            """,
            list(transaction_ids),
        )
        return [tuple(row) for row in rows]


@asynccontextmanager
async def open_floor(
    app_pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool, its_rules: RoomRules | None = None
) -> AsyncIterator[Floor]:
    """A floor whose first round is on sale, with a player "ann" who has 100,000 minor units of EUR."""
    async with open_hall(app_pool, vault_pool, owner_pool) as hall:
        room = await hall.rooms.add(
            "the floor",
            period_ms=PERIOD_MS,
            lock_lead_ms=LOCK_LEAD_MS,
            room_rules=its_rules or floor_rules(),
            paytables=[DEFAULT_PAYTABLE, OTHER_PAYTABLE],
            actor="a test",
        )
        operator_id = await app_pool.fetchval(
            "INSERT INTO operators (name, currencies) VALUES ('casino', '{EUR,USD,JPY}') RETURNING id"
        )
        floor = Floor(hall, room, operator_id)
        await floor.fund("ann", 100_000)
        await hall.tick()
        yield floor
