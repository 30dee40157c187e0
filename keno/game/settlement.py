"""Settling rounds by the Rust core: bets as they stream from PostgreSQL in, payouts as they stream back into it out.

The rule of a bet: win = floor(stake x multiplier / scale), payout = min(win, win_max of its currency), and what the
maximum cut off is recorded as its cut. The product is 128 bits wide and cannot overflow. Where the currency also has a
round_win_max, the payouts of an account in a round are then paid by ascending bet id until their sum would pass it: the
bet that passes it is cut to what is left, later ones to 0. Both maxima are published, and any verifier can recompute
them. Nothing here reads or writes bets, or sees more of a player than the number of an account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from keno import _core
from keno.errors import KenoError
from keno.game.paytable import Paytable
from keno.game.rules import RoomRules, check


class SettlementError(KenoError):
    """What came in are not bets of these rounds, or the numbers are not a draw. Nothing counts as settled."""


class RoundTerms:
    """What the bets of a room can be settled by: pairs of paytable and currency, each named in a bet by its index.

    `core_terms` are the pairs as the core takes them, in the order of their indexes: the default paytable in each
    currency of the rules document, then the next paytable (the view `rules_terms` numbers them alike).
    `limit_round_wins` says whether any currency has a maximum of what a player wins in a round.
    """

    __slots__ = ("core_terms", "limit_round_wins")

    def __init__(self, rules: RoomRules, paytables: Iterable[Paytable]) -> None:
        """Raises `RulesError` unless `rules` pass `keno.game.rules.check` with `paytables`, those that they offer."""
        by_hash = {paytable.hash: paytable for paytable in paytables}
        check(rules, by_hash.values())
        self.core_terms = [
            _core.Terms(
                [list(row) for row in by_hash[paytable_hash].multipliers],
                by_hash[paytable_hash].scale,
                limits.win_max_minor,
                limits.round_win_max_minor,
            )
            for paytable_hash in rules.paytables
            for limits in rules.currencies.values()
        ]
        self.limit_round_wins = any(limits.round_win_max_minor is not None for limits in rules.currencies.values())


class RoundTotals(NamedTuple):
    """What the bets of one operator by one of a round's terms add up to.

    `expected_parts` is what they were expected to be paid before the draw, in parts of a minor unit (see
    `keno.game.odds.PARTS`); None where bets were settled before there was this sum.
    """

    round_id: int
    operator_id: UUID
    terms: int
    bets_count: int
    staked_minor: int
    paid_minor: int
    cut_minor: int
    expected_parts: int | None


class RoundSettlement:
    """Settles drawn rounds while their bets stream by, without an object for each bet.

    Fed with binary COPY of (round_id, bet_id, operator_id, account_id, picks, stake_minor, terms), none of them null,
    ascending by round and bet; answers binary COPY of (bet_id, round_id, account_id, hits, payout_minor, cut_minor), a
    row for each bet that won, with a payout of 0 where the round's maximum left nothing. `keno._core.SettlementStream`
    states the types. Memory does not grow with the bets, but with the winners of a round that limits what they win.
    One thread at a time may use it; other threads run meanwhile.

    All or nothing: once a call has raised `SettlementError`, what was returned before is worthless, and so is this.
    """

    __slots__ = ("_stream",)

    def __init__(
        self, rounds: Iterable[tuple[int, bytes, RoundTerms]], paid_before: Mapping[int, bytes] | None = None
    ) -> None:
        """`rounds` are (id, drawn numbers, terms): 20 bytes of numbers in any order, ids all different.

        A round need not have bets. Of a round that limits what a player wins and whose earlier bets are settled
        already, `paid_before` says by the round's id what those paid: 16 bytes an account, its id and the sum in minor
        units, both big-endian. Raises `SettlementError` for numbers that are not a draw, and for an id given twice.
        """
        before = paid_before or {}
        try:
            self._stream = _core.SettlementStream(
                [(each, numbers, terms.core_terms, before.get(each, b"")) for each, numbers, terms in rounds]
            )
        except _core.CoreError as error:
            raise SettlementError(str(error)) from None

    def feed(self, chunk: bytes) -> bytes:
        """Takes the next bytes of the bets, cut anywhere, and returns those bytes of the payouts that are ready.

        Raises `SettlementError` for bytes that are not such a stream, and for a bet that cannot be settled.
        """
        try:
            return self._stream.feed(chunk)
        except _core.CoreError as error:
            raise SettlementError(str(error)) from None

    def finish(self) -> bytes:
        """Returns the rest of the payouts. Raises `SettlementError` where `feed` would, and before the bets' end."""
        try:
            return self._stream.finish()
        except _core.CoreError as error:
            raise SettlementError(str(error)) from None

    def totals(self) -> list[RoundTotals]:
        """After `finish`: the totals by round, operator and terms, sorted. Raises `SettlementError` before."""
        try:
            totals = self._stream.totals()
        except _core.CoreError as error:
            raise SettlementError(str(error)) from None
        return [RoundTotals(round_id, UUID(bytes=operator_id), *rest) for round_id, operator_id, *rest in totals]

    @property
    def winners_count(self) -> int:
        """How many rows have been returned so far."""
        return self._stream.winners_count

    @property
    def last_bet_id(self) -> int | None:
        """The last bet that was fed; None before there is one."""
        return self._stream.last_bet_id
