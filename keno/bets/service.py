"""Places bets and tells what became of them. Everything of a bet but HTTP and sockets is behind `BetService.place`."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import msgspec

from keno.bets import store
from keno.bets.batcher import Batcher
from keno.bets.limits import OperatorLimits, PlayerLimits
from keno.bets.outcome import Outcome
from keno.bets.request import BetRequest
from keno.fairness import keno1, leaves
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.reporting.store import log_admin_action

ATTEMPTS = 3
"""How often a batch is tried that waits too long for others; its callers wait meanwhile."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A bet on its way to the database."""

    bet: store.BetRow

    @property
    def key(self) -> tuple[UUID, str]:
        """The operator and its transaction id."""
        return self.bet.operator_id, self.bet.transaction_id


@dataclass(frozen=True, slots=True)
class Receipt:
    """A bet that stands. `leaf` (138 bytes) is what the round's lock commits to."""

    bet_id: int
    round_id: int
    round_number: int
    room_id: UUID
    paytable: bytes
    accepted_ms: int
    leaf: bytes

    @property
    def leaf_hash(self) -> bytes:
        """The RFC 9162 hash of the leaf, as it stands in the round's evidence."""
        return leaves.leaf_hashes(self.leaf)[0]


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to a bet; the receipt is there for the outcomes ACCEPTED and DUPLICATE."""

    outcome: Outcome
    receipt: Receipt | None = None


class BetService:
    """Accepts bets in batches. `privacy_key` salts the leaves of bets."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._batcher: Batcher[Attempt, Placed] = Batcher(self._place_batch, Placed(Outcome.OVERLOADED))

    async def place(self, operator_id: UUID, request: BetRequest, mask: bytes) -> Placed:
        """Places one bet (`mask`: its picks). When it answers ACCEPTED, the bet is on disk."""
        return await self._batcher.submit(_attempt(operator_id, request, mask))

    async def place_all(self, operator_id: UUID, requests: Sequence[tuple[BetRequest, bytes]]) -> list[Placed]:
        """Places bets that came together, each with its mask; an answer each, in their order."""
        return await self._batcher.submit_all([_attempt(operator_id, request, mask) for request, mask in requests])

    async def find(self, operator_id: UUID, bet_id: int) -> tuple[store.StoredBet, bytes] | None:
        """An operator's bet and its leaf; None where it has no such bet."""
        stored = await store.bet_by_id(self._pool, operator_id, bet_id)
        if stored is None:
            return None
        unsalted = leaves.unsalted_leaf(
            stored.bet_id,
            stored.operator_id.bytes,
            stored.account,
            stored.picks,
            stored.stake_minor,
            stored.currency,
            stored.paytable,
        )
        return stored, leaves.salted(self._privacy_key, unsalted)

    async def limit_player(self, operator_id: UUID, player: str, limits: PlayerLimits) -> bool:
        """Replaces what an operator's player may bet in a round; False where the player has no such account."""
        async with self._pool.acquire() as conn, conn.transaction():
            await store.hold_off_bets(conn, operator_id)
            return await store.limit_player(conn, operator_id, player, limits)

    async def limit_operator(self, operator_id: UUID, limits: OperatorLimits, *, actor: str) -> None:
        """Replaces what each player of an operator may bet in a round, beside a player's own limit, and what a round
        may cost the operator.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await store.hold_off_bets(conn, operator_id)
            await store.limit_operator(conn, operator_id, limits)
            await log_admin_action(
                conn, actor, "operator.limited", str(operator_id), None, msgspec.structs.asdict(limits)
            )

    async def close(self) -> None:
        """Waits for the bets that are on their way."""
        await self._batcher.close()

    async def _place_batch(self, attempts: Sequence[Attempt]) -> list[Placed]:
        bets = [attempt.bet for attempt in attempts]
        async with self._pool.acquire() as conn:
            rows = await _place(conn, bets)
        failpoints.reach("bets.committed")
        receipts = iter(
            self._receipts([(bet, row) for bet, row in zip(bets, rows, strict=True) if row.bet_id is not None])
        )
        return [Placed(row.outcome, next(receipts) if row.bet_id is not None else None) for row in rows]

    def _receipts(self, standing: Sequence[tuple[store.BetRow, store.PlacedRow]]) -> list[Receipt]:
        unsalted = b"".join(_unsalted(bet, row) for bet, row in standing)
        return [
            _receipt(row, leaf)
            for (_, row), leaf in zip(standing, leaves.split(leaves.salted(self._privacy_key, unsalted)), strict=True)
        ]


def _attempt(operator_id: UUID, request: BetRequest, mask: bytes) -> Attempt:
    return Attempt(
        store.BetRow(
            operator_id=operator_id,
            transaction_id=request.transaction_id,
            fingerprint=request.fingerprint(mask),
            room_id=request.room,
            round_id=request.round_id,
            player=request.player,
            picks=mask,
            stake_minor=request.stake_minor,
            currency=request.currency,
            paytable=None if request.paytable is None else bytes.fromhex(request.paytable),
        )
    )


async def _place(conn: Connection, bets: Sequence[store.BetRow], attempts: int = ATTEMPTS) -> list[store.PlacedRow]:
    """Places bets, some of which other gateways may place in the same instant.

    Then nothing of the call has been stored, and it is made again in two halves: the bets that were in the way are
    found now, and those that still meet others end up alone. A bet alone meets another of its id only once, since that
    one is there to stay; so it ends, and no bet fails for its neighbours. A call that waited for others in vain is made
    again as it is, up to `attempts` times.
    """
    try:
        return await store.place_bets(conn, bets)
    except asyncpg.UniqueViolationError:
        middle = len(bets) // 2
        if middle == 0:
            return await store.place_bets(conn, bets)
        return [*await _place(conn, bets[:middle], attempts), *await _place(conn, bets[middle:], attempts)]
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        if attempts == 1:
            raise
        return await _place(conn, bets, attempts - 1)


def _unsalted(bet: store.BetRow, row: store.PlacedRow) -> bytes:
    assert row.bet_id is not None and row.paytable is not None  # noqa: S101, PT018 - a bet that stands
    operator = bet.operator_id.bytes
    account = keno1.account_hash(operator, bet.player)
    return leaves.unsalted_leaf(row.bet_id, operator, account, bet.picks, bet.stake_minor, bet.currency, row.paytable)


def _receipt(row: store.PlacedRow, leaf: bytes) -> Receipt:
    assert row.bet_id is not None and row.round_id is not None and row.round_number is not None  # noqa: S101, PT018 - a bet that stands
    assert row.room_id is not None and row.paytable is not None and row.accepted_ms is not None  # noqa: S101, PT018 - a bet that stands
    return Receipt(row.bet_id, row.round_id, row.round_number, row.room_id, row.paytable, row.accepted_ms, leaf)
