"""Bets on real connections at the same time as each other, as their round's lock, and as the loss of a connection."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec
import pytest
from support.databases import Database
from support.money import Floor
from support.rounds import PRIVACY_KEY, RECEIPT_KEY

from keno.bets import store
from keno.bets.limits import OperatorLimits
from keno.bets.outcome import Outcome
from keno.bets.request import BetRequest
from keno.bets.service import ATTEMPTS, BetService, Placed
from keno.bets.store import BetRow, PlacedRow, place_bets
from keno.game.numbers import picks_mask
from keno.infra import postgres
from keno.infra.postgres import Connection, create_pool

A, DUPLICATE, CONFLICT, POOR = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.INSUFFICIENT_FUNDS
GATEWAYS = 8
# What asyncpg makes of a connection that was cut, by the moment at which it was.
CUT = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@asynccontextmanager
async def gateways(database: Database, count: int = GATEWAYS) -> AsyncIterator[list[BetService]]:
    """Bet services that share nothing but the database, a connection each."""
    async with AsyncExitStack() as stack:
        services = []
        for _ in range(count):
            pool = await stack.enter_async_context(await create_pool(database.app_url, connections_max=1))
            services.append(BetService(pool, PRIVACY_KEY, RECEIPT_KEY))
            stack.push_async_callback(services[-1].close)
        yield services


def request(floor: Floor, transaction_id: str, player: str = "ann", stake_minor: int = 100) -> tuple[BetRequest, bytes]:
    bet = BetRequest(
        transaction_id=transaction_id,
        player=player,
        picks=[1],
        stake_minor=stake_minor,
        currency="EUR",
        room=floor.room.id,
    )
    return bet, picks_mask(bet.picks)


async def test_after_the_lock_of_a_round_has_committed_no_bet_of_it_commits(floor: Floor, database: Database) -> None:
    # Only the session that locks sees the sales as over. To the bets they go on, so that neither clock nor luck keeps
    # them out, but the lock alone.
    await floor.owner_pool.execute(
        """
        CREATE OR REPLACE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
        RETURN coalesce(nullif(current_setting('test.now_ms', true), '')::bigint, (SELECT ms FROM test_clock))
        """
    )
    rooms = [floor.room, *[await floor.add_room(period_ms=period_ms) for period_ms in range(11_000, 18_000, 1_000)]]
    await floor.hall.tick()
    rounds = {room.id: await floor.round_id(room) for room in rooms}
    await floor.fund("ann", 10**9)
    for player in ("bob", "eve"):
        await floor.fund(player, 10**9)
    accepted: Counter[int] = Counter()
    over, progress = asyncio.Event(), asyncio.Condition()

    async def bet_on_and_on(seed: int) -> None:
        chance = random.Random(seed)
        async with await create_pool(database.app_url, connections_max=1) as pool:
            while not over.is_set():
                batch = [
                    floor.bet(chance.choice(["ann", "bob", "eve"]), room_id=room.id)
                    for room in chance.choices(rooms, k=chance.randint(1, 30))
                ]
                rows = await place_bets(pool, batch)
                accepted.update(row.stand.round_id for row in rows if row.outcome is A and row.stand)
                assert {row.outcome for row in rows} <= {A, Outcome.ROUND_NOT_OPEN}
                async with progress:
                    progress.notify_all()

    async def counted(round_id: int) -> int:
        count: int = await floor.owner_pool.fetchval("SELECT count(*) FROM bets WHERE round_id = $1", round_id)
        return count

    bettors = [asyncio.ensure_future(bet_on_and_on(seed)) for seed in range(6)]
    at_lock: dict[int, int] = {}
    async with await create_pool(database.app_url, connections_max=1) as locking:
        for room in rooms:
            round_id = rounds[room.id]
            async with asyncio.timeout(30), progress:
                await progress.wait_for(lambda round_id=round_id: accepted[round_id] >= 40)
            lock_due_ms = (await floor.hall.row(room, 1))["lock_due_ms"]
            async with locking.acquire() as conn:
                await conn.execute("SELECT set_config('test.now_ms', $1, false)", str(lock_due_ms))
                assert await conn.fetchval("SELECT cardinality(late_ms) FROM lock_due_rounds(0, 1)") == 1
            at_lock[round_id] = await counted(round_id)
    over.set()
    await asyncio.gather(*bettors)
    assert {round_id: await counted(round_id) for round_id in at_lock} == at_lock
    assert {round_id: accepted[round_id] for round_id in at_lock} == at_lock
    # The commitment that is made of the locked rounds counts exactly these.
    await floor.hall.clock.set(lock_due_ms)
    await floor.hall.scheduler.step()
    sealed = await floor.owner_pool.fetch("SELECT id, bets_count FROM rounds WHERE lock_hash IS NOT NULL")
    assert {row["id"]: row["bets_count"] for row in sealed} == at_lock


@pytest.mark.parametrize("covered", [1_000_000, 100])
async def test_the_same_bet_from_many_gateways_at_once_is_one_bet_and_one_debit(
    floor: Floor, database: Database, covered: int
) -> None:
    # Also where the money is just enough for it once: nobody may hear that it is refused.
    async with gateways(database) as services:
        for turn in range(10):
            player = f"player {turn}"
            await floor.fund(player, covered)
            answers = await asyncio.gather(
                *(service.place(floor.operator_id, *request(floor, f"t{turn}", player)) for service in services)
            )
            assert Counter(each.outcome for each in answers) == {A: 1, DUPLICATE: GATEWAYS - 1}
            assert len({each.receipt for each in answers}) == 1
            assert await floor.balance(player) == covered - 100
    assert await floor.stored_bets([f"t{turn}" for turn in range(10)]) == [(f"t{turn}", 1, 1) for turn in range(10)]
    assert await floor.broken() == {}


async def test_different_bets_of_one_id_from_many_gateways_at_once_are_one_bet_and_conflicts(
    floor: Floor, database: Database
) -> None:
    async with gateways(database) as services:
        for player in range(GATEWAYS):
            await floor.fund(f"player {player}", 100_000)
        for turn in range(5):
            answers = await asyncio.gather(
                *(
                    service.place(floor.operator_id, *request(floor, f"t{turn}", f"player {player}"))
                    for player, service in enumerate(services)
                )
            )
            assert Counter(each.outcome for each in answers) == {A: 1, CONFLICT: GATEWAYS - 1}
    assert await floor.stored_bets([f"t{turn}" for turn in range(5)]) == [(f"t{turn}", 1, 1) for turn in range(5)]
    assert await floor.broken() == {}


async def test_batches_that_share_ids_in_any_order_all_get_answers(floor: Floor, database: Database) -> None:
    # Different players under the same ids: no account makes the batches take turns, only the ids do.
    ids = [f"t{number}" for number in range(100)]
    for player in range(GATEWAYS):
        await floor.fund(f"player {player}", 1_000_000)

    async def place_all(service: BetService, player: int) -> list[Placed]:
        own = random.Random(player).sample(ids, 70)
        answers = await asyncio.gather(
            *(service.place(floor.operator_id, *request(floor, each, f"player {player}")) for each in own)
        )
        again = await asyncio.gather(
            *(service.place(floor.operator_id, *request(floor, each, f"player {player}")) for each in own)
        )
        assert [each.outcome for each in again] == [
            DUPLICATE if each.outcome is A else each.outcome for each in answers
        ]
        return answers

    async with gateways(database) as services:
        # Their connections are there, and their statement is prepared.
        await asyncio.gather(
            *(service.place(floor.operator_id, *request(floor, "warm", "nobody")) for service in services)
        )
        placed = await asyncio.gather(*(place_all(service, player) for player, service in enumerate(services)))
    outcomes = Counter(each.outcome for answers in placed for each in answers)
    assert outcomes == {A: len(ids), CONFLICT: 70 * GATEWAYS - len(ids)}
    assert await floor.stored_bets(ids) == sorted((each, 1, 1) for each in ids)
    assert await floor.broken() == {}


async def test_batches_with_the_same_players_never_deadlock_and_never_overdraw(
    floor: Floor, database: Database
) -> None:
    players = [f"player {number}" for number in range(6)]
    for player in players:
        await floor.fund(player, 5_000)

    async def play(seed: int) -> list[tuple[BetRow, PlacedRow]]:
        chance = random.Random(seed)
        answered = []
        async with await create_pool(database.app_url, connections_max=1) as pool:
            for turn in range(12):
                batch = [floor.bet(chance.choice(players), chance.choice([100, 200, 500])) for _ in range(10)]
                answered += list(zip(batch, await place_bets(pool, batch), strict=True))
                if turn % 4 == 0:
                    await floor.fund(chance.choice(players), 1_000)
        return answered

    answered = [pair for each in await asyncio.gather(*(play(seed) for seed in range(6))) for pair in each]
    assert {row.outcome for _, row in answered} == {A, POOR}
    deposited = await floor.owner_pool.fetchval(
        "SELECT sum(amount_minor) FROM wallet_transactions WHERE kind = 'deposit'"
    )
    staked = sum(bet.stake_minor for bet, row in answered if row.outcome is A)
    balances = [await floor.balance(player) for player in [*players, "ann"]]
    assert min(balance for balance in balances if balance is not None) >= 0
    assert sum(balance or 0 for balance in balances) == deposited - staked
    assert await floor.broken() == {}


@pytest.mark.parametrize("in_turn", [False, True])
async def test_a_batch_that_waits_for_an_account_holds_none_of_a_higher_id(
    floor: Floor, database: Database, in_turn: bool
) -> None:
    # Or two batches could wait for each other; here it takes no luck to see.
    players = [f"player {number}" for number in range(6)]
    for player in players:
        await floor.fund(player, 1_000)
    first, *others = await floor.account_ids(*players)
    batch = [floor.bet(player) for player in reversed(players)]
    if in_turn:
        await floor.hall.bets.limit_operator(floor.operator_id, OperatorLimits("EUR", 5, None), actor="a test")
    async with await create_pool(database.app_url, connections_max=1) as pool, pool.acquire() as conn:
        async with floor.owner_pool.acquire() as holder, holder.transaction():
            await holder.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", first)
            working = asyncio.ensure_future(place_bets(conn, batch))
            await floor.until_waiting(conn.get_server_pid())
            await holder.execute("SELECT FROM accounts WHERE id = ANY ($1) FOR UPDATE NOWAIT", others)
        assert [row.outcome for row in await working] == [A] * len(batch)
    assert [await floor.balance(player) for player in players] == [900] * len(players)


async def test_a_batch_that_waits_for_an_id_holds_none_of_a_higher_one(floor: Floor, database: Database) -> None:
    ids = [f"t{number:02}" for number in range(20)]
    for player in ("bob", "eve", "kim"):
        await floor.fund(player, 10_000)
    batch = [floor.bet("bob", transaction_id=each) for each in reversed(ids)]
    async with await create_pool(database.app_url, connections_max=1) as pool, pool.acquire() as conn:
        async with floor.owner_pool.acquire() as holder, holder.transaction():
            await floor.place(floor.bet("eve", transaction_id=ids[0]), conn=holder)
            placing = asyncio.ensure_future(place_bets(conn, batch))
            await floor.until_waiting(conn.get_server_pid())
            async with floor.owner_pool.acquire() as third, third.transaction():
                # What the batch had put in already, this would wait for, and be told so.
                await third.execute("SET LOCAL lock_timeout = 5000")
                rows = await floor.place(*(floor.bet("kim", transaction_id=each) for each in ids[1:]), conn=third)
        assert [row.outcome for row in rows] == [A] * 19
        assert [row.outcome for row in await placing] == [CONFLICT] * 20
    assert await floor.stored_bets(ids) == [(each, 1, 1) for each in ids]
    assert await floor.balance("bob") == 10_000
    assert await floor.broken() == {}


async def test_a_bet_whose_connection_was_cut_in_the_middle_is_placed_once_by_its_retry(
    floor: Floor, database: Database
) -> None:
    bet = floor.bet()
    before = await floor.books()
    victim = await asyncpg.connect(database.app_url)
    pid = victim.get_server_pid()
    async with floor.owner_pool.acquire() as other, other.transaction():
        # The batch comes as far as the accounts, and waits.
        await other.execute("SELECT FROM accounts FOR UPDATE")
        cut = asyncio.ensure_future(place_bets(victim, [bet]))
        await floor.until_waiting(pid)
        await floor.owner_pool.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    with pytest.raises(CUT):
        await cut
    assert await floor.books() == before
    assert await floor.outcomes(bet) == [A]
    assert await floor.outcomes(bet) == [DUPLICATE]
    assert await floor.balance("ann") == 99_900


async def test_bets_whose_connections_are_cut_at_any_moment_are_placed_once_by_their_retries(
    floor: Floor, database: Database
) -> None:
    chance, loop = random.Random(7), asyncio.get_running_loop()
    lost = Counter[str]()
    took_s = 0.0

    async def attempt(batch: Sequence[BetRow], cut_after_s: float | None) -> list[PlacedRow]:
        conn = await asyncpg.connect(database.app_url)
        placing = asyncio.ensure_future(place_bets(conn, batch))
        try:
            if cut_after_s is not None:
                await asyncio.sleep(cut_after_s)
                await floor.owner_pool.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
            return await placing
        finally:
            conn.terminate()

    async def place_stubbornly(batch: Sequence[BetRow]) -> list[PlacedRow]:
        for _ in range(3):
            try:
                return await attempt(batch, chance.uniform(0, took_s))
            except CUT:
                lost["answers"] += 1
        return await attempt(batch, None)

    batches = [[floor.bet() for _ in range(10)] for _ in range(10)]
    started_s = loop.time()
    answers = [row.outcome for row in await attempt(batches[0], None)]
    took_s = 1.5 * (loop.time() - started_s)
    answers += [row.outcome for batch in batches[1:] for row in await place_stubbornly(batch)]
    assert set(answers) <= {A, DUPLICATE}
    assert lost["answers"] > 0
    assert await floor.balance("ann") == 100_000 - 100 * 100
    ids = [bet.transaction_id for batch in batches for bet in batch]
    assert await floor.stored_bets(ids) == sorted((each, 1, 1) for each in ids)
    assert await floor.broken() == {}


async def test_a_batch_that_fails_as_a_whole_has_stored_none_of_its_bets(floor: Floor) -> None:
    good = floor.bet()
    twice = msgspec.structs.replace(floor.bet(), transaction_id=good.transaction_id)
    before = await floor.books()
    with pytest.raises(asyncpg.UniqueViolationError):
        await floor.place(good, floor.bet(), twice)
    assert await floor.books() == before


class Attempts:
    """Counts how often a batch is tried, and says so when one has waited in vain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.waited_in_vain = asyncio.Event()
        monkeypatch.setattr(store, "place_bets", self._place)

    async def _place(self, conn: Connection, bets: Sequence[BetRow]) -> list[PlacedRow]:
        self.made += 1
        try:
            return await place_bets(conn, bets)
        except asyncpg.LockNotAvailableError:
            self.waited_in_vain.set()
            raise


@pytest.fixture
def short_lock_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MS", 200)


@pytest.mark.usefixtures("short_lock_timeout")
async def test_a_batch_that_waited_past_the_lock_timeout_is_tried_again_and_placed_once(
    floor: Floor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await floor.fund("bob", 1_000)
    (account,) = await floor.account_ids("bob")
    attempts = Attempts(monkeypatch)
    async with gateways(database, 1) as (service,):
        async with floor.owner_pool.acquire() as holder, holder.transaction():
            await holder.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", account)
            asked = [request(floor, "waits", "bob"), request(floor, "beside it")]
            placing = asyncio.ensure_future(service.place_all(floor.operator_id, asked))
            await attempts.waited_in_vain.wait()
        assert [each.outcome for each in await placing] == [A, A]
    assert attempts.made > 1
    assert await floor.stored_bets(["beside it", "waits"]) == [("beside it", 1, 1), ("waits", 1, 1)]
    assert await floor.balance("bob") == 900
    assert await floor.broken() == {}


@pytest.mark.usefixtures("short_lock_timeout")
async def test_a_batch_that_always_waits_in_vain_fails_as_a_whole_and_its_bets_can_be_asked_again(
    floor: Floor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await floor.fund("bob", 1_000)
    (account,) = await floor.account_ids("bob")
    attempts = Attempts(monkeypatch)
    asked = [request(floor, "waits", "bob"), request(floor, "beside it")]
    async with gateways(database, 1) as (service,):
        async with floor.owner_pool.acquire() as holder, holder.transaction():
            await holder.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", account)
            with pytest.raises(asyncpg.LockNotAvailableError):
                await service.place_all(floor.operator_id, asked)
        assert attempts.made == ATTEMPTS
        assert await floor.stored_bets(["beside it", "waits"]) == []
        again = await service.place_all(floor.operator_id, asked)
    assert [each.outcome for each in again] == [A, A]
    assert await floor.broken() == {}
