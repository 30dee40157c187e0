"""The settlement of rounds: what each bet is paid, by figures of our own, and that it happens once or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from support.databases import Database
from support.money import DEFAULT_PAYTABLE, OTHER_PAYTABLE, Floor, floor_rules, open_floor
from support.rounds import WRAPPING_KEY

from keno import verifier
from keno.bets import store
from keno.bets.settler import Settler
from keno.bets.store import BetRow
from keno.fairness.epoch_keys import EpochKeys
from keno.game.odds import PARTS
from keno.game.settlement import RoundTotals
from keno.infra.key_providers import LocalKeys
from keno.infra.postgres import Connection, create_pool

PAYTABLES = {paytable.hash: paytable for paytable in (DEFAULT_PAYTABLE, OTHER_PAYTABLE)}
WIN_MAX_MINOR = {"EUR": 20_000, "USD": 5_000_000}


@pytest.fixture
async def floor(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    async with open_floor(pool, vault_pool, owner_pool, floor_rules(**WIN_MAX_MINOR)) as opened:
        for player, code in [("ann", "EUR"), ("ann", "USD"), ("bob", "EUR")]:
            await opened.fund(player, 10_000_000, code)
        yield opened


def due(bet: BetRow, numbers: Sequence[int]) -> tuple[int, int, int]:
    """(hits, payout, cut) of a bet, by the verifier's own arithmetic."""
    picks = {number for number in range(1, 81) if int.from_bytes(bet.picks) >> number - 1 & 1}
    hits = len(picks & set(numbers))
    paytable = PAYTABLES[bet.paytable or DEFAULT_PAYTABLE.hash]
    multiplier = paytable.multipliers[len(picks)][hits]
    return hits, *verifier.payout(bet.stake_minor, multiplier, paytable.scale, WIN_MAX_MINOR[bet.currency])


def singles(floor: Floor, **changes: Any) -> list[BetRow]:
    """A bet on each number alone: 20 of them win, whatever is drawn."""
    return [floor.bet(**({"picks": (number,)} | changes)) for number in range(1, 81)]


async def drawn_numbers(floor: Floor, number: int = 1) -> list[int]:
    return list((await floor.hall.row(floor.room, number))["numbers"])


async def paid(floor: Floor) -> dict[str, tuple[int, int, int]]:
    """(hits, payout, cut) by transaction id."""
    rows = await floor.owner_pool.fetch(
        """
        SELECT b.transaction_id, p.hits, p.payout_minor, p.cut_minor
        FROM payouts AS p JOIN bets AS b ON b.id = p.bet_id AND b.round_id = p.round_id
        """
    )
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def told(floor: Floor) -> list[str]:
    """The events of settlement, by their routing keys."""
    rows = await floor.owner_pool.fetch(
        "SELECT routing_key FROM outbox WHERE routing_key IN ('round.settled', 'payouts.ready') ORDER BY id"
    )
    return [row["routing_key"] for row in rows]


async def test_every_bet_is_paid_what_an_independent_computation_says_and_no_other_is(floor: Floor) -> None:
    bets = singles(floor, stake_minor=10_000)
    bets += singles(floor, stake_minor=300, currency="USD", paytable=OTHER_PAYTABLE.hash)
    for size in range(2, 11):
        bets += [floor.bet("bob", 100 * size, picks=range(at, at + size)) for at in range(1, 82 - size, 3)]
    await floor.place(*bets)
    await floor.settle()
    numbers = await drawn_numbers(floor)
    expected = {bet.transaction_id: due(bet, numbers) for bet in bets}
    assert await paid(floor) == {each: outcome for each, outcome in expected.items() if outcome[1]}
    assert await told(floor) == ["round.settled", "payouts.ready"]
    assert await floor.broken() == {}


async def test_the_maximum_win_cuts_and_what_it_cut_is_recorded(floor: Floor) -> None:
    bets = singles(floor, stake_minor=10_000)
    await floor.place(*bets)
    await floor.settle()
    won_minor = 10_000 * DEFAULT_PAYTABLE.multipliers[1][1] // DEFAULT_PAYTABLE.scale
    assert won_minor > WIN_MAX_MINOR["EUR"]
    payouts = await paid(floor)
    assert len(payouts) == 20
    assert set(payouts.values()) == {(1, 20_000, won_minor - 20_000)}


async def test_the_totals_of_a_round_are_by_operator_and_currency(floor: Floor) -> None:
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 1_000_000, operator_id=other)
    await floor.place(
        *singles(floor, stake_minor=10_000),
        *singles(floor, stake_minor=200, currency="USD"),
        *singles(floor, operator_id=other),
    )
    await floor.settle()
    rows = await floor.owner_pool.fetch("SELECT * FROM round_totals")
    totals = {(row["operator_id"], row["currency"]): tuple(row.values())[3:] for row in rows}
    assert totals == {
        # Of 80 bets on a number each just 20 win: what is paid is what was expected.
        (floor.operator_id, "EUR"): (80, 800_000, 20 * 20_000, 20 * 17_600, 20 * 20_000 * PARTS),
        (floor.operator_id, "USD"): (80, 16_000, 20 * 752, 0, 20 * 752 * PARTS),
        (other, "EUR"): (80, 8_000, 20 * 376, 0, 20 * 376 * PARTS),
    }


async def test_a_round_without_bets_is_settled_and_pays_nobody(floor: Floor) -> None:
    await floor.settle()
    assert (await floor.hall.row(floor.room, 1))["phase"] == "settled"
    books = await floor.books()
    assert (books["payouts"], books["round_totals"]) == ([], [])
    assert await told(floor) == ["round.settled"]
    assert await floor.broken() == {}


async def insider_knowledge(floor: Floor) -> list[int]:
    """The numbers that round 1 will draw: in profile S whoever has the vault's wrapping key can tell."""
    epoch_id, wrapped = await floor.owner_pool.fetchrow("SELECT epoch_id, wrapped_key FROM rng_seeds") or (0, b"")
    epoch_key = await EpochKeys(LocalKeys(WRAPPING_KEY)).opened(epoch_id, wrapped)
    context = floor.room.id.bytes + verifier.u64(1)
    seed = epoch_key.seed(floor.room.id.bytes, 1)
    commit = verifier.sha256(b"keno1:commit", context, seed)
    return verifier.draw(seed, verifier.sha256(b"keno1:pre", context, commit, verifier.u64(0)), bytes(32))


async def test_a_round_of_losers_is_settled_without_an_event_for_payouts(floor: Floor) -> None:
    undrawn = sorted(set(range(1, 81)) - set(await insider_knowledge(floor)))
    await floor.place(*(floor.bet(picks=(number,)) for number in undrawn))
    await floor.settle()
    assert await paid(floor) == {}
    assert await told(floor) == ["round.settled"]
    total = await floor.owner_pool.fetchrow(
        "SELECT bets_count, staked_minor, paid_minor, cut_minor, expected_parts FROM round_totals"
    )
    assert tuple(total or ()) == (60, 6_000, 0, 0, 15 * 376 * PARTS)
    assert await floor.broken() == {}


async def test_a_settled_round_cannot_be_settled_again(floor: Floor) -> None:
    await floor.place(*singles(floor))
    await floor.settle()
    round_id, before = await floor.round_id(), await floor.books()
    async with floor.pool.acquire() as conn, conn.transaction():
        await store.end_rounds(conn, [round_id], [])
    assert await floor.hall.settler.step() > 0
    assert await floor.books() == before


async def test_settlers_at_the_same_time_settle_each_round_once(floor: Floor, database: Database) -> None:
    rooms = [floor.room, *[await floor.add_room(its_rules=floor_rules(**WIN_MAX_MINOR)) for _ in range(5)]]
    await floor.hall.tick()
    for room in rooms:
        await floor.place(*singles(floor, room_id=room.id))
    for room in rooms:
        await floor.draw(1, room)

    async def settle_all() -> int:
        async with await create_pool(database.app_url, connections_max=1) as pool:
            settler, settled = Settler(pool, chunk_bets=100), 0  # the bets of one round fit
            for _ in range(12):
                settled += await settler.step() == 0
            return settled

    assert sum(await asyncio.gather(*(settle_all() for _ in range(4)))) == len(rooms)
    assert sorted(await told(floor)) == ["payouts.ready"] * len(rooms) + ["round.settled"] * len(rooms)
    assert len(await paid(floor)) == 20 * len(rooms)
    assert await floor.broken() == {}


@pytest.mark.parametrize("crash", ["bug", "lost connection"])
async def test_a_settler_that_fails_at_the_end_leaves_the_round_drawn_for_the_next(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    await floor.place(*singles(floor))
    await floor.draw()
    before, end_rounds = await floor.books(), store.end_rounds

    async def settle_and_fail(conn: Connection, round_ids: Sequence[int], totals: Sequence[RoundTotals]) -> None:
        await end_rounds(conn, round_ids, totals)
        if crash == "bug":
            raise ZeroDivisionError
        pid = await conn.fetchval("SELECT pg_backend_pid()")
        await floor.owner_pool.execute("SELECT pg_terminate_backend($1, 5000)", pid)

    with monkeypatch.context() as patched:
        patched.setattr(store, "end_rounds", settle_and_fail)
        with pytest.raises((ZeroDivisionError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await floor.hall.settler.step()
    assert (await floor.hall.row(floor.room, 1))["phase"] == "drawn"
    assert await floor.books() == before
    assert await floor.hall.settler.step() == 0
    assert (await floor.hall.row(floor.room, 1))["phase"] == "settled"
    assert len(await paid(floor)) == 20
    assert await floor.broken() == {}
