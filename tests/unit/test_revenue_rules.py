"""The revenue report as rules and text: which periods are reported, how a ratio is rounded, and what a CSV says."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from math import comb, lcm
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rest.reports import csv_of, prefers_csv, row_members
from keno.game.odds import PARTS, hit_probability
from keno.reporting.revenue import DAY_MS, HOUR_MS, Figures, Period, Revenue, period_text, ratio_text
from keno.requests import Grouping, RequestError

groupings: st.SearchStrategy[Grouping] = st.sampled_from(["day", "hour", "room", "currency"])


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_a_period_is_between_days_or_hours_of_utc() -> None:
    assert Period.read("2026-11-01", "2026-11-02", "day") == Period(at("2026-11-01"), at("2026-11-02"), "day")
    hours = Period.read("2026-11-01T13:00:00Z", "2026-11-01T14:00:00Z", "hour")
    assert hours == Period(at("2026-11-01T13:00"), at("2026-11-01T14:00"), "hour")
    mixed = Period.read("2026-11-01T13:00:00Z", "2026-11-02", "room")
    assert (mixed.from_ms, mixed.to_ms) == (at("2026-11-01T13:00"), at("2026-11-02"))


@pytest.mark.parametrize(
    ("begin", "end", "group_by", "field", "detail"),
    [
        ("2026-02-29", "2026-03-01", "day", "from", "from is no day of the calendar"),
        ("2026-02-28", "2026-02-31", "day", "to", "to is no day of the calendar"),
        ("0000-01-01", "2026-02-01", "day", "from", "from is no day of the calendar"),
        ("2026-02-28", "2026-02-28", "day", "to", "to is not after from"),
        ("2026-02-28T01:00:00Z", "2026-02-28", "day", "to", "to is not after from"),
        ("2026-01-01", "2026-04-04", "day", "to", "more than 92 days after from, too long for group_by=day"),
        ("2026-01-01", "2026-04-03T01:00:00Z", "currency", "to", "more than 92 days"),
        (
            "2026-01-01",
            "2026-02-01T01:00:00Z",
            "hour",
            "to",
            "more than 31 days after from, too long for group_by=hour",
        ),
        ("0001-01-01", "9999-12-31", "room", "to", "more than 92 days"),
    ],
)
def test_a_period_that_is_not_reported_is_refused_by_what_is_wrong_with_it(
    begin: str, end: str, group_by: Grouping, field: str, detail: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(detail)) as refused:
        Period.read(begin, end, group_by)
    assert (refused.value.code, refused.value.field) == ("invalid_period", field)


def test_the_longest_periods_are_reported() -> None:
    assert Period.read("2026-01-01", "2026-04-03", "day").to_ms == at("2026-04-03")
    assert Period.read("2026-01-01", "2026-02-01", "hour").to_ms == at("2026-02-01")


@given(st.integers(0, 4 * 10**6))
def test_the_beginning_of_a_group_is_spelled_as_it_may_be_asked_for(hours: int) -> None:
    for group_by, start_ms in (("hour", hours * HOUR_MS), ("day", hours * HOUR_MS // DAY_MS * DAY_MS)):
        text = period_text(group_by, start_ms)  # type: ignore[arg-type]
        assert at(text) == start_ms


@given(st.fractions(min_value=0, max_value=10**9))
def test_a_ratio_has_six_decimals_rounded_half_to_even(value: Fraction) -> None:
    with localcontext(prec=200):
        exact = Decimal(value.numerator) / value.denominator
        assert ratio_text(value) == str(exact.quantize(Decimal("0.000001"), ROUND_HALF_EVEN))


def test_a_ratio_between_two_is_rounded_to_the_even_one() -> None:
    assert [ratio_text(Fraction(n, 2_000_000)) for n in (1, 2, 3, 1_879_999)] == [
        "0.000000", "0.000001", "0.000002", "0.940000",
    ]  # fmt: skip


def test_parts_make_whole_numbers_of_all_probabilities_and_no_fewer_do() -> None:
    assert PARTS == lcm(*(comb(80, picks) for picks in range(1, 11))) == 115_254_447_708_400
    assert all((PARTS * hit_probability(picks, hits)).denominator == 1 for picks in range(1, 11) for hits in range(11))


def figures_of(group_by: Grouping) -> st.SearchStrategy[list[Figures]]:
    groups: dict[Grouping, st.SearchStrategy[Any]] = {
        "day": st.integers(0, 30_000).map(lambda days: days * DAY_MS),
        "hour": st.integers(0, 700_000).map(lambda hours: hours * HOUR_MS),
        "room": st.uuids().map(str),
        "currency": st.none(),
    }
    money = st.integers(0, 2**70)
    figures = st.builds(
        Figures,
        group=groups[group_by],
        currency=st.sampled_from(["EUR", "BTC", "USDT"]),
        rounds_count=st.integers(1, 2**40),
        bets_count=st.integers(1, 2**40),
        staked_minor=money.map(lambda minor: minor + 1),
        paid_minor=money,
        expected_parts=st.none() | st.integers(0, PARTS * 2**70),
    )
    return st.lists(figures, max_size=8)


@given(groupings.flatmap(lambda group_by: st.tuples(st.just(group_by), figures_of(group_by))))
def test_a_csv_read_back_is_what_the_json_says(report: tuple[Grouping, list[Figures]]) -> None:
    group_by, figures = report
    text = csv_of(Revenue(Period(0, HOUR_MS, group_by), 1_763_853_600_123, figures)).decode()
    assert text.endswith("\r\n")
    read = list(csv.DictReader(io.StringIO(text)))
    expected = [row_members(group_by, each) | {"as_of_ms": 1_763_853_600_123} for each in figures]
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]
    # A number below 0 begins with a sign; nothing else that a spreadsheet could run is there.
    assert all(
        re.fullmatch(r"-?[0-9]+(\.[0-9]+)?|[0-9A-Za-z][0-9A-Za-z:_-]*|", cell)
        for cell in ",".join(text.split("\r\n")).split(",")
    )


def test_a_row_names_its_group_and_says_what_is_not_known() -> None:
    room = str(UUID(int=7))
    figures = Figures(room, "EUR", 2, 3, 700, 1_000, None)
    assert row_members("room", figures) == {
        "room": room, "currency": "EUR", "rounds": 2, "bets": 3, "turnover_minor": 700, "payout_minor": 1_000,
        "ggr_minor": -300, "rtp": "1.428571", "rtp_expected": None,
    }  # fmt: skip
    half = Figures(None, "EUR", 2, 3, 700, 0, 350 * PARTS)
    assert "room" not in row_members("currency", half)
    assert row_members("currency", half)["rtp_expected"] == "0.500000"


@pytest.mark.parametrize(
    ("accept", "prefers"),
    [
        ([], False),
        (["*/*"], False),
        (["application/json"], False),
        (["text/csv"], True),
        (["Text/CSV"], True),
        (["text/csv, */*;q=0.1"], True),
        (["text/csv", "application/json;q=0.9"], True),
        (["text/csv, application/json"], False),
        (["text/csv;q=0.5, application/*"], False),
        (["text/csv; header=present ; q=0.5, application/json; q=0.4"], True),
        (["text/csv;q=0"], False),
        (["text/csv;q=2"], False),
        (["text/csv;q=nan"], False),
        (["text/*"], False),
        (["text/html"], False),
        ([";;,,q=1"], False),
    ],
)
def test_csv_is_for_who_prefers_it(accept: list[str], prefers: bool) -> None:
    assert prefers_csv(accept) is prefers
