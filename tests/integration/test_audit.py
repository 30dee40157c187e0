"""The audit: silent on a database that was played on, and sure to find what a superuser did to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
import support
from support.audits import agree, broken, on_trial
from support.money import Floor, open_floor
from support.rounds import PRIVACY_KEY

from keno.bets.limits import OperatorLimits
from keno.fairness.service import EvidenceService
from keno.infra.bus import Event
from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay
from keno.infra.rabbit_dead import RabbitDeadLetters
from keno.reporting import audit
from keno.reporting.audit import Audit, AuditError, invariants
from keno.reporting.service import ReportingService
from keno.wallet.request import MovementKind, MovementRequest, RollbackRequest
from keno.wallet.service import WalletService


@pytest.fixture
async def floor(floor: Floor) -> Floor:
    """Three settled rounds, a void one, all credited, and one on sale with bets; a player of each of two operators, and
    one whose money moved in every other way.
    """
    await play(floor, await open_other(floor), 1)
    await floor.add_room()
    await floor.add_room()
    return floor


@pytest.fixture
async def continued(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    """A floor like the other, but all of it came after a checkpoint, behind which is as much again."""
    async with open_floor(pool, vault_pool, owner_pool) as opened:
        other = await open_other(opened)
        await play(opened, other, 1, "old ")
        assert (await opened.audit.run()).is_extended
        await play(opened, other, 5)
        await opened.add_room()
        await opened.add_room()
        yield opened


async def open_other(floor: Floor) -> UUID:
    """Another operator, with a player."""
    other = await floor.add_operator("EUR")
    await floor.fund("ann", 100_000, operator_id=other)
    await floor.hall.bets.limit_operator(other, OperatorLimits("EUR", None, None, 10**12), actor="a test")
    return other


async def play(floor: Floor, other: UUID, first: int, prefix: str = "") -> None:
    """Three rounds that are settled, one that is void, bets on the next; other movements, their ids with a prefix."""
    await floor.fund("ann", 1_000)
    for number in range(first, first + 3):
        await floor.place(
            *(floor.bet(picks=(pick,)) for pick in range(1, 81)),
            *(floor.bet(picks=(pick,), operator_id=other) for pick in range(1, 81)),
        )
        await floor.settle(number)
        await floor.hall.tick()
    await floor.place(floor.bet(), floor.bet(operator_id=other))
    await floor.void(first + 3)
    await floor.hall.tick()
    await floor.place(floor.bet(), floor.bet(operator_id=other))
    await move_in_every_other_way(floor, prefix)
    await handle(floor)


async def move_in_every_other_way(floor: Floor, prefix: str) -> None:
    """A deposit that is kept, one that is undone, a withdrawal, and a rollback of what never was."""
    wallet = WalletService(floor.pool)
    movements: list[tuple[MovementKind, MovementRequest]] = [
        ("deposit", MovementRequest(f"{prefix}kept", 900, "EUR")),
        ("deposit", MovementRequest(f"{prefix}undone", 500, "EUR")),
        ("withdrawal", MovementRequest(f"{prefix}taken", 400, "EUR")),
    ]
    for kind, request in movements:
        moved = await wallet.move_money(kind, floor.operator_id, "bob", request)
        assert moved.outcome == "accepted"
    for target_id, transaction_id in (("undone", "undo"), ("never", "never mind")):
        undone = await wallet.roll_back(
            floor.operator_id, f"{prefix}{target_id}", RollbackRequest(f"{prefix}{transaction_id}")
        )
        assert undone.outcome == "accepted"


async def handle(floor: Floor) -> None:
    """Hands all events to their consumers, again if they had them."""
    handlers = {
        "payouts.ready": WalletService(floor.pool).credit_payouts,
        "round.voided": WalletService(floor.pool).refund_stakes,
        "round.settled": ReportingService(floor.pool).record_round,
    }
    for event in await sent(floor):
        if event.routing_key in handlers:
            await handlers[event.routing_key](event)


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


# What the damages of a table are done to: always the newest that is of a kind.
CHOSEN = """
    CREATE TEMP TABLE chosen AS
    SELECT won.id AS won, lost.id AS lost, won.account_id AS account, won.operator_id AS operator,
        won.round_id AS round, open.id AS open, open.round_id AS on_sale, voided.id AS voided,
        voided.round_id AS void_round, (SELECT max(l.id) - 1 FROM audit_logs AS l) AS log,
        (SELECT l.index FROM log_entries AS l JOIN rounds AS r ON (r.room_id, r.number) = (l.room_id, l.number)
        WHERE l.kind = 2 AND r.id = won.round_id) AS entry
    FROM operators AS casino
    JOIN LATERAL (
        -- On one number, of which others lost: bets on more were placed once a round, and may have won.
        SELECT b.* FROM payouts AS p JOIN bets AS b ON b.id = p.bet_id
        WHERE b.operator_id = casino.id AND bit_count(b.picks) = 1
            AND b.round_id = (SELECT t.round_id FROM round_totals AS t WHERE t.operator_id = casino.id
                ORDER BY t.round_id DESC OFFSET 2 LIMIT 1)
        ORDER BY b.id LIMIT 1
    ) AS won ON true
    JOIN LATERAL (
        SELECT b.* FROM bets AS b WHERE (b.round_id, b.account_id) = (won.round_id, won.account_id)
            AND NOT EXISTS (SELECT FROM payouts AS p WHERE p.bet_id = b.id) ORDER BY b.id LIMIT 1
    ) AS lost ON true
    JOIN LATERAL (SELECT * FROM bets AS b WHERE b.operator_id = casino.id ORDER BY b.id DESC LIMIT 1) AS open ON true
    JOIN LATERAL (
        SELECT b.* FROM bets AS b JOIN rounds AS r ON r.id = b.round_id AND r.phase = 'void'
        WHERE b.operator_id = casino.id ORDER BY b.id DESC LIMIT 1
    ) AS voided ON true
    WHERE casino.name = 'casino'
"""
THE_VERIFIER = "04_the_verifier_agrees"
THE_DEAD = "11_no_event_is_dead"
THE_BALANCES = "02_balances_are_sums"
THE_CHECKPOINT = "14_the_checkpoint_is_right"
THE_LOG = "15_the_log_is_its_tree"


@asynccontextmanager
async def damaged(floor: Floor, damage: Damage) -> AsyncIterator[Audit]:
    """The audit of a database with the damage done, until it is undone."""
    async with on_trial(floor) as (conn, its_audit):
        await conn.execute(CHOSEN)
        assert not (await conn.execute(damage.sql)).endswith(" 0"), f"nothing was done: {damage.name}"
        yield its_audit


async def test_a_database_that_was_played_on_has_no_finding(floor: Floor) -> None:
    report = await floor.audit.run()
    queries = {each.name for each in invariants()} - {THE_CHECKPOINT}
    assert [each.invariant for each in report.findings] == sorted(queries | {THE_DEAD, THE_VERIFIER, THE_LOG})
    assert all(each.statement.endswith(".") for each in report.findings)
    assert [each for each in report.findings if each.broken_by] == []
    assert (report.since_ms, report.rounds_count, report.is_extended) == (None, 4, True)


async def test_the_audit_of_an_empty_database_has_no_finding(pool: asyncpg.Pool) -> None:
    # No room, no round, no bet: the queries themselves must bear it.
    empty = Audit(pool, EvidenceService(pool, PRIVACY_KEY), LocalBus(pool))
    for full in (False, False, True):
        report = await empty.run(full=full)
        assert broken(report) == set()
        assert report.is_extended


def test_every_invariant_has_damage_that_it_finds() -> None:
    found = {name for damage in damages() for name in damage.breaks} | {THE_CHECKPOINT}
    assert found == {each.name for each in invariants()} | {THE_VERIFIER, THE_LOG}


async def test_each_damage_is_found_by_the_invariants_it_breaks_and_no_others(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "verify", agree)
    found = {}
    for damage in damages():
        async with damaged(floor, damage) as its_audit:
            found[damage.name] = broken(await its_audit.run()) - {THE_VERIFIER}
    assert found == {damage.name: damage.breaks - {THE_VERIFIER} for damage in damages()}
    assert await floor.broken() == {}, "the damage is undone"


async def test_damage_to_what_came_after_a_checkpoint_is_found_without_reading_what_is_behind_it(
    continued: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "verify", agree)
    found = {}
    for damage in damages():
        async with damaged(continued, damage) as its_audit:
            report = await its_audit.run()
            assert report.rounds_count == 4
            found[damage.name] = broken(report) - {THE_VERIFIER}
    assert found == {damage.name: damage.breaks - {THE_VERIFIER} for damage in damages()}


async def test_damage_to_what_is_behind_a_checkpoint_is_found_by_the_full_audit(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "verify", agree)
    assert (await floor.audit.run()).is_extended
    # Wrong sums are those of the checkpoint too, even where balances were changed to fit.
    sums = {THE_BALANCES, THE_CHECKPOINT}
    found, expected = {}, {}
    for damage in damages():
        async with damaged(floor, damage) as its_audit:
            seen = broken(await its_audit.run(full=True)) - {THE_VERIFIER}
        assert seen & sums or not damage.breaks & sums, damage.name
        found[damage.name] = seen - sums
        expected[damage.name] = damage.breaks - sums - {THE_VERIFIER}
    # What the checkpoint has seen of the log must still be there.
    expected["the draw of a round was kept from the log for an hour"] |= {THE_LOG}
    # A refund that comes now is no entry of a bet that can still be refunded.
    for late in ("a stake was refunded twice", "a bet of a settled round was refunded"):
        expected[late] = frozenset({"05_names_are_of_things_that_exist"})
    assert found == expected


CHECKPOINT_DAMAGES = {
    "a sum was raised": "UPDATE audit_balances SET minor = minor + 1 WHERE account_id = (SELECT account FROM chosen)",
    "a sum is missing": "DELETE FROM audit_balances WHERE account_id = (SELECT account FROM chosen)",
    "a sum is of no account": "INSERT INTO audit_balances VALUES (1000000000, 5)",
    "a round on sale is behind": """
        UPDATE audit_checkpoints SET rounds = rounds + int8multirange(int8range(on_sale, on_sale, '[]')) FROM chosen
    """,
    "rounds to come are behind": "UPDATE audit_checkpoints SET rounds = rounds + '{[1000,2000)}'",
    "all rounds to come are behind": "UPDATE audit_checkpoints SET rounds = rounds + '{[1000,)}'",
    "a round is not behind": """
        UPDATE audit_checkpoints SET rounds = rounds - int8multirange(int8range(round, round, '[]')) FROM chosen
    """,
    "transactions to come were seen": """
        UPDATE audit_checkpoints SET snapshot = ((n + 9999) || ':' || (n + 9999) || ':')::pg_snapshot
        FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS now (n)
    """,
    "the audit trail ended otherwise": "UPDATE audit_checkpoints SET last_log_hash = sha256(last_log_hash)",
    "rows to come of the audit trail were read": "UPDATE audit_checkpoints SET last_log_id = last_log_id + 1000",
    "the log was another": """
        UPDATE audit_checkpoints SET log_hashes = sha256(log_hashes) || substring(log_hashes FROM 33)
    """,
    "entries to come of the log were read": "UPDATE audit_checkpoints SET log_size = 2 * log_size",
}


async def test_a_checkpoint_that_was_tampered_with_is_found_by_the_full_audit(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "verify", agree)
    assert (await floor.audit.run()).is_extended
    for name, sql in CHECKPOINT_DAMAGES.items():
        async with damaged(floor, Damage(name, frozenset(), sql)) as its_audit:
            report = await its_audit.run(full=True)
            assert THE_CHECKPOINT in broken(report), name
            assert not report.is_extended
            assert broken(await its_audit.run(renew=True)) == set(), name
            assert broken(await its_audit.run(full=True)) == set(), name


async def test_movements_that_a_checkpoint_has_not_seen_are_hidden_from_no_audit(floor: Floor) -> None:
    for _ in range(2):
        assert (await floor.audit.run()).is_extended
    await floor.fund("ann", 5)
    await floor.hall.tamper(
        "UPDATE audit_checkpoints SET last_movement_id = 1000000, snapshot = '3:3:'"
        " WHERE id = (SELECT min(id) FROM audit_checkpoints)"
    )
    assert broken(await floor.audit.run()) == {THE_BALANCES}
    assert THE_CHECKPOINT in broken(await floor.audit.run(full=True))


async def test_the_next_audit_reads_only_what_came_since(floor: Floor) -> None:
    first = await floor.audit.run()
    again = await floor.audit.run()
    assert (again.rounds_count, again.is_extended) == (0, True)
    assert again.since_ms is not None
    # Out of its sight, until somebody asks for everything.
    await floor.hall.tamper("UPDATE round_totals SET staked_minor = staked_minor + 1")
    assert broken(await floor.audit.run()) == set()
    everything = await floor.audit.run(full=True)
    assert broken(everything) == {"10_the_house_gets_what_players_lose"}
    assert (everything.since_ms, everything.rounds_count) == (None, first.rounds_count)


async def test_a_balance_that_changed_without_an_entry_is_found_though_nobody_has_played(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await floor.hall.tamper("UPDATE accounts SET balance_minor = balance_minor - 1 WHERE kind = 'player'")
    assert broken(await floor.audit.run()) == {THE_BALANCES}


async def test_nothing_is_put_behind_a_checkpoint_while_anything_is_wrong(floor: Floor) -> None:
    await floor.hall.tamper("UPDATE accounts SET balance_minor = balance_minor - 1 WHERE kind = 'player'")
    report = await floor.audit.run()
    assert (broken(report), report.is_extended) == ({THE_BALANCES}, False)
    assert await floor.owner_pool.fetchval("SELECT count(*) FROM audit_balances") == 0
    assert (await floor.audit.run()).since_ms is None


async def test_what_commits_late_under_an_early_id_is_audited(floor: Floor) -> None:
    # A deposit and a round get their ids, others get later ones and commit, an audit passes, and then they commit.
    deposit = "SELECT outcome FROM move_money('deposit', $1, 'ann', sha256($2), 'EUR', 7, 'late', $2)"
    skipped = """
        INSERT INTO rounds
            (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms, lease_epoch)
        SELECT id, 1, 'skipped', rules_hash, 1, 2, 3, 4, $2 FROM rooms WHERE id = $1
    """
    late, early = await floor.add_room(), await floor.add_room()
    async with floor.pool.acquire() as conn:
        trial = conn.transaction()
        await trial.start()
        assert await conn.fetchval(deposit, floor.operator_id, bytes(16)) == "accepted"
        await conn.execute(skipped, late.id, 1)
        # Its account is held; money moves elsewhere.
        await floor.fund("bob", 5)
        await floor.pool.execute(skipped, early.id, 1)
        assert (await floor.audit.run()).is_extended
        await trial.commit()
    ids = "SELECT array_agg(room_id ORDER BY id) FROM rounds WHERE phase = 'skipped'"
    assert await floor.owner_pool.fetchval(ids) == [late.id, early.id]

    seen = await floor.audit.run()
    assert (broken(seen), seen.is_extended) == (set(), True)
    behind = (
        "SELECT rounds @> (SELECT id FROM rounds WHERE room_id = $1) FROM audit_checkpoints ORDER BY id DESC LIMIT 1"
    )
    assert await floor.owner_pool.fetchval(behind, late.id)
    assert broken(await floor.audit.run(full=True)) == set()


async def test_a_late_entry_without_its_balance_is_found(floor: Floor) -> None:
    entry = """
        INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor,
            transaction_id, fingerprint)
        SELECT cash.operator_id, 'deposit', cash.id, $1, 7, 'late', $2 FROM accounts AS cash
        WHERE cash.kind = 'cash' AND cash.currency = 'EUR' AND cash.operator_id = $3
    """
    account = (await floor.account_ids("ann"))[0]
    async with floor.pool.acquire() as conn:
        trial = conn.transaction()
        await trial.start()
        await conn.execute(entry, account, bytes(16), floor.operator_id)
        await floor.fund("bob", 5)
        assert (await floor.audit.run()).is_extended
        await trial.commit()
    assert broken(await floor.audit.run()) == {THE_BALANCES}


async def test_the_events_of_a_round_that_waits_for_its_credits_are_found_by_a_later_audit(floor: Floor) -> None:
    await floor.place(*(floor.bet(picks=(pick,)) for pick in range(1, 81)))
    await floor.settle(5)
    assert (await floor.audit.run()).is_extended
    await floor.fund("bob", 5)
    assert (await floor.audit.run()).is_extended
    await handle(floor)
    last = await floor.audit.run()
    assert (broken(last), last.rounds_count) == (set(), 1)
    assert (await floor.audit.run()).rounds_count == 0


async def test_two_audits_at_once_set_one_checkpoint(floor: Floor) -> None:
    reports = await asyncio.gather(floor.audit.run(), floor.audit.run())
    assert [broken(each) for each in reports] == [set(), set()]
    assert sorted(each.is_extended for each in reports) == [False, True]
    assert broken(await floor.audit.run(full=True)) == set()


async def test_a_checkpoint_of_another_server_is_refused_until_it_is_renewed(floor: Floor) -> None:
    assert (await floor.audit.run()).is_extended
    await floor.hall.tamper("UPDATE audit_checkpoints SET system_id = system_id + 1")
    for full in (False, True):
        with pytest.raises(AuditError, match="--renew"):
            await floor.audit.run(full=full)
    renewed = await floor.audit.run(renew=True)
    assert (broken(renewed), renewed.since_ms, renewed.is_extended) == (set(), None, True)
    assert (await floor.audit.run()).since_ms is not None


async def test_old_checkpoints_are_forgotten(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit.store, "CHECKPOINTS_KEPT_MAX", 2)
    for _ in range(5):
        assert (await floor.audit.run()).is_extended
    kept = await floor.owner_pool.fetch("SELECT id FROM audit_checkpoints ORDER BY id")
    assert [row["id"] for row in kept] == [4, 5]


async def test_what_no_query_can_see_is_found_by_the_verifier(continued: Floor) -> None:
    unseen = [damage for damage in damages() if damage.breaks == {THE_VERIFIER}]
    assert unseen
    for damage in unseen:
        async with damaged(continued, damage) as its_audit:
            report = await its_audit.run()
        objections = [finding.broken_by for finding in report.findings if finding.broken_by]
        assert broken(report) == {THE_VERIFIER}, damage.name
        assert len(objections) == 1
        assert "VIOLATION" in objections[0][0]


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
    assert broken(await Audit(floor.pool, floor.hall.evidence, nowhere).run()) == {THE_DEAD}


async def test_events_that_were_forgotten_are_not_missed_and_those_after_them_are(floor: Floor) -> None:
    # As if the first round had ended two hours before the others, by a clock that stands.
    await floor.hall.tamper("UPDATE outbox_batches SET sent_ms = created_ms")
    ended_ms = await floor.owner_pool.fetchval("SELECT min(ended_ms) FROM rounds WHERE phase = 'settled'")
    await floor.hall.tamper(
        "UPDATE outbox_batches SET created_ms = created_ms - 7200000 WHERE created_ms <= $1", ended_ms
    )
    await floor.hall.tamper("UPDATE rounds SET ended_ms = ended_ms - 7200000 WHERE ended_ms <= $1", ended_ms)
    count = "SELECT count(*) FROM outbox"
    before = await floor.owner_pool.fetchval(count)

    assert not await Relay(floor.pool, LocalBus(floor.pool), retention_ms=3_600_000).forget()

    assert await floor.owner_pool.fetchval(count) < before
    assert await floor.broken() == {}
    await floor.hall.tamper("DELETE FROM outbox_batches WHERE routing_key = 'round.settled'")
    assert (await floor.broken()).keys() == {"11_settled_rounds_are_told"}
