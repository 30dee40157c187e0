"""Places bets and tells what became of them. Everything of a bet but HTTP and sockets is behind `BetService.place`."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from keno.bets import store
from keno.bets.batcher import Batcher
from keno.bets.limits import OperatorLimits, PlayerLimits
from keno.bets.outcome import Outcome
from keno.bets.request import AskedBet, BetRequest, request_fingerprints
from keno.fairness import keno1, leaves
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.reporting.store import log_admin_action

ATTEMPTS = 3
"""How often a batch is tried that waits too long for others; its callers wait meanwhile."""


class Receipt(NamedTuple):
    """A bet that stands. `leaf` (138 bytes) is what the round's lock commits to; `leaf_hash`, its RFC 9162 hash, stands
    in the round's evidence.
    """

    bet_id: int
    round_id: int
    round_number: int
    room_id: UUID
    paytable: bytes
    accepted_ms: int
    leaf: bytes
    leaf_hash: bytes


class Placed(NamedTuple):
    """The answer to a bet; the receipt is there for the outcomes ACCEPTED and DUPLICATE."""

    outcome: Outcome
    receipt: Receipt | None = None


_COMPANY_MIN = 64


class BetService:
    """Accepts bets in batches. `privacy_key` salts the leaves of bets."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._batcher: Batcher[store.BetRow, Placed] = Batcher(
            self._place_batch, Placed(Outcome.OVERLOADED), company_min=_COMPANY_MIN
        )
        self._kept: list[PoolConnectionProxy] = []
        """Connections of batches that have returned, for those that follow at once."""

    async def place(self, operator_id: UUID, request: BetRequest, mask: bytes) -> Placed:
        """Places one bet (`mask`: its picks). When it answers ACCEPTED, the bet is on disk."""
        return (await self.place_all(operator_id, [(request, mask)]))[0]

    async def place_all(self, operator_id: UUID, asked: Sequence[AskedBet]) -> list[Placed]:
        """Places bets that came together; an answer each, in their order."""
        return await self._batcher.submit_all(_rows(operator_id, asked))

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

    async def _place_batch(self, bets: Sequence[store.BetRow]) -> list[Placed]:
        conn = self._kept.pop() if self._kept else await self._pool.acquire()
        try:
            rows = await _place(conn, bets)
        except BaseException:
            await self._pool.release(conn)
            raise
        self._kept.append(conn)
        if not self._batcher.waiting:
            # Giving a connection back costs as much as a few bets, and only while bets wait is there a next batch.
            while self._kept:
                await self._pool.release(self._kept.pop())
        failpoints.reach("bets.committed")
        receipts = iter(
            self._receipts([(bet, row) for bet, row in zip(bets, rows, strict=True) if row.bet_id is not None])
        )
        return [Placed(row.outcome, next(receipts) if row.bet_id is not None else None) for row in rows]

    def _receipts(self, standing: Sequence[tuple[store.BetRow, store.PlacedRow]]) -> list[Receipt]:
        salted = leaves.salted(self._privacy_key, b"".join([_unsalted(bet, row) for bet, row in standing]))
        each = zip(standing, leaves.split(salted), leaves.leaf_hashes(salted), strict=True)
        return [_receipt(row, leaf, leaf_hash) for (_, row), leaf, leaf_hash in each]


def _rows(operator_id: UUID, asked: Sequence[AskedBet]) -> list[store.BetRow]:
    return [
        store.BetRow(
            operator_id,
            bet.transaction_id,
            fingerprint,
            bet.room,
            bet.round_id,
            bet.player,
            mask,
            bet.stake_minor,
            bet.currency,
            None if bet.paytable is None else bytes.fromhex(bet.paytable),
        )
        for (bet, mask), fingerprint in zip(asked, request_fingerprints(asked), strict=True)
    ]


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


def _receipt(row: store.PlacedRow, leaf: bytes, leaf_hash: bytes) -> Receipt:
    assert row.bet_id is not None and row.round_id is not None and row.round_number is not None  # noqa: S101, PT018 - a bet that stands
    assert row.room_id is not None and row.paytable is not None and row.accepted_ms is not None  # noqa: S101, PT018 - a bet that stands
    return Receipt(
        row.bet_id, row.round_id, row.round_number, row.room_id, row.paytable, row.accepted_ms, leaf, leaf_hash
    )
