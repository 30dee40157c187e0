"""Statements: every entry of a player's money once, newest first, in pages of any size."""

import random

import pytest
from support.money import Floor

from keno.requests import ID_MAX
from keno.wallet.request import MovementRequest, RollbackRequest
from keno.wallet.service import WalletService
from keno.wallet.statement import Entry, Place

DAY_MS = 24 * 3_600_000


async def statement(
    floor: Floor, player: str = "bob", currency: str | None = None, limit: int = 200
) -> tuple[list[Entry], list[int]]:
    """All the entries of a player, and how many stood on each page."""
    entries: list[Entry] = []
    sizes: list[int] = []
    before: Place | None = None
    while True:
        page = await WalletService(floor.pool).statement(floor.operator_id, player, currency, before, limit)
        assert page is not None
        assert len(page.entries) <= limit
        entries += page.entries
        sizes.append(len(page.entries))
        if page.next_before is None:
            return entries, sizes
        assert before is None or page.next_before < before
        before = page.next_before


async def busy(floor: Floor) -> None:
    """Ann and bob with entries of every kind, many of one instant."""
    wallet = WalletService(floor.pool)
    for player in ("bob", "ann"):
        await floor.fund(player, 100_000)
        await floor.fund(player, 7_000, "USD")
        for kind, transaction_id in (("deposit", "d"), ("withdrawal", "w")):
            request = MovementRequest(f"{transaction_id} {player}", 500, "EUR")
            await wallet.move_money(kind, floor.operator_id, player, request)  # type: ignore[arg-type]
            rollback = RollbackRequest(f"r {request.transaction_id}")
            await wallet.roll_back(floor.operator_id, request.transaction_id, rollback)
    for number in (1, 2):
        await floor.place(*(floor.bet(player, picks=(pick,)) for pick in range(1, 41) for player in ("bob", "ann")))
        await (floor.settle(number) if number == 1 else floor.void(number))
        await floor.hall.tick()
    for event in [*await floor.events("payouts.ready"), *await floor.events("round.voided")]:
        handle = wallet.credit_payouts if event.routing_key == "payouts.ready" else wallet.refund_stakes
        await handle(event)
    await floor.place(floor.bet("bob", currency="USD"), floor.bet("bob"))


async def test_a_statement_is_the_ledger_of_the_player_and_sums_to_its_balances(floor: Floor) -> None:
    await busy(floor)
    entries, _ = await statement(floor)
    ledger = await floor.owner_pool.fetch(
        """
        SELECT l.kind, a.currency, CASE WHEN l.credit_account_id = a.id THEN l.amount_minor ELSE -l.amount_minor END,
            l.created_ms, l.transaction_id, l.bet_id
        FROM ledger AS l JOIN accounts AS a ON a.id IN (l.debit_account_id, l.credit_account_id)
        JOIN players AS p ON p.id = a.player_id WHERE p.reference = 'bob'
        """
    )
    listed = [(e.kind, e.currency, e.change_minor, e.created_ms, e.transaction_id, e.bet_id) for e in entries]
    assert sorted(map(repr, listed)) == sorted(repr(tuple(row)) for row in ledger)
    assert {e.kind for e in entries} == {"deposit", "withdrawal", "rollback", "bet", "win", "refund"}
    for code in ("EUR", "USD"):
        in_one, _ = await statement(floor, currency=code)
        assert in_one == [e for e in entries if e.currency == code]
        assert sum(e.change_minor for e in in_one) == await floor.balance("bob", code)
    assert await statement(floor, currency="JPY") == ([], [0])


async def test_entries_are_newest_first_with_each_win_directly_above_its_bet(floor: Floor) -> None:
    await busy(floor)
    entries, _ = await statement(floor)
    by_instant = [e for e in entries if e.kind != "win"]
    assert [e.created_ms for e in by_instant] == sorted((e.created_ms for e in by_instant), reverse=True)
    wins = [place for place, entry in enumerate(entries) if entry.kind == "win"]
    assert wins
    for place in wins:
        bet = entries[place + 1]
        assert (bet.kind, bet.bet_id) == ("bet", entries[place].bet_id)
        assert entries[place].created_ms > bet.created_ms


async def test_pages_of_any_size_have_every_entry_once(floor: Floor) -> None:
    await busy(floor)
    whole, sizes = await statement(floor)
    assert sizes == [len(whole)]
    for limit in (1, 2, 3, 7, len(whole) - 1, len(whole)):
        entries, sizes = await statement(floor, limit=limit)
        assert entries == whole, limit
        assert set(sizes[:-1]) <= {limit}
        assert sizes[-1] > 0


async def test_a_page_that_was_read_stays_while_money_moves(floor: Floor) -> None:
    await busy(floor)
    wallet = WalletService(floor.pool)
    first = await wallet.statement(floor.operator_id, "bob", None, None, 20)
    assert first is not None
    rest, _ = await statement(floor)
    await floor.hall.clock.set(await floor.pool.fetchval("SELECT now_ms()") + 1)
    await floor.fund("bob", 1)
    second = await wallet.statement(floor.operator_id, "bob", None, first.next_before, 200)
    assert second is not None
    assert second.entries == rest[20:]


async def test_a_player_who_was_away_for_months_is_found_page_by_page(floor: Floor) -> None:
    await floor.fund("bob", 500)
    now_ms = await floor.pool.fetchval("SELECT now_ms()") + 1
    await floor.hall.clock.set(now_ms)
    await floor.place(floor.bet("bob", stake_minor=200))
    await floor.hall.clock.set(now_ms + 100 * DAY_MS)
    await floor.fund("bob", 300)
    entries, sizes = await statement(floor)
    assert [e.change_minor for e in entries] == [300, -200, 500]
    assert sizes == [1, 0, 0, 2]
    # A place in the far future costs no more than none.
    page = await WalletService(floor.pool).statement(floor.operator_id, "bob", None, Place.above(ID_MAX), 200)
    assert page is not None
    assert page.entries == entries[:1]


async def test_who_is_not_the_operators_has_no_statement(floor: Floor) -> None:
    wallet = WalletService(floor.pool)
    assert await wallet.statement(floor.operator_id, "nobody", None, None, 10) is None
    assert await wallet.statement(await floor.add_operator("EUR"), "ann", None, None, 10) is None


async def test_the_bets_of_an_hour_are_found_by_an_index(floor: Floor) -> None:
    # The planner takes it only where there is something to gain; the question is whether it can.
    async with floor.owner_pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = await conn.fetch(
            "EXPLAIN SELECT count(*) FROM bets AS b WHERE b.accepted_ms / 3600000 = 5 AND b.account_id = ANY ('{1,2}')"
        )
    assert any("bets_0_of_hour" in line for (line,) in plan)


@pytest.mark.parametrize("seed", range(5))
def test_a_place_is_read_as_it_is_written_and_nothing_else_is_read(seed: int) -> None:
    chance = random.Random(seed)
    place = Place(chance.randint(0, ID_MAX), chance.randint(0, 1), chance.randint(0, ID_MAX), chance.randint(0, 1))
    text = str(place)
    assert Place.parse(text) == place
    for wrong in (
        text + "0",
        "0" + text,
        text + " ",
        text.replace("-", ".", 1),
        f"{ID_MAX + 1}-0-0-0",
        "1-2-1-0",
        "1",
        "",
    ):
        assert Place.parse(wrong) is None, wrong
