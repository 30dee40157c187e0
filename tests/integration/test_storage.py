"""Old partitions leave, with nothing lost and the books closed behind them; receipts of old events are forgotten."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from support.audits import broken, on_trial
from support.money import Floor

from keno.bets import read_store
from keno.bets.limits import OperatorLimits
from keno.bets.outcome import Outcome
from keno.fairness.service import ArchivedError
from keno.infra import failpoints
from keno.infra.bus import Event
from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay
from keno.reporting.service import ReportingService
from keno.storage.service import Storage
from keno.wallet.service import WalletService
from workers import wallet as wallet_worker

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
RETENTION_MS = 10 * DAY_MS


@pytest.fixture
async def floor(floor: Floor, owner_pool: asyncpg.Pool) -> Floor:
    """A settled and a void round, both credited, the last of their partition, and a round on sale in the next."""
    boundary = await owner_pool.fetchval("SELECT min(end_round) FROM bet_partitions")
    await floor.place(*(floor.bet(picks=(pick,)) for pick in range(1, 81)))
    await floor.settle(1)
    await floor.hall.tick()
    await floor.place(floor.bet(), floor.bet())
    await owner_pool.execute(f"ALTER SEQUENCE rounds_id_seq RESTART WITH {boundary}")
    await floor.void(2)
    await floor.hall.tick()
    assert await floor.round_id(number=3) == boundary
    await floor.place(floor.bet())
    await handle_all(floor)
    return floor


async def handle_all(floor: Floor) -> None:
    bus, wallet = LocalBus(floor.pool), WalletService(floor.pool)
    wallet_worker.subscribe(SimpleNamespace(bus=bus, wallet=wallet))  # type: ignore[arg-type]
    bus.subscribe("reporting", ["round.settled"], ReportingService(floor.pool).record_round)
    relay = Relay(floor.pool, bus, RETENTION_MS)
    while await relay.step():
        pass


def storage(floor: Floor) -> Storage:
    return Storage(floor.pool, RETENTION_MS, RETENTION_MS)


async def grow_old(floor: Floor, by_ms: int = 11 * DAY_MS) -> None:
    """The room closes, its last round ends, and time passes."""
    await floor.pool.execute("UPDATE rooms SET status = 'closed'")
    await floor.settle(3)
    await handle_all(floor)
    now_ms = await floor.owner_pool.fetchval("SELECT now_ms()")
    await floor.hall.clock.set(now_ms + by_ms)


async def attached(floor: Floor) -> int:
    first: int = await floor.owner_pool.fetchval("SELECT min(first_round) FROM bet_partitions")
    return first


async def archived(floor: Floor) -> list[str]:
    rows = await floor.owner_pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'archive' ORDER BY 1")
    return [row[0] for row in rows]


async def archive(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await grow_old(floor)
    await storage(floor).step()
    assert await archived(floor) == ["bets_0", "payouts_0"]


async def test_a_partition_leaves_whole_when_its_rounds_are_old_and_audited(floor: Floor) -> None:
    bets = await floor.owner_pool.fetch(
        "SELECT * FROM bets WHERE round_id < $1 ORDER BY id", await floor.round_id(number=3)
    )
    payouts = await floor.owner_pool.fetch("SELECT * FROM payouts ORDER BY bet_id")
    balance = await floor.balance("ann")
    await archive(floor)
    assert await floor.owner_pool.fetch("SELECT * FROM archive.bets_0 ORDER BY id") == bets
    assert await floor.owner_pool.fetch("SELECT * FROM archive.payouts_0 ORDER BY bet_id") == payouts
    assert await floor.owner_pool.fetchval("SELECT count(*) FROM bets") == 1
    won = await floor.owner_pool.fetchval("SELECT coalesce(sum(payout_minor), 0)::bigint FROM payouts")
    assert await floor.balance("ann") == balance + won, "nothing but what the last bet has won"
    assert await storage(floor).step() > 1, "the next partition has the newest rounds"


async def test_the_audit_goes_on_after_a_partition_has_left_and_starts_again_from_its_sums(floor: Floor) -> None:
    await archive(floor)
    for full, renew in ((False, False), (True, False), (False, True), (True, False)):
        report = await floor.audit.run(full=full, renew=renew)
        assert (broken(report), report.is_extended) == (set(), True), (full, renew)
    assert report.rounds_count == 1
    assert await floor.owner_pool.fetchval("SELECT count(*) FROM archived_balances WHERE minor <> 0") >= 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE archived_balances SET minor = minor + 1",
        "DELETE FROM archived_balances",
        "UPDATE archived_partitions SET detached_ms = NULL",
        "DELETE FROM archived_refunds",
        "UPDATE accounts SET balance_minor = balance_minor + 1 WHERE kind = 'player'",
    ],
)
async def test_archived_sums_that_were_tampered_with_are_found_by_the_full_audit(floor: Floor, damage: str) -> None:
    await archive(floor)
    assert (await floor.audit.run()).is_extended
    async with on_trial(floor) as (conn, its_audit):
        await conn.execute(damage)
        assert broken(await its_audit.run(full=True))


async def test_no_partition_leaves_before_it_is_audited_ended_and_old(floor: Floor) -> None:
    await storage(floor).step()
    assert await attached(floor) == 0, "its rounds are new"
    await grow_old(floor)
    await storage(floor).step()
    assert await attached(floor) == 0, "no audit has seen it"
    await floor.hall.tamper("DELETE FROM round_credits WHERE round_id = (SELECT min(round_id) FROM round_credits)")
    assert not (await floor.audit.run()).is_extended
    await storage(floor).step()
    assert await attached(floor) == 0, "the audit has found it wrong"
    assert await archived(floor) == []


async def test_nothing_leaves_within_a_week_whatever_is_asked_for(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await grow_old(floor, 6 * DAY_MS)
    assert await floor.pool.fetchval("SELECT sum_oldest_partition(0)") is None
    await floor.hall.clock.set(await floor.owner_pool.fetchval("SELECT now_ms()") + 2 * DAY_MS)
    assert await floor.pool.fetchval("SELECT sum_oldest_partition(0)") == 0


async def test_without_a_retention_bets_stay_for_ever(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await grow_old(floor)
    await Storage(floor.pool, RETENTION_MS, None).step()
    assert await attached(floor) == 0


async def test_bets_go_on_while_a_partition_leaves_and_none_is_lost(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await grow_old(floor)
    room = await floor.add_room()
    await floor.hall.tick()
    done = asyncio.Event()
    accepted: list[str] = []

    async def bet() -> None:
        while not done.is_set():
            bets = [floor.bet(room_id=room.id) for _ in range(3)]
            rows = await floor.place(*bets)
            assert {row.outcome for row in rows} == {Outcome.ACCEPTED}
            accepted.extend(each.transaction_id for each in bets)

    players = [asyncio.create_task(bet()) for _ in range(2)]
    while not await archived(floor):
        try:
            await storage(floor).step()
        except asyncpg.LockNotAvailableError:
            continue
    done.set()
    await asyncio.gather(*players)
    assert accepted
    assert await floor.stored_bets(accepted) == [(each, 1, 1) for each in sorted(accepted)]
    assert await floor.broken() == {}
    assert broken(await floor.audit.run()) == set()


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("place", ["storage.summed", "storage.detached"])
async def test_a_worker_that_is_killed_leaves_what_its_successor_finishes(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def die(name: str) -> None:
        if name == place:
            raise KilledError

    assert (await floor.audit.run()).is_extended
    await grow_old(floor)
    with monkeypatch.context() as armed:
        armed.setattr(failpoints, "reach", die)
        with pytest.raises(KilledError):
            await storage(floor).step()
    assert bool(await archived(floor)) == (place == "storage.detached")
    assert await floor.broken() == {}
    await storage(floor).step()
    assert await archived(floor) == ["bets_0", "payouts_0"]
    assert await floor.broken() == {}


async def test_a_partition_that_is_in_use_stays_and_leaves_later(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await grow_old(floor)
    async with floor.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM bets LIMIT 1")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await storage(floor).step()
    assert await archived(floor) == []
    assert await floor.owner_pool.fetchval("SELECT count(*) FROM archived_balances") == 0
    await storage(floor).step()
    assert await archived(floor) == ["bets_0", "payouts_0"]


async def test_no_partition_leaves_while_an_audit_reads(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await grow_old(floor)
    async with floor.pool.acquire() as conn:
        await conn.execute("SELECT pg_advisory_lock_shared(-7312)")
        await storage(floor).step()
        assert await attached(floor) == 0
    await storage(floor).step()
    assert await attached(floor) > 0


async def test_what_is_archived_is_said_to_be(floor: Floor) -> None:
    round_id = await floor.round_id(number=1)
    bet_id = await floor.owner_pool.fetchval("SELECT min(id) FROM bets")
    assert await floor.hall.evidence.bundle(round_id) is not None
    await archive(floor)
    for auditor in (False, True):
        with pytest.raises(ArchivedError, match=str(round_id)):
            await floor.hall.evidence.bundle(round_id, auditor=auditor)
    assert await floor.hall.evidence.bundle(await floor.round_id(number=3)) is not None
    assert await read_store.bet_by_id(floor.pool, floor.operator_id, bet_id) is None
    page = await WalletService(floor.pool).statement(floor.operator_id, "ann", None, None, 200)
    assert page is not None
    assert {entry.kind for entry in page.entries} <= {"bet", "win", "deposit", "refund"}


async def test_events_of_archived_rounds_that_come_again_change_nothing(floor: Floor) -> None:
    events = [*await floor.events("payouts.ready"), *await floor.events("round.voided")]
    await archive(floor)
    await floor.hall.tamper("DELETE FROM inbox")
    before = await floor.owner_pool.fetch("SELECT * FROM accounts ORDER BY id")
    wallet = WalletService(floor.pool)
    for event in events:
        await (wallet.refund_stakes if event.routing_key == "round.voided" else wallet.credit_payouts)(event)
    assert await floor.owner_pool.fetch("SELECT * FROM accounts ORDER BY id") == before


FIGURES = "SELECT * FROM revenue_hourly ORDER BY operator_id, hour_ms"


async def receipts(floor: Floor) -> int:
    count: int = await floor.owner_pool.fetchval("SELECT count(*) FROM inbox")
    return count


async def test_receipts_are_kept_for_the_retention_and_then_forgotten(floor: Floor) -> None:
    await grow_old(floor, RETENTION_MS)
    kept = await receipts(floor)
    assert kept > 0
    await storage(floor).step()
    assert await receipts(floor) == kept
    await floor.hall.clock.set(await floor.owner_pool.fetchval("SELECT now_ms()") + 2 * HOUR_MS)
    await storage(floor).step()
    assert await receipts(floor) == 0
    assert await floor.broken() == {}


async def test_exposures_of_ended_rounds_are_kept_for_the_retention_and_then_forgotten(floor: Floor) -> None:
    await floor.hall.bets.limit_operator(floor.operator_id, OperatorLimits("EUR", None, None, 10**12), actor="a test")
    await floor.place(floor.bet())
    kept = "SELECT count(*) FROM round_exposures"
    now_ms = await floor.owner_pool.fetchval("SELECT now_ms()")
    await floor.hall.clock.set(now_ms + 30 * DAY_MS)
    await storage(floor).step()
    assert await floor.owner_pool.fetchval(kept) == 1, "its round has not ended, however old it is"
    await floor.hall.clock.set(now_ms)
    await grow_old(floor, RETENTION_MS - HOUR_MS)
    await storage(floor).step()
    assert await floor.owner_pool.fetchval(kept) == 1
    await floor.hall.clock.set(await floor.owner_pool.fetchval("SELECT now_ms()") + 2 * HOUR_MS)
    await storage(floor).step()
    assert await floor.owner_pool.fetchval(kept) == 0
    assert await floor.broken() == {}


async def test_an_event_that_comes_again_after_its_receipt_was_forgotten_has_no_second_effect(floor: Floor) -> None:
    await grow_old(floor)
    figures, accounts = await floor.owner_pool.fetch(FIGURES), await floor.owner_pool.fetch("SELECT * FROM accounts")
    await storage(floor).step()
    assert await receipts(floor) == 0
    reporting, wallet = ReportingService(floor.pool), WalletService(floor.pool)
    for _ in range(2):
        for event in await floor.events("round.settled"):
            await reporting.record_round(replace_id(event))
        for event in await floor.events("payouts.ready"):
            await wallet.credit_payouts(replace_id(event))
        for event in await floor.events("round.voided"):
            await wallet.refund_stakes(replace_id(event))
    assert await floor.owner_pool.fetch(FIGURES) == figures
    assert await floor.owner_pool.fetch("SELECT * FROM accounts") == accounts


def replace_id(event: Event) -> Event:
    """The event as one that has no receipt."""
    return msgspec.structs.replace(event, id=uuid4())


async def test_an_event_that_is_handled_late_for_the_first_time_is_counted(floor: Floor) -> None:
    await grow_old(floor)
    figures = await floor.owner_pool.fetch(FIGURES)
    await floor.hall.tamper("DELETE FROM revenue_hourly")
    await floor.hall.tamper("DELETE FROM inbox WHERE consumer = 'reporting'")
    await storage(floor).step()
    for event in await floor.events("round.settled"):
        await ReportingService(floor.pool).record_round(event)
    assert await floor.owner_pool.fetch(FIGURES) == figures


async def test_dead_events_wait_for_ever_and_are_forgotten_once_they_were_replayed(floor: Floor) -> None:
    bury = """
        INSERT INTO dead_events (consumer, event_id, routing_key, aggregate, time_ms, data, reason, replayed_ms)
        SELECT 'wallet', gen_random_uuid(), 'payouts.ready', 'room:x', 1, '', 'a bug', replayed_ms
        FROM unnest(ARRAY[NULL, now_ms()]) AS of (replayed_ms)
    """
    await floor.owner_pool.execute(bury)
    await grow_old(floor)
    await storage(floor).step()
    assert await floor.owner_pool.fetch("SELECT replayed_ms FROM dead_events") == [(None,)]


async def test_partitions_are_made_before_rounds_need_them(floor: Floor) -> None:
    end = await floor.owner_pool.fetchval("SELECT max(end_round) FROM bet_partitions")
    await floor.owner_pool.execute(f"ALTER SEQUENCE rounds_id_seq RESTART WITH {end - 1}")
    room = await floor.add_room()
    await floor.hall.tick()
    await storage(floor).step()
    assert await floor.owner_pool.fetchval("SELECT max(end_round) FROM bet_partitions") > end
    assert await floor.outcomes(floor.bet(room_id=room.id)) == [Outcome.ACCEPTED]
