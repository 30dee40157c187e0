"""Money as integers of minor units: currencies, their exponents, and text for people.

Nothing here converts, rounds or computes with money; an amount is an `int` of minor units (cents of EUR, yen of JPY,
satoshi of BTC) from the moment it is decoded. Exponents of national currencies are those of ISO 4217; those of crypto
currencies are the number of decimals their ledgers use, at most `EXPONENT_MAX`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from keno.errors import KenoError

EXPONENT_MAX = 8

MINOR_MAX = 2**53 - 1
"""The largest amount, in minor units. Amounts travel as JSON integers, and readers that parse JSON numbers as IEEE 754
doubles (every browser) represent integers exactly up to here. A signed 64-bit sum of a thousand amounts still fits."""

CODE_BYTES_MAX = 8
"""A currency code is ASCII and fits the 8-byte currency field of a keno1 bet leaf."""


class MoneyError(KenoError):
    """A currency is not known, or an amount is not a number of minor units within the limits."""


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency: `code` in upper-case ASCII, and `exponent`, the decimals of its minor unit (EUR 2: 1 EUR = 10**2)."""

    code: str
    exponent: int


_CODES_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    6: "TRX USDC USDT XRP",
    # Ether counts 18 decimals on its ledger; 64-bit amounts and MINOR_MAX leave room for 8 of them.
    8: "BCH BTC DOGE ETH LTC",
}

CURRENCIES: MappingProxyType[str, Currency] = MappingProxyType(
    {code: Currency(code, exponent) for exponent, codes in _CODES_BY_EXPONENT.items() for code in codes.split()}
)
"""Every currency that a room may offer, by code."""


def currency(code: str) -> Currency:
    """The currency named `code` (exact, upper case). Raises `MoneyError` if there is none."""
    found = CURRENCIES.get(code)
    if found is None:
        raise MoneyError(f"unknown currency {code!r}: expected an ISO 4217 code or a supported crypto code, upper case")
    return found


def checked_minor(amount_minor: object) -> int:
    """`amount_minor` itself, if it is an `int` (not a `bool`) in 0..MINOR_MAX; otherwise `MoneyError`."""
    if type(amount_minor) is not int:
        raise MoneyError(f"an amount is an integer of minor units, not {type(amount_minor).__name__}")
    if not 0 <= amount_minor <= MINOR_MAX:
        raise MoneyError(f"amount of {amount_minor} minor units is outside 0..{MINOR_MAX}")
    return amount_minor


def format_minor(amount_minor: int, in_currency: Currency) -> str:
    """`amount_minor` as people write it, e.g. 1234 EUR cents as "12.34 EUR"; differences may be negative ("-0.05 EUR").

    All decimals of the currency are shown, with a point and no grouping: the same text in every locale.
    """
    sign = "-" if amount_minor < 0 else ""
    whole, fraction = divmod(abs(amount_minor), 10**in_currency.exponent)
    decimals = f".{fraction:0{in_currency.exponent}d}" if in_currency.exponent else ""
    return f"{sign}{whole}{decimals} {in_currency.code}"
