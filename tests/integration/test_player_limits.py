"""What a player may bet in one round: so many bets, so much money, exactly, whoever else is betting."""

import asyncio
from collections import Counter

import pytest
from support.databases import Database
from support.money import Floor

from keno.bets.limits import OperatorLimits, PlayerLimits, decode_limits
from keno.bets.outcome import Outcome
from keno.bets.store import place_bets
from keno.infra.postgres import create_pool
from keno.requests import RequestError

A, DUPLICATE, LIMITED, POOR = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.LIMIT_REACHED, Outcome.INSUFFICIENT_FUNDS


async def limit(floor: Floor, bets: int | None = None, stake: int | None = None, player: str = "ann") -> None:
    assert await floor.hall.bets.limit_player(floor.operator_id, player, PlayerLimits("EUR", bets, stake))


async def test_bets_beyond_the_count_are_refused_in_the_order_of_their_arrival(floor: Floor) -> None:
    await limit(floor, bets=3)
    assert await floor.outcomes(floor.bet(), floor.bet()) == [A, A]
    assert await floor.outcomes(floor.bet(), floor.bet(), floor.bet()) == [A, LIMITED, LIMITED]
    assert await floor.balance("ann") == 100_000 - 300
    assert await floor.broken() == {}


async def test_a_bet_that_would_pass_the_stake_is_refused_and_a_smaller_one_is_not(floor: Floor) -> None:
    await limit(floor, stake=1_000)
    stakes = (600, 500, 300, 200, 100)
    assert await floor.outcomes(*(floor.bet(stake_minor=stake) for stake in stakes)) == [A, LIMITED, A, LIMITED, A]
    assert await floor.outcomes(floor.bet()) == [LIMITED]
    assert await floor.balance("ann") == 99_000


async def test_a_limit_of_nothing_takes_no_bet_and_lifting_it_takes_them_again(floor: Floor) -> None:
    await limit(floor, bets=0)
    assert await floor.outcomes(floor.bet()) == [LIMITED]
    await limit(floor)
    assert await floor.outcomes(floor.bet()) == [A]


async def test_other_players_of_the_batch_are_not_limited(floor: Floor) -> None:
    await limit(floor, bets=1)
    await floor.fund("bob", 200)
    bets = [floor.bet(player) for player in ("ann", "bob", "ann", "bob", "bob")]
    assert await floor.outcomes(*bets) == [A, A, LIMITED, A, POOR]


async def test_a_bet_that_money_refused_does_not_use_up_the_limit(floor: Floor) -> None:
    await floor.fund("bob", 300)
    await limit(floor, bets=2, player="bob")
    bets = [floor.bet("bob", stake_minor=stake) for stake in (400, 100, 400, 200, 100)]
    assert await floor.outcomes(*bets) == [POOR, A, POOR, A, LIMITED]


async def test_a_bet_beyond_limit_and_balance_is_refused_for_the_limit(floor: Floor) -> None:
    await limit(floor, stake=1_000)
    await floor.fund("bob", 100)
    await limit(floor, stake=100, player="bob")
    assert await floor.outcomes(floor.bet("bob", stake_minor=200)) == [LIMITED]


async def test_every_round_is_counted_by_itself_even_within_a_batch(floor: Floor) -> None:
    other = await floor.add_room()
    await floor.hall.tick()
    await limit(floor, bets=1)
    here, there = {"room_id": floor.room.id}, {"room_id": other.id}
    bets = [floor.bet(**place) for place in (here, there, here, there)]
    assert await floor.outcomes(*bets) == [A, A, LIMITED, LIMITED]
    # The round by its id is the same round as the one on sale in its room.
    assert await floor.outcomes(floor.bet(round_id=await floor.round_id())) == [LIMITED]


async def test_the_operators_limit_holds_for_each_player_and_the_lower_one_counts(floor: Floor) -> None:
    await floor.fund("bob", 10_000)
    await floor.hall.bets.limit_operator(floor.operator_id, OperatorLimits("EUR", 2, None), actor="a test")
    await limit(floor, bets=1)
    bets = [floor.bet(player) for player in ("ann", "ann", "bob", "bob", "bob")]
    assert await floor.outcomes(*bets) == [A, LIMITED, A, A, LIMITED]
    await limit(floor, bets=5)
    assert await floor.outcomes(floor.bet(), floor.bet()) == [A, LIMITED]


async def test_a_repeated_bet_is_answered_as_the_first_time_though_the_limit_is_reached(floor: Floor) -> None:
    await limit(floor, bets=1)
    bet = floor.bet()
    assert await floor.outcomes(bet) == [A]
    assert await floor.outcomes(bet, floor.bet()) == [DUPLICATE, LIMITED]


async def test_many_connections_together_never_pass_the_limit(floor: Floor, database: Database) -> None:
    await limit(floor, bets=10, stake=1_500)
    async with await create_pool(database.app_url, connections_max=4) as pool:

        async def gateway(number: int) -> list[Outcome]:
            return [
                row.outcome
                for batch in range(5)
                for row in await place_bets(
                    pool, [floor.bet(stake_minor=100, transaction_id=f"{number} {batch} {each}") for each in range(3)]
                )
            ]

        outcomes = Counter(each for told in await asyncio.gather(*map(gateway, range(4))) for each in told)
    assert outcomes == {A: 10, LIMITED: 50}
    assert await floor.balance("ann") == 99_000
    assert await floor.broken() == {}


async def test_a_stranger_is_refused_for_the_limit_before_the_money(floor: Floor) -> None:
    await floor.hall.bets.limit_operator(floor.operator_id, OperatorLimits("EUR", None, 100), actor="a test")
    assert await floor.outcomes(floor.bet("nobody"), floor.bet("nobody", stake_minor=200)) == [POOR, LIMITED]


async def test_bets_count_though_the_clock_was_set_back_over_the_hour_since(floor: Floor) -> None:
    await limit(floor, bets=1)
    assert await floor.outcomes(floor.bet()) == [A]
    await floor.hall.tamper(
        "UPDATE bets SET accepted_ms = r.opened_ms - 3600000 FROM rounds AS r WHERE r.id = bets.round_id"
    )
    assert await floor.outcomes(floor.bet()) == [LIMITED]


async def test_a_limit_waits_for_the_bets_on_their_way_and_counts_them(floor: Floor) -> None:
    async with floor.pool.acquire() as in_flight:
        transaction = in_flight.transaction()
        await transaction.start()
        assert [row.outcome for row in await place_bets(in_flight, [floor.bet()])] == [A]
        limiting = asyncio.create_task(limit(floor, bets=1))
        placing = asyncio.create_task(floor.outcomes(floor.bet()))
        await asyncio.sleep(0.2)
        assert not limiting.done()
        await transaction.commit()
    await limiting
    # The bet that came meanwhile was before the limit or found it reached; the next one certainly does.
    assert (await placing)[0] in (A, LIMITED)
    assert await floor.outcomes(floor.bet()) == [LIMITED]


async def test_limiting_is_told_to_the_audit_trail_and_unknown_players_have_no_limits(floor: Floor) -> None:
    before = await floor.owner_pool.fetchval("SELECT count(*) FROM audit_logs")
    await limit(floor, bets=7)
    limits = PlayerLimits("EUR", 7, None)
    assert not await floor.hall.bets.limit_player(floor.operator_id, "nobody", limits)
    assert not await floor.hall.bets.limit_player(await floor.add_operator("EUR"), "ann", limits)
    assert await floor.owner_pool.fetchval("SELECT count(*) FROM audit_logs") == before + 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"currency": "EUR", "round_bets_max": -1, "round_stake_max_minor": null}',
        b'{"currency": "EUR", "round_bets_max": "3", "round_stake_max_minor": null}',
        b'{"currency": "EUR", "round_bets_max": null, "round_stake_max_minor": 9007199254740992}',
        b'{"currency": "EUR", "round_bets_max": 3}',
        b'{"currency": "EUR", "round_bets_max": 3, "round_stake_max_minor": 100, "day": 5}',
    ],
)
def test_limits_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        decode_limits(body)
