"""The settler: pays drawn rounds by their published paytables, through the Rust core, which takes PostgreSQL's COPY of
the bets and gives back the COPY of their payouts.

Small rounds are settled many in one transaction. A large one is settled in chunks of its bets by ascending id, each a
transaction that also records what it did, so that another settler goes on where one was killed; its payouts count for
nobody before the last transaction has found every bet in a chunk and ended the round. A round that cannot be settled is
set aside and tried again later, and the others go on.

It needs no lease: a round is held by a row lock while it is settled, and a settled round cannot be settled again. It
credits nobody; the wallet does, from the payouts stored here.
"""

from collections import Counter
from collections.abc import Sequence

import asyncpg
import structlog

from keno.bets import store
from keno.bets.store import DrawnRound
from keno.game import paytable, rules
from keno.game.paytable import PaytableError
from keno.game.rules import RulesError
from keno.game.settlement import RoundSettlement, RoundTerms, RoundTotals, SettlementError
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.rounds.room_store import published_paytable, published_rules

CHUNK_BETS = 50_000
"""The most bets of a transaction: some 5 MB as they come, and 3 MB of payouts if all of them win."""
_ROUNDS_MAX = 1_000
_IDLE_S = 0.05
_TERMS_CACHED_MAX = 256

# The last is what the database says of books that contradict a round, such as a bet that was paid already.
_CANNOT_BE_SETTLED = (SettlementError, asyncpg.IntegrityConstraintViolationError)

_log = structlog.get_logger(__name__)


class Settler:
    """Settles drawn rounds, the oldest first. Several may run at once.

    The methods return the seconds to wait before the next call: 0 where something was done.
    """

    def __init__(self, pool: asyncpg.Pool, *, chunk_bets: int = CHUNK_BETS) -> None:
        """Rounds of more than `chunk_bets` bets are large."""
        self._pool = pool
        self._chunk_bets = chunk_bets
        self._terms: dict[bytes, RoundTerms] = {}

    async def step(self) -> float:
        """Small rounds and then a chunk of a large one, for whoever does not call for them side by side."""
        return min(await self.settle_small_rounds(), await self.settle_chunk())

    async def settle_small_rounds(self) -> float:
        """Settles the small rounds that are due, as many as fit into one transaction."""
        async with self._pool.acquire() as conn, conn.transaction():
            held = await store.hold_small_rounds(conn, _ROUNDS_MAX, self._chunk_bets)
            if not held:
                return _IDLE_S
            failures = await self._settle(conn, held)
            if failures:
                await self._set_aside(conn, failures)
        failpoints.reach("settlement.committed")
        return 0

    async def settle_chunk(self) -> float:
        """Settles the next chunk of a large round, or ends the round after its last one."""
        async with self._pool.acquire() as conn, conn.transaction():
            held = await store.hold_large_round(conn, self._chunk_bets + 1)
            if held is None:
                return _IDLE_S
            try:
                async with conn.transaction():
                    await self._settle_next_bets(conn, held)
            except _CANNOT_BE_SETTLED as error:
                await self._set_aside(conn, [(held.round_id, str(error))])
        failpoints.reach("settlement.committed")
        return 0

    async def _settle(self, conn: Connection, rounds: Sequence[DrawnRound]) -> list[tuple[int, str]]:
        """Settles all that can be settled, by halves where something cannot; returns the others with their reasons."""
        try:
            async with conn.transaction():
                await self._settle_whole(conn, rounds)
        except _CANNOT_BE_SETTLED as error:
            if len(rounds) == 1:
                return [(rounds[0].round_id, str(error))]
            half = len(rounds) // 2
            return [*await self._settle(conn, rounds[:half]), *await self._settle(conn, rounds[half:])]
        return []

    async def _settle_whole(self, conn: Connection, rounds: Sequence[DrawnRound]) -> None:
        with_terms = [(each.round_id, each.numbers, await self._round_terms(conn, each.rules)) for each in rounds]
        settlement = RoundSettlement(with_terms)
        await _pay(conn, settlement, await store.bets_of_rounds(conn, [each.round_id for each in rounds]))
        await _end(conn, rounds, settlement.totals())

    async def _settle_next_bets(self, conn: Connection, drawn: DrawnRound) -> None:
        settled_to = await store.last_bet_in_chunks(conn, drawn.round_id)
        terms = await self._round_terms(conn, drawn.rules)
        paid_before = b""
        if settled_to and terms.limit_round_wins:
            paid_before = await store.wins_before(conn, drawn.round_id, settled_to, self._chunk_bets)
        settlement = RoundSettlement([(drawn.round_id, drawn.numbers, terms)], {drawn.round_id: paid_before})
        await _pay(conn, settlement, await store.bets_after(conn, drawn.round_id, settled_to, self._chunk_bets))
        if settlement.last_bet_id is None:
            await _end(conn, [drawn], await store.totals_of_chunks(conn, drawn.round_id))
        else:
            await store.record_chunk(conn, settled_to + 1, settlement.last_bet_id, settlement.totals())

    async def _set_aside(self, conn: Connection, failures: Sequence[tuple[int, str]]) -> None:
        await store.set_aside(conn, failures)
        for round_id, reason in failures:
            _log.error("settler.round_set_aside", round=round_id, reason=reason)

    async def _round_terms(self, conn: Connection, rules_hash: bytes) -> RoundTerms:
        if rules_hash not in self._terms:
            terms = await _read_terms(conn, rules_hash)
            if len(self._terms) >= _TERMS_CACHED_MAX:
                self._terms.clear()
            self._terms[rules_hash] = terms
        return self._terms[rules_hash]


async def _read_terms(conn: Connection, rules_hash: bytes) -> RoundTerms:
    document = await published_rules(conn, rules_hash)
    if document is None:
        raise SettlementError(f"the rules {rules_hash.hex()} are not published")
    try:
        room_rules = rules.parse(document)
        documents = [await published_paytable(conn, digest) for digest in room_rules.paytables]
        return RoundTerms(room_rules, [paytable.parse(document) for document in documents if document is not None])
    except (RulesError, PaytableError) as error:
        raise SettlementError(f"the rules {rules_hash.hex()} cannot be used: {error}") from error


async def _pay(conn: Connection, settlement: RoundSettlement, bets: bytes) -> None:
    payouts = settlement.feed(bets) + settlement.finish()
    if settlement.winners_count:
        await store.store_payouts(conn, payouts)


async def _end(conn: Connection, rounds: Sequence[DrawnRound], totals: Sequence[RoundTotals]) -> None:
    settled: Counter[int] = Counter()
    for total in totals:
        settled[total.round_id] += total.bets_count
    for each in rounds:
        if settled[each.round_id] != each.bets_count:
            raise SettlementError(
                f"round {each.round_id} was locked with {each.bets_count} bets and has {settled[each.round_id]}"
            )
    await store.end_rounds(conn, [each.round_id for each in rounds], totals)
