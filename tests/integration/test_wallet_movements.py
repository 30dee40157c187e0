"""Withdrawals, and what bounds a movement: the balance, the limit of balances, and the operator's currencies."""

import asyncio
from collections import Counter
from typing import get_args

from support.money import Floor

from gateway.rest.wallet import REFUSALS
from keno.money import MINOR_MAX
from keno.wallet.request import MovementKind, MovementRequest
from keno.wallet.service import WalletService
from keno.wallet.store import Movement, Refusal


async def move(
    floor: Floor, kind: MovementKind, amount_minor: int, transaction_id: str, player: str = "ann", currency: str = "EUR"
) -> Movement:
    request = MovementRequest(transaction_id, amount_minor, currency)
    return await WalletService(floor.pool).move_money(kind, floor.operator_id, player, request)


async def test_a_withdrawal_leaves_the_account_for_the_operators_cash(floor: Floor) -> None:
    moved = await move(floor, "withdrawal", 30_000, "w")
    assert (moved.outcome, moved.balance_minor) == ("accepted", 70_000)
    assert await floor.balance("ann") == 70_000
    entry = await floor.owner_pool.fetchrow(
        """
        SELECT w.kind, debit.kind, credit.kind, w.amount_minor FROM wallet_transactions AS w
        JOIN accounts AS debit ON debit.id = w.debit_account_id
        JOIN accounts AS credit ON credit.id = w.credit_account_id WHERE w.id = $1
        """,
        moved.wallet_transaction_id,
    )
    assert tuple(entry or ()) == ("withdrawal", "player", "cash", 30_000)
    assert (await move(floor, "withdrawal", 70_000, "the rest")).balance_minor == 0
    assert await floor.broken() == {}


async def test_a_withdrawal_that_cannot_be_made_changes_nothing(floor: Floor) -> None:
    before = await floor.books()
    for amount_minor, player, currency, refusal in [
        (100_001, "ann", "EUR", "insufficient_funds"),
        (MINOR_MAX, "ann", "EUR", "insufficient_funds"),
        (1, "ann", "USD", "insufficient_funds"),
        (1, "nobody", "EUR", "player_not_found"),
        (1, "ann", "BTC", "currency_not_offered"),
        (1, "nobody", "BTC", "currency_not_offered"),
    ]:
        moved = await move(floor, "withdrawal", amount_minor, "w", player, currency)
        assert moved == Movement(refusal, None, None, None), (amount_minor, player, currency)  # type: ignore[arg-type]
    assert await floor.books() == before
    assert (await move(floor, "withdrawal", 1, "w")).outcome == "accepted", "a refused id is not spent"


async def test_the_same_withdrawal_again_is_the_stored_one_and_another_a_conflict(floor: Floor) -> None:
    first = await move(floor, "withdrawal", 100_000, "w")
    before = await floor.books()
    again = await move(floor, "withdrawal", 100_000, "w")
    assert again == Movement("duplicate", first.wallet_transaction_id, first.created_ms, 0)
    assert (await move(floor, "withdrawal", 99_999, "w")).outcome == "conflict"
    assert (await move(floor, "deposit", 100_000, "w")).outcome == "conflict"
    assert (await move(floor, "withdrawal", 100_000, "w", "nobody")).outcome == "conflict"
    assert await floor.books() == before


async def test_withdrawals_and_bets_at_the_same_time_never_overdraw(floor: Floor) -> None:
    await floor.fund("bob", 1_000)
    moved = asyncio.gather(*(move(floor, "withdrawal", 100, f"w{number}", "bob") for number in range(12)))
    placed = asyncio.gather(*(floor.outcomes(floor.bet("bob")) for _ in range(12)))
    outcomes = Counter(each.outcome for each in await moved) + Counter(
        outcome.name.lower() for each in await placed for outcome in each
    )
    assert outcomes == {"accepted": 10, "insufficient_funds": 14}
    assert await floor.balance("bob") == 0
    assert await floor.broken() == {}


async def test_a_deposit_that_would_raise_a_balance_above_the_limit_is_refused(floor: Floor) -> None:
    assert await floor.pool.fetchval("SELECT minor_max()") == MINOR_MAX
    before = await floor.books()
    for amount_minor in (MINOR_MAX - 100_000 + 1, MINOR_MAX):
        assert (await move(floor, "deposit", amount_minor, "d")).outcome == "balance_limit"
    assert await floor.books() == before
    assert (await move(floor, "deposit", MINOR_MAX - 100_000, "d")).balance_minor == MINOR_MAX
    assert (await move(floor, "deposit", 1, "d2")).outcome == "balance_limit"
    assert (await move(floor, "deposit", 1, "d2", currency="USD")).outcome == "accepted"


async def test_wins_may_pass_the_limit_and_can_be_withdrawn(floor: Floor) -> None:
    await floor.fund("bob", MINOR_MAX)
    await floor.place(*(floor.bet("bob", picks=(number,)) for number in range(1, 81)))
    await floor.fund("bob", 80 * 100)
    await floor.settle()
    for event in await floor.events("payouts.ready"):
        await WalletService(floor.pool).credit_payouts(event)
    wins_minor = 20 * 376
    assert await floor.balance("bob") == MINOR_MAX + wins_minor
    assert (await move(floor, "deposit", 1, "d", "bob")).outcome == "balance_limit"
    assert (await move(floor, "withdrawal", 1, "w", "bob")).balance_minor == MINOR_MAX + wins_minor - 1
    assert await floor.broken() == {}


async def test_a_currency_that_was_taken_from_the_operator_is_paid_out_and_not_in(floor: Floor) -> None:
    await floor.pool.execute("UPDATE operators SET currencies = '{USD,JPY}' WHERE id = $1", floor.operator_id)
    before = await floor.books()
    for player in ("ann", "a stranger"):
        assert (await move(floor, "deposit", 100, "d", player)).outcome == "currency_not_offered"
    assert await floor.books() == before
    assert (await move(floor, "withdrawal", 100_000, "w")).outcome == "accepted"
    assert (await move(floor, "deposit", 100, "d", currency="USD")).outcome == "accepted"
    assert await floor.broken() == {}


def test_the_gateway_has_an_answer_to_every_refusal() -> None:
    assert set(REFUSALS) == set(get_args(Refusal))
