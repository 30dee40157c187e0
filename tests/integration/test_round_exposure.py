"""What a round may cost an operator: the sum of what its bets can win at most, exactly, whoever else is betting."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from support.databases import Database, Databases
from support.money import DEFAULT_PAYTABLE, OTHER_PAYTABLE, Floor

from keno.bets.limits import OperatorLimits, decode_operator_limits
from keno.bets.outcome import Outcome
from keno.bets.store import BetRow, place_bets
from keno.game.paytable import Paytable
from keno.infra.migrate import MIGRATIONS, migrate
from keno.infra.postgres import create_pool
from keno.requests import RequestError

A, DUPLICATE, CONFLICT = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT
LIMITED, POOR = Outcome.LIMIT_REACHED, Outcome.INSUFFICIENT_FUNDS


async def limit(floor: Floor, exposure: int | None, currency: str = "EUR") -> None:
    limits = OperatorLimits(currency, None, None, exposure)
    await floor.hall.bets.limit_operator(floor.operator_id, limits, actor="a test")


async def win_max(floor: Floor, bet: BetRow, paytable: Paytable = DEFAULT_PAYTABLE) -> int:
    """What a bet can win at most, by the paytable itself."""
    row = paytable.multipliers[int.from_bytes(bet.picks, "big").bit_count()]
    cut: int = await floor.owner_pool.fetchval(
        "SELECT win_max_minor FROM rules_currencies WHERE currency = $1 AND rules_hash = $2",
        bet.currency,
        floor.room.rules_hash,
    )
    return min(max(row) * bet.stake_minor // paytable.scale, cut)


async def exposure(floor: Floor) -> list[tuple[int, int]]:
    """(as counted, as its bets add up) of each round whose exposure is limited."""
    rows = await floor.owner_pool.fetch(
        """
        SELECT e.exposure_minor, round_exposure(e.round_id, e.operator_id, e.currency)
        FROM round_exposures AS e JOIN operator_limits USING (operator_id, currency, changes_count) ORDER BY e.round_id
        """
    )
    return [tuple(row) for row in rows]


async def test_bets_beyond_the_exposure_are_refused_in_the_order_of_their_arrival(floor: Floor) -> None:
    await floor.fund("bob", 100_000)
    dear, cheap = await win_max(floor, floor.bet(stake_minor=500)), await win_max(floor, floor.bet(stake_minor=100))
    await limit(floor, 2 * dear + cheap)
    bets = [floor.bet(who, stake) for who, stake in (("ann", 500), ("bob", 500), ("ann", 500), ("bob", 100))]
    assert await floor.outcomes(*bets) == [A, A, LIMITED, A]
    assert await floor.outcomes(floor.bet("bob"), floor.bet("ann")) == [LIMITED, LIMITED]
    assert await floor.balance("ann") == 100_000 - 500
    assert await exposure(floor) == [(2 * dear + cheap, 2 * dear + cheap)]
    assert await floor.broken() == {}


async def test_every_number_of_picks_and_every_paytable_counts_by_its_highest_multiplier(floor: Floor) -> None:
    await limit(floor, 10**12)
    expected = 0
    bets = []
    for paytable in (DEFAULT_PAYTABLE, OTHER_PAYTABLE):
        for picks in range(1, 11):
            bets.append(floor.bet(picks=tuple(range(1, picks + 1)), stake_minor=700, paytable=paytable.hash))
            expected += await win_max(floor, bets[-1], paytable)
    assert set(await floor.outcomes(*bets)) == {A}
    assert await exposure(floor) == [(expected, expected)]


async def test_an_exposure_of_nothing_takes_no_bet_and_lifting_it_takes_them_again(floor: Floor) -> None:
    await limit(floor, 0)
    assert await floor.outcomes(floor.bet()) == [LIMITED]
    await limit(floor, None)
    assert await floor.outcomes(floor.bet()) == [A]


async def test_bets_that_came_before_the_limit_count_whenever_it_was_set(floor: Floor) -> None:
    one = await win_max(floor, floor.bet())
    assert await floor.outcomes(floor.bet()) == [A]
    await limit(floor, 3 * one)
    assert await floor.outcomes(floor.bet()) == [A]
    await limit(floor, None)
    assert await floor.outcomes(floor.bet(), floor.bet()) == [A, A]
    await limit(floor, 5 * one)
    assert await floor.outcomes(floor.bet(), floor.bet()) == [A, LIMITED]
    assert await exposure(floor) == [(5 * one, 5 * one)]


async def test_a_bet_that_money_refused_does_not_use_up_the_exposure(floor: Floor) -> None:
    await floor.fund("bob", 150)
    await limit(floor, await win_max(floor, floor.bet()))
    bets = [floor.bet("bob", 200), floor.bet("nobody"), floor.bet("bob")]
    assert await floor.outcomes(*bets) == [LIMITED, POOR, A]
    await limit(floor, 10**12)
    assert await floor.outcomes(floor.bet("bob"), floor.bet("nobody")) == [POOR, POOR]


async def test_a_bet_beyond_exposure_and_balance_is_refused_for_the_exposure(floor: Floor) -> None:
    await limit(floor, 0)
    await floor.fund("bob", 10)
    assert await floor.outcomes(floor.bet("bob"), floor.bet("nobody")) == [LIMITED, LIMITED]


async def test_other_rounds_currencies_and_operators_have_exposures_of_their_own(floor: Floor) -> None:
    room = await floor.add_room()
    await floor.hall.tick()
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 1_000, operator_id=other)
    await floor.fund("ann", 1_000, "USD")
    await limit(floor, await win_max(floor, floor.bet()))
    bets = [
        floor.bet(),
        floor.bet(),
        floor.bet(room_id=room.id),
        floor.bet(round_id=await floor.round_id(room)),
        floor.bet(currency="USD"),
        floor.bet(operator_id=other),
        floor.bet(paytable=OTHER_PAYTABLE.hash),
    ]
    assert await floor.outcomes(*bets) == [A, LIMITED, A, LIMITED, A, A, LIMITED]


async def test_a_repeated_bet_is_answered_as_the_first_time_though_the_exposure_is_reached(floor: Floor) -> None:
    bet = floor.bet()
    await limit(floor, await win_max(floor, bet))
    assert await floor.outcomes(bet) == [A]
    other = floor.bet(transaction_id=bet.transaction_id, stake_minor=200)
    assert await floor.outcomes(bet, floor.bet()) == [DUPLICATE, LIMITED]
    assert await floor.outcomes(other) == [CONFLICT]


async def test_many_connections_together_never_pass_the_exposure_and_fill_it(floor: Floor, database: Database) -> None:
    players = [f"player {number}" for number in range(5)]
    for player in players:
        await floor.fund(player, 100_000)
    one = await win_max(floor, floor.bet())
    await limit(floor, 40 * one)

    async def gateway(seed: int) -> Counter[Outcome]:
        chance, told = random.Random(seed), Counter[Outcome]()
        async with await create_pool(database.app_url, connections_max=1) as pool:
            for _ in range(8):
                bets = [floor.bet(chance.choice(players), stake_minor=100 * chance.randint(1, 2)) for _ in range(4)]
                told.update(row.outcome for row in await place_bets(pool, [*bets, floor.bet("ann")]))
        return told

    told: Counter[Outcome] = sum(await asyncio.gather(*map(gateway, range(6))), Counter())
    assert told.keys() == {A, LIMITED}
    assert await exposure(floor) == [(40 * one, 40 * one)]
    assert await floor.broken() == {}


async def test_a_limit_waits_for_the_bets_on_their_way_and_counts_them(floor: Floor) -> None:
    one = await win_max(floor, floor.bet())
    async with floor.pool.acquire() as in_flight:
        transaction = in_flight.transaction()
        await transaction.start()
        assert [row.outcome for row in await place_bets(in_flight, [floor.bet()])] == [A]
        limiting = asyncio.create_task(limit(floor, one))
        await asyncio.sleep(0.2)
        assert not limiting.done()
        await transaction.commit()
    await limiting
    assert await floor.outcomes(floor.bet()) == [LIMITED]


async def test_nothing_is_counted_for_operators_without_the_limit(floor: Floor) -> None:
    assert await floor.outcomes(floor.bet()) == [A]
    assert await floor.owner_pool.fetchval("SELECT count(*) FROM round_exposures") == 0


@pytest.mark.parametrize("value", ["-1", "1.5", "9007199254740992", '"1"'])
def test_an_exposure_that_is_no_amount_is_refused(value: str) -> None:
    body = '{"currency": "EUR", "round_bets_max": null, "round_stake_max_minor": null, "round_exposure_max_minor": %s}'
    with pytest.raises(RequestError):
        decode_operator_limits((body % value).encode())


@pytest.fixture
def empty(databases: Databases) -> Iterator[Database]:
    """A database without a schema."""
    made = databases.create_empty()
    yield made
    databases.drop(made)


async def test_paytables_of_before_are_read_as_those_that_are_published_now(empty: Database, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        if path.stem < "0013":
            shutil.copy(path, tmp_path)
    await migrate(empty.owner_url, tmp_path)
    conn = await asyncpg.connect(empty.owner_url)
    try:
        for paytable in (DEFAULT_PAYTABLE, OTHER_PAYTABLE):
            await conn.execute(
                "INSERT INTO paytables (hash, document) VALUES ($1, $2)", paytable.hash, paytable.document
            )
        await migrate(empty.owner_url)
        for paytable in (DEFAULT_PAYTABLE, OTHER_PAYTABLE):
            row = await conn.fetchrow("SELECT scale, tops FROM paytable_tops WHERE paytable_hash = $1", paytable.hash)
            assert tuple(row) == (paytable.scale, [max(each) for each in paytable.multipliers[1:]])
    finally:
        await conn.close()
