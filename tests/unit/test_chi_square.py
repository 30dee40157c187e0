"""The tail of the chi-square distribution, against its closed forms and the limits that the design states."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import erfc, sqrt

import pytest

from keno.fairness.rng.chi_square import exceeded_with, exceeding


def exact(value: float, degrees: int) -> float:
    """For even degrees of freedom 2k: e^-x (1 + x + ... + x^(k-1)/(k-1)!) at x = value / 2, in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        x = Decimal(value) / 2
        term = total = Decimal(1)
        for n in range(1, degrees // 2):
            term = term * x / n
            total += term
        return float(total * (-x).exp())


@pytest.mark.parametrize("degrees", [2, 8, 10, 12, 100, 1_500, 3_080, 6_400])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.9, 1.0, 1.01, 1.1, 1.5, 3.0])
def test_the_tail_of_even_degrees_is_the_sum_of_its_closed_form(degrees: int, ratio: float) -> None:
    value = ratio * degrees
    assert exceeding(value, degrees) == pytest.approx(exact(value, degrees), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("value", [0.001, 0.4, 1.0, 3.841, 15.0, 60.0])
def test_the_tail_of_one_degree_is_that_of_the_normal_distribution(value: float) -> None:
    assert exceeding(value, 1) == pytest.approx(erfc(sqrt(value / 2)), rel=1e-10)


@pytest.mark.parametrize(("degrees", "limit"), [(79, 134.5), (3_080, 3_380), (8, 31.8), (12, 39.1)])
def test_the_limits_of_the_design_are_exceeded_once_in_ten_thousand(degrees: int, limit: float) -> None:
    assert exceeded_with(1e-4, degrees) == pytest.approx(limit, abs=0.5 if limit > 1_000 else 0.05)


@pytest.mark.parametrize("probability", [0.999, 0.5, 0.05, 1e-4, 1e-8])
def test_a_value_is_exceeded_as_often_as_it_was_asked_for(probability: float) -> None:
    for degrees in (1, 15, 1_501):
        assert exceeding(exceeded_with(probability, degrees), degrees) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(("value", "degrees"), [(1.0, 0), (-0.1, 5), (float("nan"), 5)])
def test_what_is_outside_of_the_distribution_is_refused(value: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        exceeding(value, degrees)
    assert exceeding(0.0, 5) == 1.0
