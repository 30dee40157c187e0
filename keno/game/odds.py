"""Exact odds: how likely a number of hits is, and what one row of multipliers returns. Pure arithmetic on fractions.

A row is the multipliers for one pick count p: p + 1 integers in units of 1/scale, indexed by hits. Nothing here checks
a row; `keno.game.paytable` does.

Hits are hypergeometric: the draw chooses 20 of 80 numbers uniformly, so of p picks exactly h are drawn with probability
C(20, h) x C(60, p - h) / C(80, p). For 1 to 10 picks all of these are whole numbers of 1/`PARTS`: an expected
payout is a whole number of parts of a minor unit, and sums of such are exact (`core_rs/src/odds.rs` adds them up).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import comb, lcm

from keno.game.numbers import DRAWN, NUMBERS, PICKS_MAX

PARTS = lcm(*(comb(NUMBERS, picks) for picks in range(1, PICKS_MAX + 1)))
"""115,254,447,708,400; migration 0041 and the core state it too."""


@cache
def hit_probability(picks: int, hits: int) -> Fraction:
    """Probability that exactly `hits` of `picks` distinct numbers are among the 20 drawn of 80 (0 <= picks <= 80)."""
    if not 0 <= hits <= picks:
        return Fraction(0)
    return Fraction(comb(DRAWN, hits) * comb(NUMBERS - DRAWN, picks - hits), comb(NUMBERS, picks))


def row_rtp(row: Sequence[int], scale: int) -> Fraction:
    """The return to player of a row: the expected payout per unit of stake, before any maximum win."""
    return _moment(row, 1) / scale


def row_variance(row: Sequence[int], scale: int) -> Fraction:
    """The variance of the payout per unit of stake, before any maximum win."""
    return _moment(row, 2) / scale**2 - row_rtp(row, scale) ** 2


def row_hit_frequency(row: Sequence[int]) -> Fraction:
    """The probability that a bet on this row is paid anything at all (which may be less than its stake)."""
    return sum((hit_probability(len(row) - 1, hits) for hits, paid in enumerate(row) if paid), Fraction(0))


def _moment(row: Sequence[int], power: int) -> Fraction:
    """The expectation of multiplier**power over the hits of this row."""
    picks = len(row) - 1
    return sum((hit_probability(picks, hits) * paid**power for hits, paid in enumerate(row)), Fraction(0))
