"""The settler: pays a drawn round's bets by its published paytables, through the Rust core, in one transaction with the
events of it.

It needs no lease: a round is held by a row lock while it is settled, and a settled round cannot be settled again. It
credits nobody; the wallet does, from the payouts stored here.
"""

import asyncio
from array import array
from collections.abc import Sequence

import asyncpg

from keno.bets import store
from keno.game import paytable, rules
from keno.game.settlement import BetColumns, RoundTerms, settle
from keno.infra.postgres import Connection
from keno.rounds.store import published_paytable, published_rules

_IDLE_S = 0.05
_TERMS_CACHED_MAX = 256


class Settler:
    """Settles drawn rounds, the oldest first. Several may run at once."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._terms: dict[bytes, RoundTerms] = {}

    async def step(self) -> float:
        """Settles one round, if one is due; returns the seconds to wait before the next step."""
        async with self._pool.acquire() as conn, conn.transaction():
            drawn = await store.hold_drawn_round(conn)
            if drawn is None:
                return _IDLE_S
            bets = await store.open_bets(conn, drawn.round_id)
            terms = await self._round_terms(conn, drawn.rules)
            winners = await asyncio.to_thread(settle_bets, bets, terms, drawn.numbers)
            await store.settle_round(conn, drawn.round_id, winners)
        return 0

    async def _round_terms(self, conn: Connection, rules_hash: bytes) -> RoundTerms:
        if rules_hash not in self._terms:
            document = await published_rules(conn, rules_hash)
            assert document is not None, "a round's rules are published"  # noqa: S101
            room_rules = rules.parse(document)
            documents = [await published_paytable(conn, digest) for digest in room_rules.paytables]
            if len(self._terms) >= _TERMS_CACHED_MAX:
                self._terms.clear()
            self._terms[rules_hash] = RoundTerms(
                room_rules, [paytable.parse(document) for document in documents if document is not None]
            )
        return self._terms[rules_hash]


def settle_bets(bets: Sequence[store.OpenBet], terms: RoundTerms, numbers: bytes) -> list[tuple[int, int, int, int]]:
    """(bet id, hits, payout, cut) of the winning bets, in the order given."""
    stakes = array("q", [bet.stake_minor for bet in bets])
    columns = BetColumns(
        picks=b"".join(bet.picks for bet in bets),
        stakes_minor=stakes.tobytes(),
        terms=bytes(terms.index(bet.paytable, bet.currency) for bet in bets),
    )
    settled = settle(columns, terms, numbers)
    return [(bets[row].bet_id, hits, payout, cut) for row, hits, payout, cut in settled.winners()]
