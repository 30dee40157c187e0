"""The revenue report: what an operator's players staked and were paid, by currency and day, hour or room. Pure.

Figures are kept by the hour in which a round was settled, so a report begins and ends at whole hours of UTC. Returns
are exact fractions until `ratio_text`. Not here: where figures come from, and how an answer is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

from keno.game.odds import PARTS
from keno.phrases import said
from keno.requests import Grouping, RequestError

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
SPAN_DAYS_MAX: Final = 92
"""A quarter of a year."""
SPAN_DAYS_MAX_BY_HOUR: Final = 31
RATIO_DECIMALS: Final = 6

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """What is reported: the rounds settled from `from_ms` on and before `to_ms`, both beginnings of hours."""

    from_ms: int
    to_ms: int
    group_by: Grouping

    @classmethod
    def read(cls, begin: str, end: str, group_by: Grouping) -> Period:
        """The period between two times of the form `keno.requests.ReportTime`. Raises RequestError `invalid_period`."""
        from_ms, to_ms = _instant_ms("from", begin), _instant_ms("to", end)
        if from_ms >= to_ms:
            raise RequestError("invalid_period", "to is not after from", "to")
        days_max = SPAN_DAYS_MAX_BY_HOUR if group_by == "hour" else SPAN_DAYS_MAX
        if to_ms - from_ms > days_max * DAY_MS:
            raise RequestError(
                "invalid_period",
                said(
                    "to is more than {days} days after from, too long for group_by={group}",
                    days=days_max,
                    group=group_by,
                ),
                "to",
            )
        return cls(from_ms, to_ms, group_by)


@dataclass(frozen=True, slots=True)
class Figures:
    """The sums of a group of rounds in one currency.

    `group` is the beginning of the day or hour in milliseconds, the room's id, or None where all rounds are one group.
    `expected_parts` is what the bets were expected to be paid, in 1/`PARTS` of a minor unit; None where that is not
    known of all rounds. There are no figures without a bet: `staked_minor` is above 0.
    """

    group: int | str | None
    currency: str
    rounds_count: int
    bets_count: int
    staked_minor: int
    paid_minor: int
    expected_parts: int | None

    @property
    def ggr_minor(self) -> int:
        """Gross gaming revenue: what was staked and not paid; below 0 where players won more."""
        return self.staked_minor - self.paid_minor

    @property
    def rtp(self) -> Fraction:
        """What was paid of each unit staked."""
        return Fraction(self.paid_minor, self.staked_minor)

    @property
    def rtp_expected(self) -> Fraction | None:
        """What the paytables return of these stakes on average, maximum wins of a bet included."""
        return None if self.expected_parts is None else Fraction(self.expected_parts, PARTS * self.staked_minor)


@dataclass(frozen=True, slots=True)
class Revenue:
    """A report: its figures by group and currency, in that order, as they were at `as_of_ms` or later."""

    period: Period
    as_of_ms: int
    figures: list[Figures]


def period_text(group_by: Grouping, start_ms: int) -> str:
    """The day or hour that begins at an instant, spelled as a report may be asked for."""
    start = _EPOCH + timedelta(milliseconds=start_ms)
    return f"{start:%Y-%m-%d}" if group_by == "day" else f"{start:%Y-%m-%dT%H:00:00Z}"


def ratio_text(value: Fraction) -> str:
    """A ratio of at least 0 with six decimals, rounded half to even in exact arithmetic: 47/50 is "0.940000"."""
    whole, fraction = divmod(round(value * 10**RATIO_DECIMALS), 10**RATIO_DECIMALS)
    return f"{whole}.{fraction:0{RATIO_DECIMALS}d}"


def _instant_ms(name: str, text: str) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError("invalid_period", said("{name} is no day of the calendar", name=name), name) from None
    return (instant.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
