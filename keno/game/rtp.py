"""What a paytable returns, for people: the figures behind `keno paytable rtp`, and the effect of a maximum win.

Everything is an exact fraction until `percent_text`. Printing is the command line's.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from keno.game.numbers import PICKS_MAX
from keno.game.odds import hit_probability, row_hit_frequency, row_variance
from keno.game.paytable import Paytable


@dataclass(frozen=True, slots=True)
class PaytableRow:
    """One pick count of a paytable. Multipliers, rtp and variance are per unit of stake, before any maximum win."""

    picks: int
    multipliers: tuple[Fraction, ...]  # by hits, 0..picks
    rtp: Fraction
    variance: Fraction
    hit_frequency: Fraction  # probability of any payout
    top_multiplier: Fraction
    top_probability: Fraction  # of the hits that pay top_multiplier


def describe(paytable: Paytable) -> list[PaytableRow]:
    """One row a pick count, 1 to 10."""
    rows = []
    for picks in range(1, PICKS_MAX + 1):
        row = paytable.multipliers[picks]
        top = max(row)
        rows.append(
            PaytableRow(
                picks=picks,
                multipliers=tuple(Fraction(multiplier, paytable.scale) for multiplier in row),
                rtp=paytable.rtp[picks],
                variance=row_variance(row, paytable.scale),
                hit_frequency=row_hit_frequency(row),
                top_multiplier=Fraction(top, paytable.scale),
                top_probability=sum(
                    (hit_probability(picks, hits) for hits, paid in enumerate(row) if paid == top), Fraction(0)
                ),
            )
        )
    return rows


def capped_rtp(paytable: Paytable, picks: int, stake_minor: int, win_max_minor: int) -> Fraction:
    """The return of `picks` picks at a stake above 0 as it is paid: each win rounded down to a minor unit, then cut at
    `win_max_minor`. For a stake on a step of the room's rules it equals `paytable.rtp[picks]` unless the maximum bites.
    """
    paid_minor = sum(
        (
            hit_probability(picks, hits) * min(stake_minor * multiplier // paytable.scale, win_max_minor)
            for hits, multiplier in enumerate(paytable.multipliers[picks])
        ),
        Fraction(0),
    )
    return paid_minor / stake_minor


def percent_text(value: Fraction, decimals: int = 3) -> str:
    """`value` in percent, rounded half to even in exact arithmetic: 47/50 is "94.000 %"."""
    units = round(value * 100 * 10**decimals)
    sign, (whole, fraction) = "-" if units < 0 else "", divmod(abs(units), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d} %" if decimals else f"{sign}{whole} %"
