"""Currencies and amounts in minor units."""

from __future__ import annotations

import pytest

from keno.money import (
    CODE_BYTES_MAX,
    CURRENCIES,
    EXPONENT_MAX,
    MINOR_MAX,
    MoneyError,
    checked_minor,
    currency,
    format_minor,
)


@pytest.mark.parametrize(
    ("code", "exponent"),
    [("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("USDT", 6), ("BTC", 8), ("ISK", 0), ("HUF", 2)],
)
def test_a_currency_has_the_exponent_of_its_standard(code: str, exponent: int) -> None:
    assert currency(code).exponent == exponent


def test_every_currency_fits_the_leaf_field_and_the_exponent_limit() -> None:
    for code, known in CURRENCIES.items():
        assert known.code == code
        assert code.isascii()
        assert code.isupper()
        assert len(code) <= CODE_BYTES_MAX
        assert 0 <= known.exponent <= EXPONENT_MAX


@pytest.mark.parametrize("code", ["", "eur", "EUR ", "XXX", "EURO"])
def test_an_unknown_currency_is_refused_by_name(code: str) -> None:
    with pytest.raises(MoneyError, match="unknown currency"):
        currency(code)


@pytest.mark.parametrize(
    ("minor", "code", "text"),
    [
        (1234, "EUR", "12.34 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (-1234, "EUR", "-12.34 EUR"),
        (0, "EUR", "0.00 EUR"),
        (1234, "JPY", "1234 JPY"),
        (1, "BTC", "0.00000001 BTC"),
        (1_500, "KWD", "1.500 KWD"),
        (MINOR_MAX, "EUR", "90071992547409.91 EUR"),
    ],
)
def test_an_amount_is_written_with_all_decimals_of_its_currency(minor: int, code: str, text: str) -> None:
    assert format_minor(minor, currency(code)) == text


def test_the_largest_amount_is_the_last_integer_that_a_double_tells_from_its_neighbours() -> None:
    assert float(MINOR_MAX) == MINOR_MAX
    assert float(MINOR_MAX + 1) == float(MINOR_MAX + 2)


@pytest.mark.parametrize("amount", [0, 1, MINOR_MAX])
def test_an_amount_within_the_limits_is_returned_unchanged(amount: int) -> None:
    assert checked_minor(amount) == amount


@pytest.mark.parametrize("amount", [-1, MINOR_MAX + 1, True, 1.0, "1", None])
def test_what_is_not_an_amount_of_minor_units_is_refused(amount: object) -> None:
    with pytest.raises(MoneyError):
        checked_minor(amount)
