"""Void rounds: how a round becomes one, what it leaves behind, and the refund of its stakes that happens once."""

import asyncio
import uuid
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import msgspec
import pytest
from support.money import Floor
from support.rounds import verify

from keno.infra.bus import Event
from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay
from keno.rounds import store
from keno.wallet.service import WalletService
from workers import wallet as wallet_worker


async def voided(floor: Floor) -> Event:
    """The event of a void round on which ann and bob staked 2,000 each, and another operator's ann 700."""
    other = await floor.add_operator("EUR")
    await floor.fund("bob", 100_000)
    await floor.fund("ann", 700, operator_id=other)
    await floor.place(
        *(floor.bet("ann" if number % 2 else "bob", picks=(number,)) for number in range(1, 41)),
        floor.bet(stake_minor=700, operator_id=other),
    )
    await floor.void(reason=7)
    (event,) = await floor.events("round.voided")
    return event


async def test_a_void_round_is_told_and_in_the_audit_trail_with_its_reason(floor: Floor) -> None:
    event = await voided(floor)
    row = await floor.hall.row(floor.room, 1)
    assert (row["phase"], row["void_reason"], row["numbers"], row["bets_count"]) == ("void", 7, None, 41)
    assert event.aggregate == f"room:{floor.room.id}"
    assert msgspec.json.decode(event.data) == {
        "v": 1,
        "round": str(row["id"]),
        "room": str(floor.room.id),
        "number": 1,
        "seed": row["seed"].hex(),
        "reason": 7,
        "bets_count": 41,
    }
    logged = await floor.owner_pool.fetchrow("SELECT * FROM audit_logs WHERE action = 'round.voided'")
    assert logged is not None
    assert (logged["actor"], logged["subject"]) == ("scheduler", str(floor.room.id))
    assert msgspec.json.decode(logged["detail"]).items() >= {"round": str(row["id"]), "reason": 7}.items()


async def test_the_stakes_of_a_void_round_go_back_once_however_often_it_is_told(
    floor: Floor, wallet: WalletService
) -> None:
    event = await voided(floor)
    assert await floor.balance("ann") == 98_000
    await asyncio.gather(*(wallet.refund_stakes(event) for _ in range(4)))
    forged = [msgspec.structs.replace(event, id=uuid.uuid4()) for _ in range(4)]
    await asyncio.gather(*(wallet.refund_stakes(each) for each in [event, *forged]))
    assert [await floor.balance("ann"), await floor.balance("bob")] == [100_000, 100_000]
    refunds = await floor.owner_pool.fetch(
        """
        SELECT b.stake_minor = l.amount_minor, b.account_id = l.credit_account_id, house.kind,
            b.operator_id = l.operator_id
        FROM ledger AS l JOIN bets AS b ON b.id = l.bet_id JOIN accounts AS house ON house.id = l.debit_account_id
        WHERE l.kind = 'refund'
        """
    )
    assert [tuple(row) for row in refunds] == [(True, True, "house", True)] * 41
    (told,) = await floor.events("wallet.refunded")
    assert msgspec.json.decode(told.data)["refunds_count"] == 41
    assert await floor.broken() == {}


async def test_the_evidence_of_a_refunded_round_is_accepted_and_states_the_refunds(
    floor: Floor, wallet: WalletService, tmp_path: Path
) -> None:
    await wallet.refund_stakes(await voided(floor))
    for auditor in (True, False):
        bundle = await floor.hall.evidence.bundle(await floor.round_id(), auditor=auditor)
        said = await asyncio.to_thread(verify, bundle or b"", tmp_path)
        assert said["exit_status"] == 0
        assert "void for reason 7" in said["files"][0]["rounds"][0]["verdict"]
        if auditor:
            totals = said["files"][0]["rounds"][0]["totals"]["currencies"]
            assert totals == {"EUR": {"staked_minor": 4_700, "refunded_minor": 4_700}}


async def test_a_void_round_without_bets_is_refunded_too(floor: Floor, wallet: WalletService) -> None:
    await floor.void()
    (event,) = await floor.events("round.voided")
    await wallet.refund_stakes(event)
    (told,) = await floor.events("wallet.refunded")
    assert msgspec.json.decode(told.data)["refunds_count"] == 0
    assert await floor.broken() == {}


async def test_only_void_rounds_are_refunded(floor: Floor) -> None:
    await floor.place(*(floor.bet(picks=(number,)) for number in range(1, 81)))
    round_id = await floor.round_id()
    for way in (None, floor.draw, floor.settle):
        if way:
            await way()
        before = await floor.books()
        assert await floor.pool.fetchval("SELECT refund_round($1)", round_id) is None
        assert await floor.books() == before


async def test_sealed_rounds_are_voided_and_no_others(floor: Floor) -> None:
    hall, lease = floor.hall, await floor.owner_pool.fetchval("SELECT epoch FROM leases")
    rooms = [await floor.add_room() for _ in range(2)]
    await hall.tick()
    for room in (floor.room, *rooms):
        await hall.bet(floor.operator_id, room, [1])  # a round without any is sealed as it is locked
    await hall.at_lock(rooms[0], 1)
    locked = await store.lock_due_rounds(hall.app_pool, 0, lease)
    assert locked is not None
    assert len(locked.late_ms) == 3
    unsealed = [(await floor.round_id(room), bytes(32), 1) for room in (floor.room, *rooms)]
    before = await hall.written()
    assert await store.void_rounds(hall.app_pool, 0, lease, unsealed) == 0
    assert await hall.written() == before
    await hall.tick()
    round_id, *_ = unsealed[1]
    seed = await floor.pool.fetchval("SELECT seed FROM seed_releases WHERE round_id = $1", round_id)
    before = await hall.written()
    for epoch in (lease - 1, lease + 1):
        assert await store.void_rounds(hall.app_pool, 0, epoch, [(round_id, seed, 1)]) is None
    for reason in (-1, 256):
        with pytest.raises(asyncpg.CheckViolationError):
            await store.void_rounds(hall.app_pool, 0, lease, [(round_id, seed, reason)])
    assert await hall.written() == before
    again = [(round_id, seed, 1), (10**12, seed, 1)]
    assert [await store.void_rounds(hall.app_pool, 0, lease, again) for _ in range(2)] == [1, 0]
    await hall.at_draw(rooms[0], 1)
    await hall.tick()
    phases = [(await hall.row(room, 1))["phase"] for room in (floor.room, *rooms)]
    assert phases == ["settled", "void", "settled"]
    settled_id, *_ = unsealed[0]
    assert await store.void_rounds(hall.app_pool, 0, lease, [(settled_id, seed, 1)]) == 0


async def test_the_wallet_worker_handles_wins_and_refunds(floor: Floor, wallet: WalletService) -> None:
    await floor.fund("bob", 100_000)
    await floor.place(*(floor.bet("bob", picks=(number,)) for number in range(1, 81)))
    await floor.settle()
    await floor.hall.tick()
    await floor.place(floor.bet("bob", stake_minor=10_000))
    await floor.void(2)
    bus = LocalBus(floor.pool)
    wallet_worker.subscribe(SimpleNamespace(bus=bus, wallet=wallet))  # type: ignore[arg-type]
    await bus.start()
    await Relay(floor.pool, bus, retention_ms=3_600_000).step()
    await bus.close()
    assert await floor.balance("bob") == 100_000 - 80 * 100 + 20 * 376
    assert await floor.broken() == {}


async def test_an_event_of_another_version_is_refused_and_not_guessed_at(floor: Floor, wallet: WalletService) -> None:
    event = await voided(floor)
    before = await floor.books()
    for data in (event.data.replace(b'"v": 1', b'"v": 2'), b"{}", b"nonsense"):
        assert data != event.data
        with pytest.raises(msgspec.DecodeError):
            await wallet.refund_stakes(msgspec.structs.replace(event, data=data))
    assert await floor.books() == before
