"""The acceptance of bets by the database: each outcome, which of two faults is the answer, and what is stored."""

import asyncio
import itertools
from typing import Any

import asyncpg
import msgspec
import pytest
from support.money import DEFAULT_PAYTABLE, OTHER_PAYTABLE, STAKE_MAX_MINOR, Floor
from support.rounds import PRIVACY_KEY, RECEIPT_KEY

from keno.bets.outcome import Outcome
from keno.bets.request import BetRequest
from keno.bets.service import BetService, Placed
from keno.bets.store import BetRow
from keno.fairness import keno1, leaves
from keno.game.numbers import picks_mask

PLACES = {"room_id", "round_id"}
A, DUPLICATE, POOR = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.INSUFFICIENT_FUNDS


def request(floor: Floor, transaction_id: str = "t", **changes: Any) -> tuple[BetRequest, bytes]:
    content: dict[str, Any] = {
        "transaction_id": transaction_id,
        "player": "ann",
        "picks": [3, 1, 2],
        "stake_minor": 200,
        "currency": "EUR",
        "room": floor.room.id,
    } | changes
    bet = BetRequest(**content)
    return bet, picks_mask(bet.picks)


async def place(floor: Floor, transaction_id: str = "t", **changes: Any) -> Placed:
    return await floor.hall.bets.place(floor.operator_id, *request(floor, transaction_id, **changes))


async def test_an_accepted_bet_is_stored_with_its_debit_and_nothing_else_moves(floor: Floor) -> None:
    before = await floor.books()
    placed = await place(floor)
    assert placed.outcome is A
    receipt = placed.receipt
    assert receipt is not None
    row = await floor.hall.row(floor.room, 1)
    assert (receipt.round_id, receipt.round_number, receipt.room_id) == (row["id"], 1, floor.room.id)
    assert receipt.paytable == DEFAULT_PAYTABLE.hash
    assert await floor.balance("ann") == 100_000 - 200
    after = await floor.books()
    assert {name for name in after if after[name] != before[name]} == {"accounts", "bets"}
    (debit,) = await floor.owner_pool.fetch(
        """
        SELECT w.amount_minor, debit.kind AS debit, credit.kind AS credit, w.bet_id
        FROM ledger AS w JOIN accounts AS debit ON debit.id = w.debit_account_id
        JOIN accounts AS credit ON credit.id = w.credit_account_id WHERE w.kind = 'bet'
        """
    )
    assert tuple(debit) == (200, "player", "house", receipt.bet_id)
    assert await floor.broken() == {}


async def test_the_receipt_is_the_leaf_of_exactly_this_bet(floor: Floor) -> None:
    placed = await place(floor)
    assert placed.receipt is not None
    unsalted = leaves.unsalted_leaf(
        placed.receipt.bet_id,
        floor.operator_id.bytes,
        keno1.account_hash(floor.operator_id.bytes, "ann"),
        picks_mask([1, 2, 3]),
        200,
        "EUR",
        DEFAULT_PAYTABLE.hash,
    )
    assert placed.receipt.leaf == leaves.salted(PRIVACY_KEY, unsalted)
    found = await floor.hall.bets.find(floor.operator_id, placed.receipt.bet_id)
    assert found is not None
    assert (found.leaf, found.leaf_hash, found.proof) == (placed.receipt.leaf, placed.receipt.leaf_hash, placed.proof)
    assert await floor.hall.bets.find(await floor.add_operator("EUR"), placed.receipt.bet_id) is None


async def test_a_bet_names_its_round_by_id_as_well_as_by_room(floor: Floor) -> None:
    round_id = await floor.round_id()
    by_room, by_round = await floor.place(floor.bet(), floor.bet(round_id=round_id))
    assert (by_room.outcome, by_round.outcome) == (A, A)
    for row in (by_room, by_round):
        assert row.stand is not None
        assert (row.stand.round_id, row.stand.room_id) == (round_id, floor.room.id)


async def test_a_bet_may_choose_any_offered_paytable_and_gets_the_first_if_it_names_none(floor: Floor) -> None:
    rows = await floor.place(
        floor.bet(), floor.bet(paytable=OTHER_PAYTABLE.hash), floor.bet(paytable=DEFAULT_PAYTABLE.hash)
    )
    taken = [row.stand and row.stand.paytable for row in rows]
    assert taken == [DEFAULT_PAYTABLE.hash, OTHER_PAYTABLE.hash, DEFAULT_PAYTABLE.hash]


async def test_the_same_bet_again_has_the_same_receipt_and_costs_nothing(floor: Floor) -> None:
    first = await place(floor)
    before = await floor.books()
    again = await place(floor, picks=[1, 2, 3])
    assert (first.outcome, again.outcome) == (A, DUPLICATE)
    assert again.receipt == first.receipt
    assert await floor.books() == before


async def test_a_duplicate_is_answered_long_after_its_round_and_its_money_are_gone(floor: Floor) -> None:
    first = await place(floor, picks=[80], stake_minor=10_000)
    await place(floor, "rest", stake_minor=10_000)
    await floor.settle()
    await floor.hall.rooms.close(floor.room.name, actor="a test")
    await floor.owner_pool.execute("UPDATE players SET status = 'blocked'")
    again = await place(floor, picks=[80], stake_minor=10_000)
    assert again.outcome is DUPLICATE
    assert again.receipt == first.receipt
    assert (await place(floor, picks=[79], stake_minor=10_000)).outcome is Outcome.CONFLICT


async def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(floor: Floor) -> None:
    await place(floor)
    before = await floor.books()
    for field, value in [
        ("stake_minor", 300),
        ("picks", [1, 2]),
        ("player", "bob"),
        ("currency", "USD"),
        ("paytable", "ab" * 32),
    ]:
        assert await place(floor, **{field: value}) == Placed(Outcome.CONFLICT), field
    assert await floor.books() == before


async def test_transaction_ids_of_two_operators_have_nothing_to_do_with_each_other(floor: Floor) -> None:
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 1_000, operator_id=other)
    mine = floor.bet(transaction_id="same")
    theirs = msgspec.structs.replace(mine, operator_id=other)
    assert await floor.outcomes(mine, theirs) == [A, A]
    assert await floor.outcomes(theirs, mine) == [DUPLICATE, DUPLICATE]
    assert (await floor.balance("ann"), await floor.balance("ann", operator_id=other)) == (99_900, 900)
    assert await floor.broken() == {}


async def test_a_private_room_is_not_there_for_other_operators(floor: Floor) -> None:
    owner = await floor.add_operator("EUR")
    await floor.fund("ann", 1_000, operator_id=owner)
    private = await floor.add_room(operator_id=owner)
    await floor.hall.tick()
    round_id = await floor.round_id(private)
    by_room, by_round = floor.bet(room_id=private.id), floor.bet(round_id=round_id)
    assert await floor.outcomes(by_room, by_round) == [Outcome.ROUND_NOT_FOUND] * 2
    assert await floor.outcomes(
        floor.bet(room_id=private.id, operator_id=owner), floor.bet(round_id=round_id, operator_id=owner)
    ) == [A, A]


async def test_sales_end_with_the_clock_even_before_anyone_locks_the_round(floor: Floor) -> None:
    round_id = await floor.round_id()
    lock_due_ms = (await floor.hall.row(floor.room, 1))["lock_due_ms"]
    await floor.hall.clock.set(lock_due_ms - 1)
    assert await floor.outcomes(floor.bet(), floor.bet(round_id=round_id)) == [A, A]
    await floor.hall.clock.set(lock_due_ms)
    assert await floor.outcomes(floor.bet(), floor.bet(round_id=round_id)) == [Outcome.ROUND_NOT_OPEN] * 2
    assert await floor.broken() == {}


async def test_a_currency_needs_both_the_operator_and_the_room(floor: Floor) -> None:
    await floor.fund("ann", 1_000, "JPY")
    of_the_operator, of_the_room, of_neither = (floor.bet(currency=code) for code in ("JPY", "BTC", "GBP"))
    refused = [Outcome.CURRENCY_NOT_OFFERED] * 3
    assert await floor.outcomes(of_the_operator, of_the_room, of_neither, floor.bet()) == [*refused, A]


async def test_a_player_pays_from_the_account_in_the_bets_currency_alone(floor: Floor) -> None:
    assert await floor.outcomes(floor.bet(currency="USD")) == [POOR]
    await floor.fund("ann", 100, "USD")
    assert await floor.outcomes(floor.bet(currency="USD"), floor.bet(currency="USD")) == [A, POOR]
    assert (await floor.balance("ann"), await floor.balance("ann", "USD")) == (100_000, 0)


async def test_bets_of_a_player_in_one_batch_are_covered_in_the_order_of_their_arrival(floor: Floor) -> None:
    await floor.fund("bob", 1_000)
    stakes = [600, 500, 400, 100, 100]
    bets = [floor.bet("bob", stake) for stake in stakes]
    # Others in between change nothing.
    batch = [bet for pair in zip(bets, [floor.bet() for _ in bets], strict=True) for bet in pair]
    assert await floor.outcomes(*batch) == [A, A, POOR, A, A, A, POOR, A, POOR, A]
    assert (await floor.balance("bob"), await floor.balance("ann")) == (0, 99_500)
    assert await floor.broken() == {}


async def test_a_refused_bet_can_be_placed_under_its_id_once_it_is_covered(floor: Floor) -> None:
    bet = floor.bet("bob")
    assert await floor.outcomes(bet) == [POOR]
    await floor.fund("bob", 100)
    assert await floor.outcomes(bet) == [A]
    assert await floor.outcomes(bet) == [DUPLICATE]


async def test_a_batch_answers_each_of_its_bets_in_their_order(floor: Floor) -> None:
    stood = floor.bet()
    await floor.place(stood)
    batch = [
        floor.bet(stake_minor=50),
        floor.bet(),
        floor.bet(room_id=floor.operator_id),
        stood,
        floor.bet("nobody"),
        floor.bet(picks=(80,)),
    ]
    rows = await floor.place(*batch)
    assert [row.outcome for row in rows] == [Outcome.INVALID_STAKE, A, Outcome.ROUND_NOT_FOUND, DUPLICATE, POOR, A]
    assert [row.bet_id is not None for row in rows] == [False, True, False, True, False, True]
    stored = await floor.owner_pool.fetch("SELECT id, transaction_id, picks FROM bets")
    assert {row["id"]: (row["transaction_id"], row["picks"]) for row in stored} == {
        row.bet_id: (batch[place].transaction_id, batch[place].picks)
        for place, row in enumerate(rows)
        if row.bet_id is not None
    }


async def test_the_ids_of_bets_follow_the_order_of_their_arrival(floor: Floor) -> None:
    # Whatever order they are stored in, and whoever is refused between them.
    names = ["d", "b", "e", "a", "c"]
    batch = [floor.bet("nobody" if name == "e" else "ann", transaction_id=name) for name in names]
    rows = await floor.place(*batch) + await floor.place(floor.bet(transaction_id="0"))
    assert [row.outcome for row in rows] == [A, A, POOR, A, A, A]
    stored = await floor.owner_pool.fetch("SELECT transaction_id FROM bets ORDER BY id")
    assert [row["transaction_id"] for row in stored] == ["d", "b", "a", "c", "0"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"fingerprint": bytes(length)} for length in (0, 15, 17, 32)),
        *({"picks": bytes(length)} for length in (0, 9, 11)),
        {"transaction_id": "two\nlines"},
        {"transaction_id": ""},
        {"player": "ann\nbob"},
        {"player": ""},
    ],
    ids=str,
)
async def test_a_bet_that_cannot_stand_in_its_column_is_an_error_and_no_bet_is_placed(
    floor: Floor, wrong: dict[str, Any]
) -> None:
    before = await floor.books()
    with pytest.raises(ValueError, match="each"):
        await floor.place(floor.bet(), floor.bet(**wrong))
    assert await floor.books() == before


@pytest.mark.parametrize("length", [0, 15, 17, 32])
async def test_the_database_stores_no_fingerprint_of_another_length(floor: Floor, length: int) -> None:
    before = await floor.books()
    with pytest.raises(asyncpg.CheckViolationError):
        await place_unpacked(floor, floor.bet(fingerprint=bytes(length)))
    assert await floor.books() == before


@pytest.mark.parametrize("length", [0, 9, 11])
async def test_the_database_takes_a_mask_of_another_length_for_no_picks(floor: Floor, length: int) -> None:
    before = await floor.books()
    mask = (b"\1" + bytes(10))[:length]
    assert await place_unpacked(floor, floor.bet(picks=mask)) == [Outcome.INVALID_PICKS]
    assert await floor.books() == before


async def place_unpacked(floor: Floor, bet: BetRow) -> list[Outcome]:
    """What the function says of a bet that `store.place_bets` would not pass on to it."""
    offer = bet.operator_id, bet.room_id, bet.round_id, bet.currency, bet.paytable
    its = bet.transaction_id, bet.fingerprint, bet.player, bet.picks, bet.stake_minor
    outcomes: list[int] = await floor.pool.fetchval(
        "SELECT outcomes FROM place_bets($1, $2, $3, $4, $5, '{1}', $6, $7, $8, $9, $10)",
        *([value] for value in (*offer, *its)),
    )
    return [tuple(Outcome)[number] for number in outcomes]


async def test_an_empty_batch_is_no_error(floor: Floor) -> None:
    assert await floor.place() == []


async def test_round_ids_that_are_not_on_sale_take_no_locks(floor: Floor) -> None:
    # The lock table of the server is shared and small: made-up ids must not fill it up for everybody.
    await floor.settle()
    await floor.hall.tick()
    ended, on_sale = await floor.round_id(number=1), await floor.round_id(number=2)
    async with floor.pool.acquire() as conn, conn.transaction():
        bets = [floor.bet(round_id=10**6 + number) for number in range(50)]
        rows = await floor.place(*bets, floor.bet(round_id=ended), floor.bet(round_id=on_sale), conn=conn)
        locked = await conn.fetch(
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 0"
        )
    outcomes = [row.outcome for row in rows]
    assert outcomes == [Outcome.ROUND_NOT_FOUND] * 50 + [Outcome.ROUND_NOT_OPEN, A]
    assert [row["objid"] for row in locked] == [on_sale]


async def test_of_two_faults_the_answer_is_the_one_of_the_lower_number(floor: Floor) -> None:
    faults = await faulty_bets(floor)
    due: list[tuple[Outcome, BetRow]] = []
    for (one, changes), (other, more) in itertools.combinations(faults, 2):
        apart = not changes.keys() & more.keys() and not (PLACES & changes.keys() and PLACES & more.keys())
        if one is not other and apart:
            due.append((min(one, other), floor.bet(**(changes | more))))
    assert {outcome for outcome, _ in due} == {outcome for outcome, _ in faults} - {POOR}
    # Those that share the id of the bet that stands cannot be in one batch.
    stood = [pair for pair in due if pair[0] in (DUPLICATE, Outcome.CONFLICT)]
    others = [pair for pair in due if pair not in stood]
    answers = [(await floor.outcomes(bet))[0] for _, bet in stood]
    answers += await floor.outcomes(*(bet for _, bet in others))
    wrong = [
        (bet, outcome.name, answer.name)
        for (outcome, bet), answer in zip(stood + others, answers, strict=True)
        if answer is not outcome
    ]
    assert wrong == []


async def test_each_fault_alone_has_its_outcome(floor: Floor) -> None:
    faults = await faulty_bets(floor)
    before = await floor.books()
    answers = [(await floor.outcomes(floor.bet(**changes)))[0] for _, changes in faults]
    assert [(answer.name, changes) for answer, (_, changes) in zip(answers, faults, strict=True)] == [
        (outcome.name, changes) for outcome, changes in faults
    ]
    assert await floor.books() == before
    assert {outcome for outcome, _ in faults} == set(Outcome) - {A, Outcome.LIMIT_REACHED, Outcome.OVERLOADED}


async def faulty_bets(floor: Floor) -> list[tuple[Outcome, dict[str, Any]]]:
    """Bets wrong in one way, or in two that must be arranged together: (the outcome due, what to change)."""
    stranger = await floor.add_operator("EUR")
    private = await floor.add_room(operator_id=stranger)
    closed = await floor.add_room()
    closed_private = await floor.add_room(operator_id=stranger)
    await floor.settle()
    await floor.hall.tick()
    for room in (closed, closed_private):
        await floor.hall.rooms.close(room.name, actor="a test")
    unopened = await floor.add_room()
    stood = floor.bet()
    await floor.place(stood)
    for blocked in ("blocked", "blocked and poor"):
        await floor.fund(blocked, 100)
    await floor.outcomes(floor.bet("blocked and poor"))
    await floor.owner_pool.execute("UPDATE players SET status = 'blocked' WHERE reference LIKE 'blocked%'")
    ids = {"transaction_id": stood.transaction_id}
    return [
        (Outcome.DUPLICATE, ids | {"fingerprint": stood.fingerprint}),
        (Outcome.CONFLICT, ids | {"fingerprint": bytes(16)}),
        (Outcome.ROUND_NOT_FOUND, {"room_id": stranger}),
        (Outcome.ROUND_NOT_FOUND, {"room_id": private.id}),
        (Outcome.ROUND_NOT_FOUND, {"room_id": closed_private.id}),
        (Outcome.ROUND_NOT_FOUND, {"round_id": 10**12}),
        (Outcome.ROUND_NOT_FOUND, {"round_id": 2**63 - 1}),
        (Outcome.ROUND_NOT_FOUND, {"round_id": await floor.round_id(private, 1)}),
        (Outcome.ROUND_NOT_FOUND, {"round_id": await floor.round_id(private, 2)}),
        (Outcome.ROUND_NOT_FOUND, {"round_id": await floor.round_id(closed_private, 1)}),
        (Outcome.ROUND_NOT_OPEN, {"round_id": await floor.round_id(number=1)}),
        (Outcome.ROUND_NOT_OPEN, {"round_id": await floor.round_id(closed, 1)}),
        (Outcome.ROUND_NOT_OPEN, {"room_id": unopened.id}),
        (Outcome.ROOM_CLOSED, {"room_id": closed.id}),
        (Outcome.ROOM_CLOSED, {"round_id": await floor.round_id(closed, 2)}),
        (Outcome.INVALID_PICKS, {"picks": bytes(10)}),
        (Outcome.INVALID_PICKS, {"picks": ((1 << 11) - 1).to_bytes(10, "big")}),
        (Outcome.CURRENCY_NOT_OFFERED, {"currency": "JPY"}),
        (Outcome.CURRENCY_NOT_OFFERED, {"currency": "BTC"}),
        (Outcome.INVALID_STAKE, {"stake_minor": 99}),
        (Outcome.INVALID_STAKE, {"stake_minor": 150}),
        (Outcome.INVALID_STAKE, {"stake_minor": STAKE_MAX_MINOR + 100}),
        (Outcome.INVALID_STAKE, {"stake_minor": 0}),
        (Outcome.INVALID_STAKE, {"stake_minor": -100}),
        (Outcome.PAYTABLE_NOT_OFFERED, {"paytable": bytes(32)}),
        (Outcome.PLAYER_BLOCKED, {"player": "blocked"}),
        (Outcome.PLAYER_BLOCKED, {"player": "blocked and poor"}),
        (Outcome.INSUFFICIENT_FUNDS, {"player": "nobody"}),
        (Outcome.INSUFFICIENT_FUNDS, {"currency": "USD"}),
    ]


async def test_a_service_places_what_arrives_together_in_the_order_of_its_arrival(floor: Floor) -> None:
    service = BetService(floor.pool, PRIVACY_KEY, RECEIPT_KEY)
    placed = await asyncio.gather(
        *(service.place(floor.operator_id, *request(floor, f"t{number}", stake_minor=10_000)) for number in range(12)),
        service.place(floor.operator_id, *request(floor, "t3", stake_minor=10_000)),
        service.place(floor.operator_id, *request(floor, "t4", stake_minor=9_900)),
    )
    outcomes = [each.outcome for each in placed]
    assert outcomes == [A] * 10 + [POOR] * 2 + [DUPLICATE, Outcome.CONFLICT]
    assert placed[12].receipt == placed[3].receipt
    assert await floor.balance("ann") == 0
