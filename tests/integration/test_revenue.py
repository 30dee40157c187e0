"""The revenue report against sums over the bets themselves: exact, by settlement, and an operator's own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from support.money import DEFAULT_PAYTABLE, OTHER_PAYTABLE, Floor, floor_rules, open_floor

from keno.bets.settler import Settler
from keno.game.odds import PARTS
from keno.game.paytable import Paytable
from keno.reporting.revenue import DAY_MS, HOUR_MS, Figures, Period, Revenue
from keno.reporting.service import ReportingService, ReportsBusyError
from keno.requests import Grouping

PAYTABLES = {paytable.hash: paytable for paytable in (DEFAULT_PAYTABLE, OTHER_PAYTABLE)}
WIN_MAX_MINOR = {"EUR": 20_000, "USD": 150_000, "BTC": 5_000_000}
ROUND_WIN_MAX_MINOR = 60_000
FROM_MS = 20_000 * DAY_MS
"""A day long before the rounds here; they are said to have been settled around it."""


@pytest.fixture
async def floor(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    its_rules = floor_rules(round_win_max_minor=ROUND_WIN_MAX_MINOR, **WIN_MAX_MINOR)
    async with open_floor(pool, vault_pool, owner_pool, its_rules) as opened:
        yield opened


@dataclass(frozen=True)
class Placed:
    """A bet of a settled round, as it stands in the database."""

    operator_id: UUID
    room_id: UUID
    round_id: int
    ended_ms: int
    currency: str
    picks: int
    stake_minor: int
    paid_minor: int
    paytable: bytes

    @property
    def expected(self) -> Fraction:
        """What it is paid on average, in minor units."""
        paytable: Paytable = PAYTABLES[self.paytable]
        wins = (
            min(self.stake_minor * multiplier // paytable.scale, WIN_MAX_MINOR[self.currency])
            for multiplier in paytable.multipliers[self.picks]
        )
        ways = ((comb(20, hits) * comb(60, self.picks - hits), win) for hits, win in enumerate(wins))
        return sum((Fraction(count * win, comb(80, self.picks)) for count, win in ways), Fraction(0))


async def placed_bets(floor: Floor) -> list[Placed]:
    rows = await floor.owner_pool.fetch(
        """
        SELECT b.operator_id, r.room_id, r.id, r.ended_ms, a.currency, bit_count(b.picks), b.stake_minor,
            coalesce(p.payout_minor, 0), t.paytable_hash
        FROM bets AS b
        JOIN accounts AS a ON a.id = b.account_id
        JOIN rounds AS r ON r.id = b.round_id AND r.phase = 'settled'
        JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        LEFT JOIN payouts AS p ON p.bet_id = b.id AND p.round_id = b.round_id
        """
    )
    return [Placed(*row.values()) for row in rows]


GROUPS: dict[Grouping, Callable[[Placed], int | str | None]] = {
    "day": lambda bet: bet.ended_ms // DAY_MS * DAY_MS,
    "hour": lambda bet: bet.ended_ms // HOUR_MS * HOUR_MS,
    "room": lambda bet: str(bet.room_id),
    "currency": lambda bet: None,
}


def sums(bets: Iterable[Placed], operator_id: UUID, period: Period) -> list[Figures]:
    groups: dict[tuple[Any, str], list[Placed]] = {}
    for bet in bets:
        if bet.operator_id == operator_id and period.from_ms <= bet.ended_ms < period.to_ms:
            groups.setdefault((GROUPS[period.group_by](bet), bet.currency), []).append(bet)
    figures = []
    for (group, code), these in sorted(groups.items(), key=lambda each: (each[0][0] or 0, each[0][1])):
        parts = sum((bet.expected for bet in these), Fraction(0)) * PARTS
        assert parts.denominator == 1
        rounds = len({bet.round_id for bet in these})
        staked, paid = sum(bet.stake_minor for bet in these), sum(bet.paid_minor for bet in these)
        figures.append(Figures(group, code, rounds, len(these), staked, paid, int(parts)))
    return figures


async def play(floor: Floor, rng: random.Random) -> tuple[UUID, UUID]:
    """Two operators' bets in two rooms over four rounds, the third void in one; settled at hours all over two days."""
    other = await floor.add_operator("EUR", "BTC")
    mine = (floor.operator_id, ("EUR", "USD"))
    theirs = (other, ("EUR", "BTC"))
    for operator_id, codes in (mine, theirs):
        for code in codes:
            await floor.fund("bob", 10**9, code, operator_id)
    rules = floor_rules(round_win_max_minor=ROUND_WIN_MAX_MINOR, **WIN_MAX_MINOR)
    rooms = [floor.room, await floor.add_room(its_rules=rules)]
    await floor.hall.tick()
    for number in range(1, 5):
        bets = []
        if number == 1:
            # Whatever is drawn: bob wins more than the maximum of the round with 20 of these.
            bets += [floor.bet("bob", 10_000, room_id=floor.room.id, picks=[pick]) for pick in range(1, 81)]
        for _ in range(rng.randrange(1, 120)):
            operator_id, codes = rng.choice((mine, theirs))
            bets.append(
                floor.bet(
                    "bob",
                    rng.choice((100, 300, 2_500, 10_000, 100 * rng.randrange(1, 101))),
                    operator_id=operator_id,
                    currency=rng.choice(codes),
                    room_id=rng.choice(rooms).id,
                    picks=rng.sample(range(1, 81), rng.randrange(1, 11)),
                    paytable=rng.choice((None, *PAYTABLES)),
                )
            )
        await floor.place(*bets)
        for room in rooms:
            if number == 3 and room is floor.room:
                await floor.void(number, room)
            else:
                await floor.settle(number, room)
        await floor.hall.tick()
    for row in await floor.owner_pool.fetch("SELECT id FROM rounds WHERE phase = 'settled'"):
        edge = FROM_MS + rng.randrange(48) * HOUR_MS
        ended_ms = edge + rng.choice((-1, 0, 1, HOUR_MS - 1, rng.randrange(HOUR_MS)))
        await floor.hall.tamper("UPDATE rounds SET ended_ms = $2 WHERE id = $1", row["id"], ended_ms)
    return floor.operator_id, other


async def record(floor: Floor) -> ReportingService:
    reporting = ReportingService(floor.pool)
    await reporting.record_round(*await floor.events("round.settled"))
    return reporting


@pytest.mark.parametrize("seed", range(4))
async def test_a_report_is_the_sum_of_the_bets_of_the_settled_rounds_in_its_period(floor: Floor, seed: int) -> None:
    rng = random.Random(seed)
    operators = await play(floor, rng)
    reporting, bets = await record(floor), await placed_bets(floor)
    assert len({bet.currency for bet in bets}) == 3
    periods = [(FROM_MS - HOUR_MS, FROM_MS + 3 * DAY_MS), (FROM_MS, FROM_MS + DAY_MS)]
    periods += [sorted(FROM_MS + rng.randrange(-1, 50) * HOUR_MS for _ in range(2)) for _ in range(8)]  # type: ignore[misc]
    for from_ms, to_ms in periods:
        for group_by in GROUPS:
            period = Period(from_ms, to_ms, group_by)
            for operator_id in operators:
                report = await reporting.revenue(operator_id, period)
                assert report.figures == sums(bets, operator_id, period)
    everything = Period(FROM_MS - HOUR_MS, FROM_MS + 3 * DAY_MS, "currency")
    assert sum(each.bets_count for each in (await reporting.revenue(operators[0], everything)).figures) == len(
        [bet for bet in bets if bet.operator_id == operators[0]]
    )
    assert await floor.owner_pool.fetchval("SELECT sum(cut_minor) FROM round_totals") > 0
    # Nobody has credited the rounds, which are said to have ended long ago.
    assert set(await floor.broken()) == {"11_nothing_waits_too_long"}


async def test_what_was_expected_is_what_is_paid_over_all_outcomes_of_a_number(floor: Floor) -> None:
    await floor.fund("bob", 10_000_000)
    await floor.place(*(floor.bet("bob", 2_500, picks=(number,)) for number in range(1, 81)))
    await floor.settle()
    reporting = await record(floor)
    now_ms = await floor.owner_pool.fetchval("SELECT now_ms()")
    hour_ms = now_ms // HOUR_MS * HOUR_MS
    (figures,) = (
        await reporting.revenue(floor.operator_id, Period(hour_ms - DAY_MS, hour_ms + DAY_MS, "currency"))
    ).figures
    # 20 of the 80 win 9,400 each; of one player's, the round's maximum leaves the first six and a part of the next.
    assert (figures.bets_count, figures.staked_minor, figures.paid_minor) == (80, 200_000, ROUND_WIN_MAX_MINOR)
    assert figures.rtp_expected == Fraction(20 * 9_400, 200_000)
    assert figures.ggr_minor == 200_000 - ROUND_WIN_MAX_MINOR


async def test_a_round_counts_from_its_settlement_on_and_never_where_it_is_void(floor: Floor) -> None:
    around = Period(
        (now := await floor.owner_pool.fetchval("SELECT now_ms()") // HOUR_MS * HOUR_MS) - DAY_MS, now + DAY_MS, "day"
    )
    await floor.place(floor.bet(stake_minor=300))
    await floor.draw()
    reporting = await record(floor)
    drawn = await reporting.revenue(floor.operator_id, around)
    assert drawn.figures == []
    await floor.hall.settler.step()
    settled = await (await record(floor)).revenue(floor.operator_id, around)
    assert [(each.rounds_count, each.staked_minor) for each in settled.figures] == [(1, 300)]
    assert drawn.as_of_ms <= settled.as_of_ms
    await floor.hall.tick()
    await floor.place(floor.bet(stake_minor=500))
    await floor.void(2)
    assert (await (await record(floor)).revenue(floor.operator_id, around)).figures == settled.figures


async def test_what_was_settled_before_there_was_a_sum_has_no_expected_return(floor: Floor) -> None:
    await play(floor, random.Random(9))
    bets = await placed_bets(floor)
    old = min((bet for bet in bets if bet.operator_id == floor.operator_id), key=lambda bet: bet.round_id)
    await floor.hall.tamper("UPDATE round_totals SET expected_parts = NULL WHERE round_id = $1", old.round_id)
    reporting = await record(floor)
    for group_by, group in GROUPS.items():
        period = Period(FROM_MS - HOUR_MS, FROM_MS + 3 * DAY_MS, group_by)
        of_old = {
            (group(bet), bet.currency)
            for bet in bets
            if bet.round_id == old.round_id and bet.operator_id == floor.operator_id
        }
        figures = (await reporting.revenue(floor.operator_id, period)).figures
        assert {(each.group, each.currency) for each in figures if each.rtp_expected is None} == of_old
        exact = [each for each in sums(bets, floor.operator_id, period) if (each.group, each.currency) not in of_old]
        assert [each for each in figures if each.rtp_expected is not None] == exact
    assert "10_expected_payouts_follow_the_odds" not in await floor.broken()


async def test_an_operator_that_asks_for_many_reports_at_once_is_let_have_two(floor: Floor) -> None:
    other, reporting = await floor.add_operator("EUR"), ReportingService(floor.pool)
    period = Period(FROM_MS, FROM_MS + DAY_MS, "day")
    asked = [reporting.revenue(operator_id, period) for operator_id in (*[floor.operator_id] * 5, *[other] * 2)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Revenue] * 2 + [ReportsBusyError] * 3 + [Revenue] * 2
    assert (await reporting.revenue(floor.operator_id, period)).figures == []


async def test_a_round_in_chunks_has_the_expectation_of_its_bets_or_none(floor: Floor) -> None:
    await floor.fund("bob", 10_000_000)
    for number, forget in ((1, False), (2, True)):
        await floor.place(*(floor.bet("bob", 900, picks=range(at, at + at % 10 + 1)) for at in range(1, 71)))
        await floor.draw(number)
        settler = Settler(floor.pool, chunk_bets=20)
        await settler.settle_chunk()
        if forget:
            await floor.hall.tamper("UPDATE settlement_chunks SET expected_parts = NULL WHERE round_id <> 1")
        while await settler.step() == 0:
            pass
        await floor.hall.tick()
    bets = await placed_bets(floor)
    first, second = sorted({bet.round_id for bet in bets})
    totals = dict(await floor.owner_pool.fetch("SELECT round_id, expected_parts FROM round_totals"))  # type: ignore[arg-type]
    expected = sum((bet.expected for bet in bets if bet.round_id == first), Fraction(0))
    assert totals == {first: int(expected * PARTS), second: None}
    assert await floor.broken() == {}
