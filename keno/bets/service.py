"""Places bets and tells what became of them. Everything of a bet but HTTP and sockets is behind `BetService.place`."""

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import compress
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from keno.bets import read_store, store
from keno.bets.batcher import Batcher
from keno.bets.limits import OperatorLimits, PlayerLimits
from keno.bets.outcome import Outcome
from keno.bets.request import AskedBet, BetRequest, request_fingerprints
from keno.fairness import keno1, leaves
from keno.fairness.receipts import Proof, ReceiptKey, place
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.reporting.store import log_admin_action
from keno.rounds.bet_trees import BetTrees, Inclusion
from keno.rounds.room_store import Round
from keno.wallet.statement import Place

ATTEMPTS = 3
"""How often a batch is tried that waits too long for others; its callers wait meanwhile."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
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


class Placed(msgspec.Struct, frozen=True, gc=False):
    """The answer to a bet; receipt and proof are there for the outcomes ACCEPTED and DUPLICATE.

    A duplicate has the receipt of the first time, and always the proof of the bet by itself.
    """

    outcome: Outcome
    receipt: Receipt | None = None
    proof: Proof | None = None


class FoundBet(NamedTuple):
    """A bet as it stands, its leaf, the proof of its receipt, and, once its round is sealed, where the lock has it."""

    stored: read_store.StoredBet
    leaf: bytes
    leaf_hash: bytes
    proof: Proof
    inclusion: Inclusion | None


class FoundBets(NamedTuple):
    """A page of bets, newest first, and the place before which the next begins, as of `StoredBets`."""

    bets: list[FoundBet]
    next_before: Place | None


_COMPANY_MIN = 64
# By the integer: a UUID hashes itself in Python.
_key_of = attrgetter("operator_id.int", "transaction_id")
_SIGNED_HERE_MAX = 50
"""Duplicates are signed one by one, some 30 us each: more of them do not hold up the other bets of the process."""


class BetService:
    """Accepts bets in batches. `privacy_key` salts the leaves of bets, `receipt_key` signs what was accepted."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes, receipt_key: ReceiptKey) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._receipt_key = receipt_key
        self._trees = BetTrees(pool, privacy_key)
        self._batcher: Batcher[store.BetRow, Placed] = Batcher(
            self._place_batch, _key_of, Placed(Outcome.OVERLOADED), company_min=_COMPANY_MIN
        )
        self._kept: list[PoolConnectionProxy] = []
        """Connections of batches that have returned, for those that follow at once."""

    async def place(self, operator_id: UUID, request: BetRequest, mask: bytes) -> Placed:
        """Places one bet (`mask`: its picks). When it answers ACCEPTED, the bet is on disk."""
        return (await self.place_all(operator_id, [(request, mask)]))[0]

    def place_all(self, operator_id: UUID, asked: Sequence[AskedBet]) -> Awaitable[list[Placed]]:
        """Places bets that came together, queued when it returns; an answer each, in their order."""
        return self._batcher.submit_all(_rows(operator_id, asked))

    async def find(self, operator_id: UUID, bet_id: int) -> FoundBet | None:
        """An operator's bet; None where it has no such bet."""
        stored = await read_store.bet_by_id(self._pool, operator_id, bet_id)
        return None if stored is None else await self._with_inclusion(self._signed(stored))

    async def find_all(
        self, operator_id: UUID, player: str | None, played: Round | None, before: Place | None, limit: int
    ) -> FoundBets | None:
        """A page of an operator's bets: of a player, in a round, or both; None where it has no such player.

        Where the locks have the bets is told for those of one round only: each tree is read as a whole.
        """
        async with self._pool.acquire() as conn:
            if player is not None:
                page = await read_store.bets_of_player(conn, operator_id, player, played, before, limit)
            else:
                assert played is not None, "of a player or of a round"  # noqa: S101
                page = await read_store.bets_of_round(conn, operator_id, played.id, before, limit)
        if page is None:
            return None
        found = await asyncio.to_thread(lambda: [self._signed(stored) for stored in page.bets])
        if played is not None:
            found = [await self._with_inclusion(each) for each in found]
        return FoundBets(found, page.next_before)

    def _signed(self, stored: read_store.StoredBet) -> FoundBet:
        unsalted = leaves.unsalted_leaf(
            stored.bet_id,
            stored.operator_id.bytes,
            stored.account,
            stored.picks,
            stored.stake_minor,
            stored.currency,
            stored.paytable,
        )
        leaf = leaves.salted(self._privacy_key, unsalted)
        leaf_hash = leaves.packed_hashes(leaf)
        proof = self._receipt_key.prove(place(stored.room_id, stored.round_number, stored.accepted_ms), leaf_hash)[0]
        return FoundBet(stored, leaf, leaf_hash, proof, None)

    async def _with_inclusion(self, found: FoundBet) -> FoundBet:
        stored = found.stored
        if stored.bets_root is None:
            return found
        return found._replace(inclusion=await self._trees.inclusion(stored.round_id, stored.bets_root, found.leaf_hash))

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
        await self._trees.close()

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
        if [row.outcome for row in rows].count(Outcome.DUPLICATE) > _SIGNED_HERE_MAX:
            return await asyncio.to_thread(self._answers, bets, rows)
        return self._answers(bets, rows)

    def _answers(self, bets: Sequence[store.BetRow], rows: Sequence[store.PlacedRow]) -> list[Placed]:
        standing = [(bet, row) for bet, row in zip(bets, rows, strict=True) if row.bet_id is not None]
        salted = leaves.salted(self._privacy_key, b"".join([_unsalted(bet, row) for bet, row in standing]))
        hashes = leaves.leaf_hashes(salted)
        proofs = self._proofs([row for _, row in standing], hashes)
        each = zip(standing, leaves.split(salted), hashes, proofs, strict=True)
        stand = iter(
            [Placed(row.outcome, _receipt(row, leaf, leaf_hash), proof) for (_, row), leaf, leaf_hash, proof in each]
        )
        return [Placed(row.outcome) if row.bet_id is None else next(stand) for row in rows]

    def _proofs(self, rows: Sequence[store.PlacedRow], hashes: Sequence[bytes]) -> list[Proof]:
        """New bets are proved together; a duplicate by itself, so that it is told the same whenever it comes."""
        if not rows:
            return []
        stands = [row.stand for row in rows if row.stand is not None]
        place_of = {stand: _place_of(stand) for stand in set(stands)}
        places = [place_of[stand] for stand in stands]
        prove, outcomes = self._receipt_key.prove, [row.outcome for row in rows]
        fresh_count = outcomes.count(Outcome.ACCEPTED)
        if fresh_count == len(rows):
            return prove(b"".join(places), b"".join(hashes))
        fresh = [outcome is Outcome.ACCEPTED for outcome in outcomes]
        together = b"".join(compress(places, fresh)), b"".join(compress(hashes, fresh))
        proved = iter(prove(*together) if fresh_count else [])
        each = zip(fresh, places, hashes, strict=True)
        return [next(proved) if new else prove(where, leaf_hash)[0] for new, where, leaf_hash in each]


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
    assert row.bet_id is not None and row.stand is not None  # noqa: S101, PT018 - a bet that stands
    operator, paytable = bet.operator_id.bytes, row.stand.paytable
    account = keno1.account_hash(operator, bet.player)
    return leaves.unsalted_leaf(row.bet_id, operator, account, bet.picks, bet.stake_minor, bet.currency, paytable)


def _place_of(stand: store.Stand) -> bytes:
    return place(stand.room_id, stand.round_number, stand.accepted_ms)


def _receipt(row: store.PlacedRow, leaf: bytes, leaf_hash: bytes) -> Receipt:
    assert row.bet_id is not None and row.stand is not None  # noqa: S101, PT018 - a bet that stands
    where = row.stand
    return Receipt(
        row.bet_id,
        where.round_id,
        where.round_number,
        where.room_id,
        where.paytable,
        where.accepted_ms,
        leaf,
        leaf_hash,
    )
