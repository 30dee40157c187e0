"""Large rounds are settled in chunks that survive any kill, beside small rounds; a bad round holds up no other."""

import asyncio
import json

import pytest
from support.databases import Database
from support.killed_settler import settle_until_killed
from support.money import Floor

from keno.bets import read_store
from keno.bets.settler import Settler
from keno.infra.postgres import create_pool
from keno.rounds.room_store import Room

CHUNK_BETS = 30
CREDIT = "SELECT credits_count FROM credit_rounds(ARRAY[$1::bigint])"
"""The rounds here have 80 bets, one on each number: 20 of them win 376 each."""


async def fill(floor: Floor, room: Room | None = None, bets: int = 80) -> None:
    room = room or floor.room
    await floor.place(*(floor.bet(picks=(number,), room_id=room.id) for number in range(1, bets + 1)))


async def drawn(floor: Floor, *rooms: Room) -> list[int]:
    """Takes the first round of each room, which has bets, to its draw; their ids."""
    for room in rooms:
        await floor.draw(1, room)
    return [await floor.round_id(room) for room in rooms]


async def phase(floor: Floor, round_id: int) -> str:
    found: str = await floor.owner_pool.fetchval("SELECT phase FROM rounds WHERE id = $1", round_id)
    return found


async def count(floor: Floor, table: str) -> int:
    found: int = await floor.owner_pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
    return found


async def outcome(floor: Floor) -> dict[str, list[tuple[object, ...]]]:
    """What settlement has written, without what tells chunks and rounds apart."""
    books = await floor.books()
    told = await floor.owner_pool.fetch(
        "SELECT routing_key, payload FROM outbox WHERE routing_key IN ('round.settled', 'payouts.ready') ORDER BY id"
    )
    return {"payouts": books["payouts"], "totals": books["round_totals"], "told": [tuple(row) for row in told]}


async def test_a_round_in_chunks_has_the_outcome_of_the_round_as_a_whole(floor: Floor) -> None:
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 100_000, operator_id=other)
    await fill(floor)
    await floor.place(*(floor.bet(picks=(number,), operator_id=other) for number in range(1, 81)))
    await drawn(floor, floor.room)

    settler = Settler(floor.pool, chunk_bets=CHUNK_BETS)
    while await settler.step() == 0:
        pass
    in_chunks = await outcome(floor)
    assert await floor.owner_pool.fetchval("SELECT count(DISTINCT last_bet_id) FROM settlement_chunks") == 6
    assert await floor.broken() == {}

    await floor.hall.tamper("DELETE FROM payouts")
    await floor.hall.tamper("DELETE FROM round_totals")
    await floor.hall.tamper("DELETE FROM settlement_chunks")
    await floor.hall.tamper("DELETE FROM outbox_batches WHERE routing_key IN ('round.settled', 'payouts.ready')")
    await floor.hall.tamper("UPDATE rounds SET phase = 'drawn', ended_ms = NULL WHERE phase = 'settled'")
    assert await floor.hall.settler.step() == 0
    assert await outcome(floor) == in_chunks
    assert await count(floor, "settlement_chunks") == 0


async def test_after_each_chunk_the_books_are_right_and_nothing_of_it_can_be_had(floor: Floor) -> None:
    await fill(floor)
    (round_id,) = await drawn(floor, floor.room)
    settler = Settler(floor.pool, chunk_bets=CHUNK_BETS)
    balance, bets_settled = await floor.balance("ann"), []
    while await settler.settle_chunk() == 0:
        assert await floor.broken() == {}
        bets_settled.append(await floor.owner_pool.fetchval("SELECT sum(bets_count) FROM settlement_chunks"))
        if len(bets_settled) <= 3:
            assert await phase(floor, round_id) == "drawn"
            assert await floor.pool.fetchval(CREDIT, round_id) is None
            assert (await outcome(floor))["told"] == []
    assert bets_settled == [30, 60, 80, 80]
    assert await floor.balance("ann") == balance
    assert await floor.pool.fetchval(CREDIT, round_id) == 20
    assert await floor.broken() == {}


async def test_a_bet_of_a_drawn_round_is_not_shown_as_won_before_its_round_is_settled(floor: Floor) -> None:
    await fill(floor)
    await drawn(floor, floor.room)
    settler = Settler(floor.pool, chunk_bets=79)
    assert await settler.settle_chunk() == 0
    won = await floor.owner_pool.fetchval("SELECT min(bet_id) FROM payouts")
    assert (await bet_shown(floor, won)) == (None, None)
    while await settler.step() == 0:
        pass
    assert (await bet_shown(floor, won)) == (1, 376)


async def bet_shown(floor: Floor, bet_id: int) -> tuple[int | None, int | None]:
    shown = await read_store.bet_by_id(floor.pool, floor.operator_id, bet_id)
    assert shown is not None
    return shown.hits, shown.payout_minor


@pytest.mark.parametrize(
    ("name", "nth", "when", "bets_settled"),
    [
        ("bets_after", 1, "after", 0),
        ("store_payouts", 2, "after", 30),
        ("record_chunk", 2, "after", 30),
        ("hold_large_round", 3, "before", 60),
        ("totals_of_chunks", 1, "before", 80),
        ("end_rounds", 1, "after", 80),
    ],
)
async def test_another_settler_goes_on_where_one_was_killed(
    floor: Floor, database: Database, name: str, nth: int, when: str, bets_settled: int
) -> None:
    await fill(floor)
    (round_id,) = await drawn(floor, floor.room)
    await settle_until_killed(database, floor.owner_pool, CHUNK_BETS, name, nth, when)
    chunks = "SELECT coalesce(sum(bets_count), 0)::bigint FROM settlement_chunks"
    assert await floor.owner_pool.fetchval(chunks) == bets_settled
    assert await phase(floor, round_id) == "drawn"
    assert await floor.broken() == {}
    while await floor.hall.settler.step() == 0:
        pass
    assert await phase(floor, round_id) == "settled"
    assert await count(floor, "payouts") == 20
    assert len((await outcome(floor))["told"]) == 2
    assert await floor.broken() == {}


async def test_small_rounds_are_settled_beside_a_large_one(floor: Floor) -> None:
    small = await floor.add_room()
    await floor.hall.tick()
    await fill(floor)
    await fill(floor, small, bets=20)
    large_id, small_id = await drawn(floor, floor.room, small)
    settler = Settler(floor.pool, chunk_bets=CHUNK_BETS)
    async with floor.owner_pool.acquire() as holder, holder.transaction():
        # As another settler in the middle of a chunk.
        await holder.execute("SELECT FROM rounds WHERE id = $1 FOR NO KEY UPDATE", large_id)
        assert await settler.settle_chunk() > 0
        assert await settler.settle_small_rounds() == 0
        assert await phase(floor, small_id) == "settled"
    while await settler.settle_chunk() == 0:
        pass
    assert await phase(floor, large_id) == "settled"
    assert await floor.broken() == {}


async def test_settlers_at_the_same_time_settle_each_chunk_once(floor: Floor, database: Database) -> None:
    rooms = [floor.room, *[await floor.add_room() for _ in range(3)]]
    await floor.hall.tick()
    for room in rooms:
        await fill(floor, room)
    await drawn(floor, *rooms)

    async def settle_all() -> int:
        async with await create_pool(database.app_url, connections_max=2) as pool:
            settler, chunks = Settler(pool, chunk_bets=CHUNK_BETS), 0
            while await count(floor, "rounds WHERE phase = 'drawn'"):
                chunks += await settler.settle_chunk() == 0
            return chunks

    # Three chunks and the end of each round.
    assert sum(await asyncio.gather(*(settle_all() for _ in range(3)))) == 4 * len(rooms)
    assert await count(floor, "payouts") == 20 * len(rooms)
    assert len((await outcome(floor))["told"]) == 2 * len(rooms)
    assert await floor.broken() == {}


# What is done to a round behind the back of the rules, and what is said of it.
DAMAGES = {
    "terms": ("UPDATE bets SET terms = 77 WHERE id = (SELECT max(id) FROM bets WHERE round_id = $1)", "terms"),
    "a bet more": ("UPDATE rounds SET bets_count = 79 WHERE id = $1", "was locked with 79 bets and has 80"),
    "a payout": (
        "INSERT INTO payouts SELECT id, round_id, account_id, 1, 0, 1 FROM bets WHERE round_id = $1",
        "duplicate key",
    ),
    "rules": ("UPDATE rounds SET rules_hash = sha256('other') WHERE id = $1", "are not published"),
    "numbers": ("UPDATE rounds SET numbers = decode(repeat('07', 20), 'hex') WHERE id = $1", "number 7 occurs twice"),
}


@pytest.mark.parametrize("chunk_bets", [1_000, CHUNK_BETS])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_round_that_cannot_be_settled_is_set_aside_and_holds_up_no_other(
    floor: Floor, damage: str, chunk_bets: int
) -> None:
    rooms = [floor.room, *[await floor.add_room() for _ in range(4)]]
    await floor.hall.tick()
    for room in rooms:
        await fill(floor, room)
    round_ids = await drawn(floor, *rooms)
    bad = round_ids[1]
    statement, reason = DAMAGES[damage]
    await floor.hall.tamper(statement, bad)

    settler = Settler(floor.pool, chunk_bets=chunk_bets)
    while await settler.step() == 0:
        pass
    assert [await phase(floor, each) for each in round_ids] == ["settled", "drawn", "settled", "settled", "settled"]
    aside = await floor.owner_pool.fetchrow("SELECT round_id, failures_count, reason FROM rounds_set_aside")
    assert aside is not None
    assert tuple(aside)[:2] == (bad, 1)
    assert reason in aside["reason"]
    logged = await floor.owner_pool.fetchrow("SELECT * FROM audit_logs ORDER BY id DESC LIMIT 1")
    assert logged is not None
    assert (logged["actor"], logged["action"], logged["subject"]) == ("settler", "round.set_aside", f"round:{bad}")
    assert json.loads(logged["detail"])["reason"] == aside["reason"]


async def test_a_round_that_has_bets_although_it_was_locked_with_none_is_set_aside(floor: Floor) -> None:
    empty, other = [await floor.add_room() for _ in range(2)]
    await floor.hall.tick()
    await fill(floor, bets=1)
    await floor.hall.at_lock(floor.room, 1)
    await floor.hall.tick()
    bad, good = await floor.round_id(empty), await floor.round_id(other)
    await floor.hall.tamper(
        """
        INSERT INTO bets (operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint,
            transaction_id)
        SELECT operator_id, $1, account_id, stake_minor, accepted_ms, terms, picks, fingerprint, 'behind the lock'
        FROM bets
        """,
        bad,
    )
    await floor.hall.at_draw(floor.room, 1)
    await floor.hall.tick()
    assert [await phase(floor, each) for each in (bad, good)] == ["drawn", "settled"]
    told = await floor.owner_pool.fetch("SELECT payload FROM outbox WHERE routing_key = 'round.settled'")
    assert str(bad) not in [json.loads(payload)["round"] for (payload,) in told]
    reason = await floor.owner_pool.fetchval("SELECT reason FROM rounds_set_aside WHERE round_id = $1", bad)
    assert "was locked with 0 bets and has 1" in reason


async def test_a_round_that_was_set_aside_is_tried_again_later_and_settled_once_it_can_be(floor: Floor) -> None:
    await fill(floor)
    (round_id,) = await drawn(floor, floor.room)
    bet_id = await floor.owner_pool.fetchval("SELECT max(id) FROM bets")
    await floor.hall.tamper("UPDATE bets SET terms = 77 WHERE id = $1", bet_id)
    settler, now_ms = floor.hall.settler, await floor.owner_pool.fetchval("SELECT now_ms()")
    waits_ms = []
    for failures in range(1, 14):
        assert await settler.step() == 0
        assert await settler.step() > 0
        row = await floor.owner_pool.fetchrow("SELECT failures_count, retry_ms FROM rounds_set_aside")
        assert row is not None
        assert row["failures_count"] == failures
        waits_ms.append(row["retry_ms"] - now_ms)
        now_ms = row["retry_ms"]
        await floor.hall.clock.set(now_ms)
    assert waits_ms == [min(1000 * 2**n, 600_000) for n in range(13)]
    assert await count(floor, "audit_logs WHERE action = 'round.set_aside'") == 13

    await floor.hall.tamper("UPDATE bets SET terms = 0 WHERE id = $1", bet_id)
    assert await settler.step() == 0
    assert await phase(floor, round_id) == "settled"
    assert await count(floor, "payouts") == 20
