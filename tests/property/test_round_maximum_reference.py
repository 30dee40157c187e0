"""The maximum of what a player wins in a round, against a reference in a few lines: in one pass, and in any chunks."""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from struct import pack
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from support.copy_format import Bet as Row
from support.copy_format import Payout, bets_copy, read_payouts

from keno.game.numbers import picks_mask
from keno.game.profiles import shipped_paytable
from keno.game.rules import CurrencyRules, build
from keno.game.settlement import RoundSettlement, RoundTerms

PAYTABLES = [shipped_paytable(name) for name in ("94", "96")]
# The maximum of a bet and of a round; an account has one currency.
MAXIMA = {"EUR": (1_000, 1_000), "JPY": (1_500, 4_001), "USD": (2_000, None)}
CURRENCIES = sorted(MAXIMA)
TERMS = RoundTerms(
    build(
        profile="S",
        guard_ms=2000,
        beacon_chain=None,
        rtp_bounds=(Fraction(9, 10), Fraction(1)),
        paytables=[paytable.hash for paytable in PAYTABLES],
        currencies={
            code: CurrencyRules(
                exponent={"EUR": 2, "JPY": 0, "USD": 2}[code],
                stake_min_minor=100,
                stake_max_minor=1_000,
                stake_step_minor=100,
                win_max_minor=win_max,
                round_win_max_minor=round_win_max,
            )
            for code, (win_max, round_win_max) in MAXIMA.items()
        },
    ),
    PAYTABLES,
)


class Bet(NamedTuple):
    account_id: int
    picks: frozenset[int]
    stake_minor: int
    paytable: int

    @property
    def currency(self) -> str:
        return CURRENCIES[self.account_id % len(CURRENCIES)]


# Few numbers, which are often drawn, and few accounts: most bets win, and most accounts reach their maximum.
bets = st.builds(
    Bet,
    account_id=st.integers(0, 5),
    picks=st.frozensets(st.integers(1, 25), min_size=1, max_size=6),
    stake_minor=st.integers(1, 10).map(lambda steps: 100 * steps),
    paytable=st.integers(0, 1),
)
draws = st.permutations(range(1, 31)).map(lambda numbers: numbers[:20])


def expected(placed: Iterable[Bet], drawn: set[int]) -> list[Payout]:
    left = {account_id: MAXIMA[CURRENCIES[account_id % 3]][1] for account_id in range(6)}
    payouts = []
    for bet_id, bet in enumerate(placed, 1):
        paytable, hits = PAYTABLES[bet.paytable], len(bet.picks & drawn)
        won = bet.stake_minor * paytable.multipliers[len(bet.picks)][hits] // paytable.scale
        paid, remaining = min(won, MAXIMA[bet.currency][0]), left[bet.account_id]
        if remaining is not None:
            paid = min(paid, remaining)
            left[bet.account_id] = remaining - paid
        if won:
            payouts.append(Payout(bet_id, 1, bet.account_id, hits, paid, won - paid))
    return payouts


def settle(rows: list[Row], numbers: bytes, paid_before: Counter[int]) -> list[Payout]:
    carried = b"".join(pack(">qq", *of_account) for of_account in paid_before.items())
    settlement = RoundSettlement([(1, numbers, TERMS)], {1: carried})
    return read_payouts(settlement.feed(bets_copy(rows)) + settlement.finish())


def rows_of(placed: Iterable[Bet]) -> list[Row]:
    # As the settlement names them: by paytable, then by currency.
    return [
        Row(
            1,
            bet_id,
            bytes(16),
            bet.account_id,
            picks_mask(sorted(bet.picks)),
            bet.stake_minor,
            bet.paytable * len(CURRENCIES) + CURRENCIES.index(bet.currency),
        )
        for bet_id, bet in enumerate(placed, 1)
    ]


@given(
    pool=st.lists(bets, min_size=1, max_size=40),
    repeats=st.sampled_from([1, 1, 2, 20]),
    numbers=draws,
    cuts=st.lists(st.integers(0, 800), max_size=6),
)
def test_wins_are_cut_in_the_order_of_bets_however_the_round_is_cut_into_chunks(
    pool: list[Bet], repeats: int, numbers: list[int], cuts: list[int]
) -> None:
    placed, drawn = pool * repeats, bytes(numbers)
    whole = settle(rows_of(placed), drawn, Counter())
    assert whole == expected(placed, set(numbers))

    rows, in_chunks, paid = rows_of(placed), list[Payout](), Counter[int]()
    for start, end in pairwise([0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]):
        payouts = settle(rows[start:end], drawn, paid)
        in_chunks += payouts
        for payout in payouts:
            paid[payout.account_id] += payout.payout_minor
    assert in_chunks == whole
    for account_id, minor in paid.items():
        most = MAXIMA[CURRENCIES[account_id % 3]][1]
        assert most is None or minor <= most
