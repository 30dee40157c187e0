"""How likely fair chance exceeds a value of the chi-square distribution, and which value it exceeds that often.

Pure, in the standard library alone: the regularised incomplete gamma function by its series and by its continued
fraction (Abramowitz and Stegun, 6.5.29 and 6.5.31), to about 10 digits for up to some 10,000 degrees of freedom.
"""

from functools import cache
from math import exp, lgamma, log, sqrt

_PRECISION = 1e-15
_TERMS_MAX = 100_000
_TINY = 1e-300


def exceeding(value: float, degrees: int) -> float:
    """The probability that a chi-square variable of `degrees` >= 1 degrees of freedom is `value` >= 0 or more."""
    if degrees < 1 or not value >= 0:
        raise ValueError("the degrees of freedom are 1 or more, the value 0 or more")
    a, x = degrees / 2, value / 2
    if x == 0:
        return 1.0
    scale = exp(a * log(x) - x - lgamma(a))
    return 1 - scale * _series(a, x) if x < a + 1 else scale * _continued_fraction(a, x)


@cache
def exceeded_with(probability: float, degrees: int) -> float:
    """The value that a chi-square variable exceeds with `probability` (0 < probability < 1)."""
    if not 0 < probability < 1:
        raise ValueError("the probability lies between 0 and 1")
    low, high = 0.0, degrees + 20 * sqrt(2 * degrees)
    while exceeding(high, degrees) > probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if exceeding(middle, degrees) > probability:
            low = middle
        else:
            high = middle
    return high


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, _TERMS_MAX):
        term *= x / (a + n)
        total += term
        if term < total * _PRECISION:
            return total
    raise ArithmeticError("the series did not converge")


def _continued_fraction(a: float, x: float) -> float:
    """By Lentz's method: 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...)))."""
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    total = d
    for n in range(1, _TERMS_MAX):
        factor = n * (a - n)
        b += 2
        d = 1 / (factor * d + b or _TINY)
        c = b + factor / c or _TINY
        total *= c * d
        if abs(c * d - 1) < _PRECISION:
            return total
    raise ArithmeticError("the continued fraction did not converge")
