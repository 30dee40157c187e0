"""Rollbacks: of movements, of what never came, and of bets, which stand; alone and against what arrives meanwhile."""

import asyncio

import pytest
from support.databases import Database
from support.money import Floor

from keno.bets import store as bets_store
from keno.bets.outcome import Outcome
from keno.infra.postgres import create_pool
from keno.money import MINOR_MAX
from keno.wallet import store
from keno.wallet.request import MovementKind, MovementRequest, RollbackRequest
from keno.wallet.service import WalletService
from keno.wallet.store import Movement, Rollback


async def move(floor: Floor, kind: MovementKind, amount_minor: int, transaction_id: str) -> Movement:
    request = MovementRequest(transaction_id, amount_minor, "EUR")
    return await WalletService(floor.pool).move_money(kind, floor.operator_id, "ann", request)


async def roll_back(floor: Floor, target_id: str, transaction_id: str) -> Rollback:
    return await WalletService(floor.pool).roll_back(floor.operator_id, target_id, RollbackRequest(transaction_id))


async def refused(floor: Floor, target_id: str, transaction_id: str) -> str:
    """The refusal of a rollback, which has changed nothing."""
    before = await floor.books()
    done = await roll_back(floor, target_id, transaction_id)
    assert done == Rollback(done.outcome), "only an outcome"
    assert await floor.books() == before
    return done.outcome


@pytest.mark.parametrize(("kind", "change_minor"), [("deposit", -500), ("withdrawal", 500)])
async def test_a_rollback_is_the_movement_the_other_way(floor: Floor, kind: MovementKind, change_minor: int) -> None:
    moved = await move(floor, kind, 500, "m")
    done = await roll_back(floor, "m", "r")
    assert done.outcome == "accepted"
    assert done.undone is not None
    assert (done.undone.player, done.undone.currency) == ("ann", "EUR")
    assert (done.undone.change_minor, done.undone.balance_minor) == (change_minor, 100_000)
    rows = await floor.owner_pool.fetch(
        "SELECT * FROM wallet_transactions WHERE id = ANY ($1) ORDER BY id",
        [moved.wallet_transaction_id, done.undone.wallet_transaction_id],
    )
    forth, back = rows
    assert (back["kind"], back["amount_minor"], back["transaction_id"]) == ("rollback", 500, "r")
    assert back["debit_account_id"] == forth["credit_account_id"]
    assert back["credit_account_id"] == forth["debit_account_id"]
    assert await floor.balance("ann") == 100_000
    assert await floor.broken() == {}


async def test_the_same_rollback_again_is_the_stored_one(floor: Floor) -> None:
    await move(floor, "deposit", 500, "d")
    for target_id, transaction_id in (("d", "r"), ("never came", "r2")):
        first = await roll_back(floor, target_id, transaction_id)
        before = await floor.books()
        again = await roll_back(floor, target_id, transaction_id)
        assert again == Rollback("duplicate", first.created_ms, first.undone)
        assert await floor.books() == before


async def test_an_id_is_rolled_back_once_and_a_rollback_not_at_all(floor: Floor) -> None:
    await move(floor, "deposit", 500, "d")
    await roll_back(floor, "d", "r")
    await roll_back(floor, "never came", "r2")
    for target_id in ("d", "never came"):
        assert await refused(floor, target_id, "another") == "already_rolled_back"
    for target_id in ("r", "r2"):
        assert await refused(floor, target_id, "another") == "rollback_stands"
    assert (await move(floor, "deposit", 500, "d")).outcome == "duplicate", "it is still what came under the id"
    assert await floor.broken() == {}


async def test_the_id_of_a_rollback_is_not_used_for_anything_else(floor: Floor) -> None:
    await move(floor, "deposit", 500, "d")
    await move(floor, "deposit", 500, "d2")
    await roll_back(floor, "d", "r")
    await roll_back(floor, "never came", "r2")
    for transaction_id in ("d2", "d", "r", "r2", "never came"):
        assert await refused(floor, "another", transaction_id) == "conflict", transaction_id
        before = await floor.books()
        assert (await move(floor, "deposit", 7, transaction_id)).outcome == "conflict", transaction_id
        assert await floor.books() == before
    assert await refused(floor, "d2", "d2") == "conflict"


async def test_money_that_is_gone_is_not_taken_back(floor: Floor) -> None:
    await move(floor, "deposit", 500, "d")
    await move(floor, "withdrawal", 100_100, "w")
    assert await refused(floor, "d", "r") == "insufficient_funds"
    await floor.fund("ann", 100)
    assert (await roll_back(floor, "d", "r")).outcome == "accepted"
    assert await floor.balance("ann") == 0


async def test_a_withdrawal_is_not_given_back_above_the_limit(floor: Floor) -> None:
    await move(floor, "withdrawal", 100_000, "w")
    await floor.fund("ann", MINOR_MAX)
    assert await refused(floor, "w", "r") == "balance_limit"


async def test_nothing_comes_after_a_tombstone(floor: Floor) -> None:
    done = await roll_back(floor, "late", "r")
    assert (done.outcome, done.undone) == ("accepted", None)
    before = await floor.books()
    assert (await move(floor, "deposit", 500, "late")).outcome == "conflict"
    assert (await move(floor, "withdrawal", 500, "late")).outcome == "conflict"
    assert await floor.outcomes(floor.bet(transaction_id="late")) == [Outcome.CONFLICT]
    assert await floor.books() == before
    assert await floor.outcomes(floor.bet(), floor.bet(transaction_id="late"), floor.bet()) == [
        Outcome.ACCEPTED,
        Outcome.CONFLICT,
        Outcome.ACCEPTED,
    ]
    assert await floor.broken() == {}


async def test_tombstones_are_the_operators_own(floor: Floor) -> None:
    await roll_back(floor, "an id", "r")
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 1_000, operator_id=other)
    assert await floor.outcomes(floor.bet(operator_id=other, transaction_id="an id")) == [Outcome.ACCEPTED]
    done = await WalletService(floor.pool).roll_back(other, "another id", RollbackRequest("r"))
    assert done.outcome == "accepted"


async def test_a_bet_stands_in_every_phase_of_its_round(floor: Floor) -> None:
    bet = floor.bet()
    await floor.place(bet)
    assert await refused(floor, bet.transaction_id, "r") == "bet_stands"
    await floor.hall.at_lock(floor.room, 1)
    await floor.hall.scheduler.step()
    assert await refused(floor, bet.transaction_id, "r") == "bet_stands"
    await floor.draw()
    assert await refused(floor, bet.transaction_id, "r") == "bet_stands"
    await floor.settle()
    assert await refused(floor, bet.transaction_id, "r") == "bet_stands"
    assert await floor.outcomes(bet) == [Outcome.DUPLICATE]
    assert await floor.broken() == {}


async def test_an_id_of_a_bet_and_a_movement_is_not_guessed_at(floor: Floor) -> None:
    await move(floor, "deposit", 500, "both")
    await floor.place(floor.bet(transaction_id="both"))
    assert await refused(floor, "both", "r") == "conflict"


async def test_a_bet_under_way_is_waited_for(floor: Floor, database: Database) -> None:
    async with await create_pool(database.app_url, connections_max=1) as pool, pool.acquire() as conn:
        for commits, outcome in ((True, "bet_stands"), (False, "accepted")):
            bet = floor.bet()
            async with floor.pool.acquire() as placing:
                under_way = placing.transaction()
                await under_way.start()
                await bets_store.place_bets(placing, [bet])
                rollback = store.roll_back(
                    conn, floor.operator_id, bet.transaction_id, f"r {bet.transaction_id}", bytes(16)
                )
                waiting = asyncio.ensure_future(rollback)
                await floor.until_waiting(conn.get_server_pid())
                await (under_way.commit() if commits else under_way.rollback())
            assert (await waiting).outcome == outcome
            assert await floor.outcomes(bet) == [Outcome.DUPLICATE if commits else Outcome.CONFLICT]
    assert await floor.broken() == {}


async def test_a_bet_that_comes_during_its_rollback_waits_and_is_refused_and_no_other_operator_waits(
    floor: Floor, database: Database
) -> None:
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 1_000, operator_id=other)
    bet = floor.bet()
    async with await create_pool(database.app_url, connections_max=1) as pool, pool.acquire() as conn:
        async with floor.pool.acquire() as undoing, undoing.transaction():
            await store.roll_back(undoing, floor.operator_id, bet.transaction_id, "r", bytes(16))
            waiting = asyncio.ensure_future(bets_store.place_bets(conn, [bet]))
            await floor.until_waiting(conn.get_server_pid())
            assert await floor.outcomes(floor.bet(operator_id=other)) == [Outcome.ACCEPTED]
        assert [row.outcome for row in await waiting] == [Outcome.CONFLICT]
    assert await floor.broken() == {}


async def test_a_bet_and_its_rollback_at_the_same_time_end_in_one_of_two_ways(floor: Floor) -> None:
    bets = [floor.bet() for _ in range(60)]

    async def fight(number: int) -> tuple[Outcome, str]:
        bet = bets[number]
        acts = [floor.outcomes(bet), roll_back(floor, bet.transaction_id, f"r {bet.transaction_id}")]
        if number % 2:
            acts.reverse()
        first, second = await asyncio.gather(*acts)
        placed, undone = (second, first) if number % 2 else (first, second)
        return placed[0], undone.outcome

    ends = {end for end in await asyncio.gather(*(fight(number) for number in range(len(bets))))}
    assert ends <= {(Outcome.ACCEPTED, "bet_stands"), (Outcome.CONFLICT, "accepted")}
    assert await floor.broken() == {}


async def test_movements_and_their_rollbacks_at_the_same_time_lose_nothing(floor: Floor) -> None:
    async def fight(number: int) -> tuple[str, str]:
        moved, undone = await asyncio.gather(
            move(floor, "deposit" if number % 2 else "withdrawal", 100, f"m{number}"),
            # Ids that cross: the rollback of one movement has the target of another as its own id.
            roll_back(floor, f"m{number}", f"r{number}"),
        )
        return moved.outcome, undone.outcome

    ends = await asyncio.gather(*(fight(number) for number in range(40)))
    assert set(ends) <= {("accepted", "accepted"), ("conflict", "accepted")}
    assert await floor.balance("ann") == 100_000
    crossing = [roll_back(floor, f"x{number}", f"x{number ^ 1}") for number in range(20)]
    assert {each.outcome for each in await asyncio.gather(*crossing)} <= {"accepted", "conflict", "rollback_stands"}
    assert await floor.broken() == {}
