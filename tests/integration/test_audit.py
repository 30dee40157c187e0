"""The audit: silent on a database that was played on, and sure to find what a superuser did to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec
import pytest
import support
from support.money import Floor, open_floor
from support.rounds import PRIVACY_KEY

from keno.fairness.service import EvidenceService
from keno.infra.bus import Event
from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay
from keno.infra.rabbit_dead import RabbitDeadLetters
from keno.reporting import audit, store
from keno.reporting.audit import Audit, invariants
from keno.reporting.service import ReportingService
from keno.wallet.request import MovementKind, MovementRequest, RollbackRequest
from keno.wallet.service import WalletService


@pytest.fixture
async def floor(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    """Three settled rounds, a void one, all credited, and one on sale with bets; a player of each of two operators, and
    one whose money moved in every other way.
    """
    async with open_floor(pool, vault_pool, owner_pool) as opened:
        other = await opened.add_operator("EUR")
        await opened.fund("ann", 100_000, operator_id=other)
        for number in (1, 2, 3):
            await opened.place(
                *(opened.bet(picks=(pick,)) for pick in range(1, 81)),
                *(opened.bet(picks=(pick,), operator_id=other) for pick in range(1, 81)),
            )
            await opened.settle(number)
            await opened.hall.tick()
        await opened.place(opened.bet(), opened.bet(operator_id=other))
        await opened.void(4)
        await opened.hall.tick()
        await opened.place(opened.bet(), opened.bet(operator_id=other))
        await move_in_every_other_way(opened)
        for event in await sent(opened):
            if event.routing_key == "payouts.ready":
                await WalletService(pool).credit_payouts(event)
            if event.routing_key == "round.voided":
                await WalletService(pool).refund_stakes(event)
            if event.routing_key == "round.settled":
                await ReportingService(pool).record_round(event)
        await opened.add_room()
        yield opened


async def move_in_every_other_way(floor: Floor) -> None:
    """A deposit that is kept, one that is undone, a withdrawal, and a rollback of what never was."""
    wallet = WalletService(floor.pool)
    movements: list[tuple[MovementKind, MovementRequest]] = [
        ("deposit", MovementRequest("kept", 900, "EUR")),
        ("deposit", MovementRequest("undone", 500, "EUR")),
        ("withdrawal", MovementRequest("taken", 400, "EUR")),
    ]
    for kind, request in movements:
        moved = await wallet.move_money(kind, floor.operator_id, "bob", request)
        assert moved.outcome == "accepted"
    for target_id, transaction_id in (("undone", "undo"), ("never", "never mind")):
        undone = await wallet.roll_back(floor.operator_id, target_id, RollbackRequest(transaction_id))
        assert undone.outcome == "accepted"


async def sent(floor: Floor) -> list[Event]:
    rows = await floor.owner_pool.fetch("SELECT * FROM outbox ORDER BY id")
    return [
        Event(row["event_id"], row["routing_key"], row["aggregate"], row["created_ms"], row["payload"].encode())
        for row in rows
    ]


@dataclass(frozen=True)
class Damage:
    """What is done to a database, and the invariants that then do not hold."""

    name: str
    breaks: frozenset[str]
    sql: str


def damages() -> list[Damage]:
    text = Path(support.__path__[0], "damages.sql").read_text(encoding="utf-8")
    blocks = [block.partition("\n") for block in text.split("-- damage: ")[1:]]
    return [
        Damage(name, frozenset(breaks.removeprefix("-- breaks: ").split()), sql)
        for name, _, (breaks, _, sql) in ((name, _, rest.partition("\n")) for name, _, rest in blocks)
    ]


CHOSEN = """
    CREATE TEMP TABLE chosen AS
    SELECT won.id AS won, lost.id AS lost, won.account_id AS account, won.operator_id AS operator,
        won.round_id AS round, open.id AS open, open.round_id AS on_sale, voided.id AS voided,
        voided.round_id AS void_round
    FROM operators AS casino
    JOIN LATERAL (
        SELECT b.* FROM payouts AS p JOIN bets AS b ON b.id = p.bet_id WHERE b.operator_id = casino.id
        ORDER BY b.id LIMIT 1
    ) AS won ON true
    JOIN LATERAL (
        SELECT b.* FROM bets AS b WHERE (b.round_id, b.account_id) = (won.round_id, won.account_id)
            AND NOT EXISTS (SELECT FROM payouts AS p WHERE p.bet_id = b.id) ORDER BY b.id LIMIT 1
    ) AS lost ON true
    JOIN LATERAL (SELECT * FROM bets AS b WHERE b.operator_id = casino.id ORDER BY b.id DESC LIMIT 1) AS open ON true
    JOIN LATERAL (
        SELECT b.* FROM bets AS b JOIN rounds AS r ON r.id = b.round_id AND r.phase = 'void'
        WHERE b.operator_id = casino.id
    ) AS voided ON true
    WHERE casino.name = 'casino'
"""
THE_VERIFIER = "04_the_verifier_agrees"
THE_DEAD = "11_no_event_is_dead"


@asynccontextmanager
async def damaged(floor: Floor, damage: Damage) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
    """A connection that sees the damage done, until it is undone."""
    async with floor.owner_pool.acquire() as conn:
        trial = conn.transaction()
        await trial.start()
        try:
            await conn.execute("SET LOCAL session_replication_role = replica")
            await conn.execute(CHOSEN)
            await conn.execute(damage.sql)
            yield conn
        finally:
            await trial.rollback()


async def test_a_database_that_was_played_on_has_no_finding(floor: Floor) -> None:
    audit_of_all = Audit(floor.pool, floor.hall.evidence, LocalBus(floor.pool))
    findings = [each async for each in audit_of_all.findings()]
    assert [each.invariant for each in findings] == [*(each.name for each in invariants()), THE_DEAD, THE_VERIFIER]
    assert all(each.statement.endswith(".") for each in findings)
    assert [each for each in findings if each.broken_by] == []


async def test_the_audit_of_an_empty_database_has_no_finding(pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> None:
    # No room, no round, no bet: the queries themselves must bear it.
    async with pool.acquire() as conn:
        for invariant in invariants():
            assert await store.rows_breaking(conn, invariant.sql, 5) == [], invariant.name


def test_every_invariant_has_damage_that_it_finds() -> None:
    found = {name for damage in damages() for name in damage.breaks}
    assert found == {each.name for each in invariants()} | {THE_VERIFIER}


async def test_each_damage_is_found_by_the_invariants_it_breaks_and_no_others(floor: Floor) -> None:
    found = {}
    for damage in damages():
        async with damaged(floor, damage) as conn:
            found[damage.name] = {each.name for each in invariants() if await store.rows_breaking(conn, each.sql, 5)}
    assert found == {damage.name: damage.breaks - {THE_VERIFIER} for damage in damages()}
    assert await floor.broken() == {}, "the damage is undone"


async def test_what_no_query_can_see_is_found_by_the_verifier(floor: Floor) -> None:
    unseen = [damage for damage in damages() if damage.breaks == {THE_VERIFIER}]
    assert unseen
    rounds = await store.ended_round_ids(floor.pool)
    for damage in unseen:
        async with damaged(floor, damage) as conn:
            evidence = EvidenceService(OneConnection(conn), PRIVACY_KEY)  # type: ignore[arg-type]
            bundles = [await evidence.bundle(each, auditor=True) for each in rounds]
        objections = await audit.verify(b"".join(bundle or b"" for bundle in bundles))
        assert len(objections) == 1, damage.name
        assert "VIOLATION" in objections[0]


class OneConnection:
    """A pool of a connection that somebody else is using: what it sees, the borrower sees."""

    def __init__(self, conn: asyncpg.pool.PoolConnectionProxy) -> None:
        self._conn = conn

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        yield self._conn


async def test_the_verifier_sees_rounds_of_many_runs(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_ROUNDS_A_RUN", 1)
    assert await floor.broken() == {}
    await floor.hall.tamper("UPDATE payouts SET hits = hits + 1 WHERE bet_id = (SELECT max(bet_id) FROM payouts)")
    assert (await floor.broken()).keys() == {THE_VERIFIER}


async def test_a_verifier_that_says_nothing_has_not_agreed(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed = tmp_path / "verifier.py"
    await asyncio.to_thread(killed.write_text, "import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setattr(audit, "_VERIFIER", killed)
    assert await floor.broken() == {THE_VERIFIER: ["the verifier ended with status -9"]}


async def test_the_figures_of_an_hour_are_the_totals_of_its_rounds_however_often_they_are_told(floor: Floor) -> None:
    figures = """
        SELECT operator_id, sum(rounds_count)::bigint, sum(bets_count)::bigint, sum(staked_minor)::bigint,
            sum(paid_minor)::bigint
        FROM revenue_hourly GROUP BY 1 ORDER BY 1
    """
    before = [tuple(row) for row in await floor.owner_pool.fetch(figures)]
    assert [row[1:] for row in before] == [(3, 240, 24_000, 60 * 376)] * 2
    for event in await sent(floor):
        if event.routing_key == "round.settled":
            await ReportingService(floor.pool).record_round(event)
            with pytest.raises(msgspec.DecodeError):
                await ReportingService(floor.pool).record_round(msgspec.structs.replace(event, data=b'{"v": 2}'))
    assert [tuple(row) for row in await floor.owner_pool.fetch(figures)] == before


@pytest.mark.usefixtures("quick_attempts")
async def test_a_dead_event_is_found_until_it_was_replayed(floor: Floor) -> None:
    async def broken(_: Event) -> None:
        raise ValueError("a bug")

    told = next(each for each in await sent(floor) if each.routing_key == "payouts.ready")
    bus = LocalBus(floor.pool)
    bus.subscribe("wallet", ["payouts.ready"], broken)
    await bus.publish([told])
    assert await floor.broken() == {
        THE_DEAD: [f"event={told.id}, consumer=wallet, routing_key=payouts.ready, reason=ValueError('a bug')"]
    }

    mended = LocalBus(floor.pool)
    mended.subscribe("wallet", ["payouts.ready"], WalletService(floor.pool).credit_payouts)
    await mended.replay()
    assert await floor.broken() == {}


async def test_a_broker_that_cannot_be_asked_for_its_dead_is_a_finding(floor: Floor) -> None:
    nowhere = RabbitDeadLetters("amqp://guest:guest@127.0.0.1:1/")
    findings = Audit(floor.pool, floor.hall.evidence, nowhere).findings()
    assert [each.invariant async for each in findings if each.broken_by] == [THE_DEAD]


async def test_events_that_were_forgotten_are_not_missed_and_those_after_them_are(floor: Floor) -> None:
    # As if the first round had ended two hours before the others, by a clock that stands.
    await floor.hall.tamper("UPDATE outbox SET sent_ms = created_ms")
    ended_ms = await floor.owner_pool.fetchval("SELECT min(ended_ms) FROM rounds WHERE phase = 'settled'")
    await floor.hall.tamper("UPDATE outbox SET created_ms = created_ms - 7200000 WHERE created_ms <= $1", ended_ms)
    await floor.hall.tamper("UPDATE rounds SET ended_ms = ended_ms - 7200000 WHERE ended_ms <= $1", ended_ms)
    count = "SELECT count(*) FROM outbox"
    before = await floor.owner_pool.fetchval(count)

    assert not await Relay(floor.pool, LocalBus(floor.pool), retention_ms=3_600_000).forget()

    assert await floor.owner_pool.fetchval(count) < before
    assert await floor.broken() == {}
    await floor.hall.tamper("DELETE FROM outbox WHERE routing_key = 'round.settled'")
    assert (await floor.broken()).keys() == {"11_settled_rounds_are_told"}
