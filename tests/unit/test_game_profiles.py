"""The shipped paytables: returns, shape, frozen bytes, and the guide that describes them."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from pathlib import Path

import pytest

from keno.game.odds import hit_probability
from keno.game.profiles import RTP_PROFILES, ProfileError, rtp_profile, shipped_paytable
from keno.game.rtp import PaytableRow, describe, percent_text

NAMES = ["92", "94", "96"]
GUIDE = Path(__file__).parents[2] / "docs" / "paytables.md"


def decimal_text(value: Fraction) -> str:
    """A multiplier as people write it: 9.3, 41.25, 100,000."""
    whole, hundredths = divmod(int(value * 100), 100)
    return f"{whole:,}.{hundredths:02d}".rstrip("0").rstrip(".")


def tenths_text(value: Fraction) -> str:
    tenths = round(value * 10)
    return f"{tenths // 10}.{tenths % 10}"


def deviation_text(row: PaytableRow) -> str:
    """The standard deviation to one decimal, rounded down, in integer arithmetic."""
    tenths = isqrt(int(row.variance * 100))
    return f"{tenths // 10}.{tenths % 10}"


def guide_tables(name: str) -> str:
    """The section of the guide on one paytable, as Markdown."""
    paytable = shipped_paytable(name)
    rows = describe(paytable)
    lines = [
        f"`{paytable.name}` version {paytable.version}, hash `{paytable.hash.hex()}`",
        "",
        "| hits | " + " | ".join(f"{row.picks} picks" if row.picks > 1 else "1 pick" for row in rows) + " |",
        "|--:|" + "--:|" * len(rows),
    ]
    for hits in range(11):
        cells = ["" if hits > row.picks else decimal_text(row.multipliers[hits]) for row in rows]
        lines.append(f"| {hits} | " + " | ".join("-" if cell == "0" else cell for cell in cells) + " |")
    lines += [
        "",
        "| picks | return | exactly | paid 1 in | standard deviation | top prize | 1 in |",
        "|--:|--:|:--|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.picks} | {percent_text(row.rtp)} | {row.rtp} | {tenths_text(1 / row.hit_frequency)} | "
        f"{deviation_text(row)} | {decimal_text(row.top_multiplier)} | {round(1 / row.top_probability):,} |"
        for row in rows
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_every_pick_count_returns_within_a_fifth_of_a_point_of_its_profile(name: str) -> None:
    profile = rtp_profile(name)
    assert profile.rtp == Fraction(int(name), 100)
    assert profile.rtp_bounds == (profile.rtp - Fraction(1, 200), profile.rtp + Fraction(1, 200))
    for picks in range(1, 11):
        assert abs(shipped_paytable(name).rtp[picks] - profile.rtp) <= Fraction(1, 500)


@pytest.mark.parametrize("name", NAMES)
def test_more_hits_never_pay_less_once_they_pay_the_stake_back(name: str) -> None:
    for picks, row in enumerate(shipped_paytable(name).multipliers[1:], start=1):
        from_quarter = row[-(-picks // 4) :]  # what is paid for few hits is a consolation, not part of the ladder
        assert list(from_quarter) == sorted(from_quarter)
        assert row[-1] == max(row)


@pytest.mark.parametrize("name", NAMES)
def test_a_bet_is_paid_between_once_in_two_and_once_in_eleven_rounds(name: str) -> None:
    for row in describe(shipped_paytable(name)):
        assert 2 < 1 / row.hit_frequency < 11


@pytest.mark.parametrize("name", NAMES)
def test_half_a_unit_of_two_decimals_is_a_step_that_always_pays_exactly(name: str) -> None:
    paytable = shipped_paytable(name)
    assert all(50 * multiplier % paytable.scale == 0 for row in paytable.multipliers for multiplier in row)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_hit_is_paid_for_eight_and_more_picks_only(name: str) -> None:
    paid = [picks for picks, row in enumerate(shipped_paytable(name).multipliers) if row and row[0]]
    assert paid == [8, 9, 10]


def test_a_profile_with_a_higher_return_never_pays_less_for_the_same_hits() -> None:
    tables = [shipped_paytable(name).multipliers for name in NAMES]
    for picks in range(1, 11):
        for hits in range(picks + 1):
            prizes = [table[picks][hits] for table in tables]
            assert prizes == sorted(prizes)


@pytest.mark.parametrize(
    ("name", "document_hash"),
    [
        ("92", "e9cee14fb0f18a07e24da64060295e8f444c783f308bb94199ccd4323ce5397b"),
        ("94", "6e76e394ebf7af025f099f200e4672fbb999e5c3b6f647f8a3c3b6c02227a9df"),
        ("96", "9b6486f87cf864812b20ecbfad397ed81835d9252099b22ad119268df608c315"),
    ],
)
def test_a_published_paytable_never_changes(name: str, document_hash: str) -> None:
    paytable = shipped_paytable(name)
    assert (paytable.name, paytable.version, paytable.hash.hex()) == (f"keno-{name}", 1, document_hash)


def test_there_are_three_profiles_and_another_name_is_refused() -> None:
    assert list(RTP_PROFILES) == NAMES
    with pytest.raises(ProfileError, match="unknown RTP profile '95'"):
        shipped_paytable("95")


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_shows_the_figures_of_the_shipped_paytable(name: str) -> None:
    assert guide_tables(name) in GUIDE.read_text(encoding="utf-8")


def test_the_guide_shows_the_odds_of_every_number_of_hits() -> None:
    lines = ["| hits | " + " | ".join(str(picks) for picks in range(1, 11)) + " |", "|--:|" + "--:|" * 10]
    for hits in range(11):
        cells = [f"{float(1 / hit_probability(picks, hits)):,.2f}" if hits <= picks else "" for picks in range(1, 11)]
        lines.append(f"| {hits} | " + " | ".join(cells) + " |")
    assert "\n".join(lines) in GUIDE.read_text(encoding="utf-8")
