"""The wallet: deposits that happen once, and the credit of wins that happens once however often it is asked for."""

import asyncio
import uuid
from collections import Counter

import asyncpg
import msgspec
import pytest
from support.databases import Database
from support.money import Floor

from keno.infra.bus import Event
from keno.infra.postgres import create_pool
from keno.money import MINOR_MAX
from keno.notify.events import PayoutsReady
from keno.wallet import service
from keno.wallet.request import MovementRequest, RollbackRequest
from keno.wallet.service import WalletService
from keno.wallet.store import Movement

CREDIT = "SELECT credits_count FROM credit_rounds(ARRAY[$1::bigint])"


def asked(transaction_id: str = "d", amount_minor: int = 500, currency: str = "EUR") -> MovementRequest:
    return MovementRequest(transaction_id, amount_minor, currency)


async def all_payouts_ready(floor: Floor) -> list[Event]:
    rows = await floor.owner_pool.fetch(
        "SELECT event_id, aggregate, payload FROM outbox WHERE routing_key = 'payouts.ready' ORDER BY id"
    )
    return [Event(row[0], "payouts.ready", row[1], 0, row[2].encode()) for row in rows]


async def played(floor: Floor) -> None:
    """A settled round with 20 winners."""
    await floor.place(*(floor.bet("ann" if number % 2 else "bob", picks=(number,)) for number in range(1, 81)))
    await floor.settle()


async def payouts_ready(floor: Floor, **changes: object) -> Event:
    """The event of the played round, as it leaves the outbox."""
    row = await floor.owner_pool.fetchrow("SELECT * FROM outbox WHERE routing_key = 'payouts.ready' ORDER BY id")
    assert row is not None
    event = Event(row["event_id"], row["routing_key"], row["aggregate"], row["created_ms"], row["payload"].encode())
    return msgspec.structs.replace(event, **changes)


async def test_a_deposit_opens_the_account_and_is_in_the_ledger(floor: Floor, wallet: WalletService) -> None:
    moved = await wallet.move_money("deposit", floor.operator_id, "eve", asked())
    assert (moved.outcome, moved.balance_minor) == ("accepted", 500)
    assert await floor.balance("eve") == 500
    entry = await floor.owner_pool.fetchrow(
        """
        SELECT w.kind, debit.kind, w.amount_minor, w.transaction_id FROM wallet_transactions AS w
        JOIN accounts AS debit ON debit.id = w.debit_account_id WHERE w.id = $1
        """,
        moved.wallet_transaction_id,
    )
    assert tuple(entry or ()) == ("deposit", "cash", 500, "d")
    assert await wallet.balances(floor.operator_id, "nobody") is None
    assert await wallet.balances(await floor.add_operator("EUR"), "eve") is None
    assert await floor.broken() == {}


async def test_the_same_deposit_again_is_the_stored_one(floor: Floor, wallet: WalletService) -> None:
    first = await wallet.move_money("deposit", floor.operator_id, "eve", asked())
    await floor.place(floor.bet("eve"))
    before = await floor.books()
    again = await wallet.move_money("deposit", floor.operator_id, "eve", asked())
    assert again == Movement("duplicate", first.wallet_transaction_id, first.created_ms, 400)
    assert await floor.books() == before


async def test_another_deposit_under_the_same_id_is_a_conflict_and_changes_nothing(
    floor: Floor, wallet: WalletService
) -> None:
    await wallet.move_money("deposit", floor.operator_id, "eve", asked())
    before = await floor.books()
    for player, request in [
        ("eve", asked(amount_minor=501)),
        ("eve", asked(currency="USD")),
        ("ann", asked()),
        ("a stranger", asked()),
    ]:
        assert (await wallet.move_money("deposit", floor.operator_id, player, request)).outcome == "conflict"
        assert await floor.books() == before, (player, request)


async def test_ids_of_deposits_are_the_operators_own(floor: Floor, wallet: WalletService) -> None:
    other = await floor.add_operator("EUR")
    outcomes = [
        (await wallet.move_money("deposit", each, "eve", asked())).outcome for each in (floor.operator_id, other)
    ]
    assert outcomes == ["accepted", "accepted"]


async def test_a_currency_the_operator_does_not_have_is_refused_and_nothing_is_stored(
    floor: Floor, wallet: WalletService
) -> None:
    before = await floor.books()
    for operator_id, code in [(floor.operator_id, "BTC"), (floor.operator_id, "XXX"), (uuid.uuid4(), "EUR")]:
        moved = await wallet.move_money("deposit", operator_id, "eve", asked(currency=code))
        assert moved == Movement("currency_not_offered", None, None, None)
    assert await floor.books() == before


async def test_the_largest_deposit_is_taken(floor: Floor, wallet: WalletService) -> None:
    assert (
        await wallet.move_money("deposit", floor.operator_id, "eve", asked(amount_minor=MINOR_MAX))
    ).balance_minor == MINOR_MAX


async def test_deposits_at_the_same_time_all_arrive_and_those_of_one_id_once(
    floor: Floor, wallet: WalletService
) -> None:
    moved = await asyncio.gather(
        *(wallet.move_money("deposit", floor.operator_id, "eve", asked(f"d{number % 10}")) for number in range(40)),
        *(
            wallet.move_money("deposit", floor.operator_id, f"new {number}", asked("fought over"))
            for number in range(10)
        ),
    )
    assert Counter(each.outcome for each in moved[:40]) == {"accepted": 10, "duplicate": 30}
    assert Counter(each.outcome for each in moved[40:]) == {"accepted": 1, "conflict": 9}
    assert len({each.wallet_transaction_id for each in moved[:40]}) == 10
    assert await floor.balance("eve") == 5_000
    assert await floor.broken() == {}


async def test_the_winners_of_a_round_are_credited_and_an_event_says_so(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    balances = [await floor.balance("ann"), await floor.balance("bob")]
    assert sum(balance or 0 for balance in balances) == 200_000 - 80 * 100
    await wallet.credit_payouts(await payouts_ready(floor))
    balances = [await floor.balance("ann"), await floor.balance("bob")]
    assert sum(balance or 0 for balance in balances) == 200_000 - 80 * 100 + 20 * 376
    (event,) = await floor.owner_pool.fetch("SELECT * FROM outbox WHERE routing_key = 'wallet.credited'")
    assert event["aggregate"] == f"room:{floor.room.id}"
    assert msgspec.json.decode(event["payload"]) == {
        "v": 1,
        "round": str(await floor.round_id()),
        "room": str(floor.room.id),
        "credits_count": 20,
    }
    assert await floor.broken() == {}


async def test_an_event_that_comes_again_credits_nobody_again(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    event = await payouts_ready(floor)
    await asyncio.gather(*(wallet.credit_payouts(event) for _ in range(4)))
    before = await floor.books()
    await wallet.credit_payouts(event)
    assert await floor.books() == before
    assert len(await floor.owner_pool.fetch("SELECT FROM ledger WHERE kind = 'win'")) == 20
    assert await floor.broken() == {}


async def test_another_event_for_a_credited_round_credits_nobody_again(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    await wallet.credit_payouts(await payouts_ready(floor))
    before = await floor.books()
    forged = await payouts_ready(floor, id=uuid.uuid4())
    await wallet.credit_payouts(forged)
    after = await floor.books()
    assert {name for name in after if after[name] != before[name]} == {"inbox"}
    assert await floor.broken() == {}


async def test_different_events_for_a_round_at_the_same_time_credit_it_once(
    floor: Floor, wallet: WalletService
) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    events = [await payouts_ready(floor, id=uuid.uuid4()) for _ in range(8)]
    await asyncio.gather(*(wallet.credit_payouts(event) for event in events))
    balances = [await floor.balance("ann"), await floor.balance("bob")]
    assert sum(balance or 0 for balance in balances) == 200_000 - 80 * 100 + 20 * 376
    assert len((await floor.books())["round_credits"]) == 1
    assert len(await floor.owner_pool.fetch("SELECT FROM outbox WHERE routing_key = 'wallet.credited'")) == 1
    assert await floor.broken() == {}


async def test_rounds_whose_events_come_together_are_credited_together_and_each_once(
    floor: Floor, wallet: WalletService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await floor.fund("bob", 1_000_000)
    await floor.fund("ann", 1_000_000)
    for number in range(1, 6):
        await floor.place(*(floor.bet("ann" if pick % 2 else "bob", picks=(pick,)) for pick in range(1, 81)))
        await floor.settle(number)
        await floor.hall.tick()
    events = await all_payouts_ready(floor)
    assert len(events) == 5
    before = {name: await floor.balance(name) for name in ("ann", "bob")}

    monkeypatch.setattr(service, "CREDITS_MAX", 45)
    await asyncio.gather(*(wallet.credit_payouts(*events[:3], *order) for order in (events, events[::-1], events)))

    won = sum([await floor.balance(name) - minor for name, minor in before.items()])
    assert won == 5 * 20 * 376
    told = await floor.owner_pool.fetch("SELECT payload->>'round' FROM outbox WHERE routing_key = 'wallet.credited'")
    assert sorted(row[0] for row in told) == sorted(PayoutsReady.decode(event.data).round for event in events)
    assert await floor.broken() == {}


async def test_a_round_that_is_not_settled_is_not_credited_and_can_be_once_it_is(floor: Floor) -> None:
    await floor.fund("bob", 100_000)
    await floor.place(*(floor.bet("bob", picks=(number,)) for number in range(1, 81)))
    round_id = await floor.round_id()
    for way in (None, floor.draw):
        if way:
            await way()
        before = await floor.books()
        assert await floor.pool.fetchval(CREDIT, round_id) is None
        assert await floor.pool.fetchval(CREDIT, 10**12) is None
        assert await floor.books() == before
    assert await floor.hall.settler.step() == 0
    assert [await floor.pool.fetchval(CREDIT, round_id) for _ in range(2)] == [20, None]
    assert await floor.balance("bob") == 100_000 - 80 * 100 + 20 * 376
    assert await floor.broken() == {}


async def test_a_win_is_in_the_ledger_from_the_moment_it_is_in_the_balance(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    assert await floor.owner_pool.fetch("SELECT FROM ledger WHERE kind = 'win'") == []
    await wallet.credit_payouts(await payouts_ready(floor))
    entries = await floor.owner_pool.fetch(
        """
        SELECT debit.kind, credit.kind, l.operator_id, l.amount_minor, l.credit_account_id = b.account_id
        FROM ledger AS l JOIN bets AS b ON b.id = l.bet_id JOIN accounts AS debit ON debit.id = l.debit_account_id
        JOIN accounts AS credit ON credit.id = l.credit_account_id WHERE l.kind = 'win'
        """
    )
    assert [tuple(row) for row in entries] == [("house", "player", floor.operator_id, 376, True)] * 20


async def test_a_credit_that_waits_for_an_account_holds_none_of_a_higher_id(floor: Floor, database: Database) -> None:
    # The order is that of place_bets(), or a credit and a batch could wait for each other.
    players = [f"player {number}" for number in range(5)]
    for player in players:
        await floor.fund(player, 100_000)
    await floor.place(*(floor.bet(player, picks=(number,)) for player in players for number in range(1, 81)))
    await floor.settle()
    round_id = await floor.round_id()
    first, *others = await floor.account_ids(*players)
    async with await create_pool(database.app_url, connections_max=1) as pool, pool.acquire() as conn:
        async with floor.owner_pool.acquire() as holder, holder.transaction():
            await holder.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", first)
            crediting = asyncio.ensure_future(conn.fetchval(CREDIT, round_id))
            await floor.until_waiting(conn.get_server_pid())
            await holder.execute("SELECT FROM accounts WHERE id = ANY ($1) FOR UPDATE NOWAIT", others)
        assert await crediting == 100


async def test_an_event_of_another_version_is_refused_and_not_guessed_at(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    event = await payouts_ready(floor)
    before = await floor.books()
    for data in (event.data.replace(b'"v": 1', b'"v": 2'), b"{}", b"nonsense"):
        assert data != event.data
        with pytest.raises(msgspec.DecodeError):
            await wallet.credit_payouts(msgspec.structs.replace(event, data=data))
    assert await floor.books() == before


async def test_credits_bets_and_deposits_of_the_same_players_at_once_lose_nothing(
    floor: Floor, wallet: WalletService
) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    await floor.hall.tick()
    event = await payouts_ready(floor)

    async def bet(start: int) -> None:
        for turn in range(5):
            players = ["ann", "bob"] if (start + turn) % 2 else ["bob", "ann"]
            await floor.place(*(floor.bet(player) for player in players))

    await asyncio.gather(
        wallet.credit_payouts(event),
        *(bet(start) for start in range(4)),
        *(floor.fund(player, 1_000) for player in ("ann", "bob") for _ in range(5)),
    )
    balances = [await floor.balance("ann"), await floor.balance("bob")]
    assert sum(balance or 0 for balance in balances) == 200_000 - 80 * 100 + 20 * 376 - 40 * 100 + 10_000
    assert await floor.broken() == {}


async def test_the_ledger_can_be_added_to_and_nothing_else(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await played(floor)
    await wallet.credit_payouts(await payouts_ready(floor))
    await wallet.roll_back(floor.operator_id, "never came", RollbackRequest("r"))
    for table in ("wallet_transactions", "rollbacks", "bets", "payouts", "round_credits", "round_totals"):
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):  # noqa: S608
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await floor.pool.execute(statement)
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await floor.owner_pool.execute(statement)
    for statement in (
        "UPDATE wallet_transactions SET amount_minor = 1",
        "UPDATE rollbacks SET wallet_transaction_id = 1",
        "UPDATE bets SET stake_minor = 1",
        "UPDATE payouts SET payout_minor = 1",
        "UPDATE round_credits SET credits_count = 1",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await floor.pool.execute(statement)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await floor.owner_pool.execute(statement)
    with pytest.raises(asyncpg.CheckViolationError):
        await floor.owner_pool.execute("UPDATE accounts SET balance_minor = -1 WHERE kind = 'player'")
