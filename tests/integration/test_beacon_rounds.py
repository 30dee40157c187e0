"""Rounds of profiles B and E: they wait for their beacon, are drawn with it or void without it, and verify."""

import json

import asyncpg
import pytest
from prometheus_client import REGISTRY
from support.beacons import CHAIN, beacon_rules, endpoint, honest, signature_of
from support.rounds import START_MS, Hall, refused_by, room_rules, schedule

from keno import verifier
from keno.fairness import beacon
from keno.fairness.beacons import copies, store
from keno.fairness.beacons import rounds as round_beacons
from keno.fairness.beacons.drand import DrandClient
from keno.fairness.beacons.keeper import BeaconKeeper
from keno.game.rules import GUARD_MS_MAX
from keno.reporting import audit
from keno.rounds.room_store import Room
from keno.rounds.schedule import ScheduleError
from keno.rounds.service import Fairness, RoomError, RoomService


@pytest.fixture(autouse=True)
def looked_for_at_each_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds to give up are looked for at each tick."""
    monkeypatch.setattr(round_beacons, "_LOOK_S", 0.0)


@pytest.fixture
def hall(hall: Hall, pool: asyncpg.Pool) -> Hall:
    hall.rooms = RoomService(pool, 1, CHAIN)
    return hall


async def locked(hall: Hall) -> tuple[Room, asyncpg.Record]:
    """A room of profile B whose round 1 is sealed with a bet; and the round."""
    room = await hall.add_room(its_rules=beacon_rules("B"))
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    assert (await hall.bet(operator_id, room, [1, 2, 3])).receipt is not None
    await hall.at_lock(room, 1)
    await hall.tick()
    return room, await hall.row(room, 1)


async def said_of(hall: Hall, round_id: int, *, drand: bool = True) -> verifier.Report:
    """What the verifier says of a round, with the auditor's own copy of the beacon unless told otherwise."""
    bundle = await hall.evidence.bundle(round_id, auditor=True)
    assert bundle is not None
    line = next(each for each in map(json.loads, bundle.splitlines()) if each["type"] == "round")
    copies = {line["beacon_round"]: signature_of(line["beacon_round"])} if drand else None
    (file,) = verifier.verify_bundles({"bundle": bundle}, copies)
    assert (file.malformed, list(file.faults)) == (None, [])
    (report,) = file.rounds
    return report


async def test_a_round_of_profile_b_waits_for_the_beacon_after_its_lock_and_is_drawn_with_it(hall: Hall) -> None:
    room, row = await locked(hall)
    beacon_round = row["beacon_round"]
    due_ms = CHAIN.due_ms(beacon_round)
    assert row["locked_ms"] + 2_000 <= due_ms < row["locked_ms"] + 5_000
    await hall.clock.set(due_ms + 1)
    await hall.tick()
    assert (await hall.row(room, 1))["phase"] == "locked"
    assert await hall.owner_pool.fetchval("SELECT count(*) FROM seed_releases") == 0
    with endpoint() as honest_one:
        async with DrandClient(CHAIN, [honest_one.url]) as client:
            keeper = BeaconKeeper(hall.app_pool, {CHAIN.hash: client})
            await keeper.step()
            await keeper.step()
    assert honest_one.asked == [f"/{CHAIN.hash.hex()}/public/{beacon_round}"]
    await hall.tick()
    row = await hall.row(room, 1)
    assert row["phase"] == "settled"
    assert row["beacon_sig"] == signature_of(beacon_round)
    value = verifier.sha256(row["beacon_sig"])
    assert list(row["numbers"]) == verifier.draw(row["seed"], row["lock_hash"], value)
    report = await said_of(hall, row["id"])
    assert report.status == verifier.VERIFIED, report.checks
    assert report.summary.endswith("verified, profile B on a local beacon, not public")
    assert report.profile_proved is None
    bundle = await hall.evidence.bundle(row["id"])
    assert bundle is not None
    (paired,) = verifier.verify_bundles({"bundle": bundle}, bls=verifier.Bls())
    assert paired.status == verifier.VERIFIED
    assert (await said_of(hall, row["id"], drand=False)).status == verifier.INCOMPLETE


async def test_a_beacon_is_fetched_once_for_all_rooms(hall: Hall) -> None:
    rooms = [await hall.add_room(f"room {n}", its_rules=beacon_rules("B")) for n in range(3)]
    await hall.tick()
    await hall.at_lock(rooms[0], 1)
    await hall.tick()
    row = await hall.row(rooms[0], 1)
    await hall.clock.set(CHAIN.due_ms(row["beacon_round"]))
    with endpoint() as honest_one:
        async with DrandClient(CHAIN, [honest_one.url]) as client:
            await BeaconKeeper(hall.app_pool, {CHAIN.hash: client}).step()
    assert len(honest_one.asked) == 1
    await hall.at_lock(rooms[0], 2)
    await hall.tick()
    assert [(await hall.row(room, 1))["phase"] for room in rooms] == ["settled"] * 3


@pytest.mark.parametrize("kind", ["late", "wrong", "another round", "unreachable"])
async def test_a_beacon_that_does_not_come_is_waited_for_and_past_the_limit_the_round_is_void(
    hall: Hall, kind: str
) -> None:
    room, row = await locked(hall)
    due_ms = CHAIN.due_ms(row["beacon_round"])
    answers = {
        "late": lambda path: (404, b"{}"),
        "wrong": lambda path: (200, honest(path)[1].replace(b'"signature": "', b'"signature": "00')),
        "another round": lambda path: honest(path[:-1] + str((int(path[-1]) + 1) % 10)),
        "unreachable": lambda path: (503, b""),
    }
    with endpoint(answers[kind]) as broken:
        async with DrandClient(CHAIN, [broken.url]) as client:
            keeper = BeaconKeeper(hall.app_pool, {CHAIN.hash: client})
            await hall.clock.set(due_ms + beacon.LATE_MAX_MS - 1)
            await keeper.step()
            await hall.tick()
            assert (await hall.row(room, 1))["phase"] == "locked"
            await hall.clock.set(due_ms + beacon.LATE_MAX_MS)
            await keeper.step()
            await hall.tick()
            await hall.tick()
    row = await hall.row(room, 1)
    assert (row["phase"], row["void_reason"]) == ("void", beacon.VOID_BEACON_LATE)
    assert row["seed"] is not None
    report = await said_of(hall, row["id"], drand=False)
    assert report.status == verifier.VERIFIED, report.checks
    assert "void for reason 1" in report.summary


async def test_a_room_whose_beacons_never_come_goes_on_selling_with_the_longest_guard(hall: Hall) -> None:
    # A beacon every 3 s: of three rounds in turn one waits as long as any.
    room = await hall.add_room(period_ms=31_000, lock_lead_ms=500, its_rules=beacon_rules("B", GUARD_MS_MAX))
    await hall.tick()
    first_ms = schedule(room).lock_due_ms(1)
    for late_ms in range(0, 240_000, 1_000):
        await hall.clock.set(first_ms + late_ms)
        await hall.tick()
        assert REGISTRY.get_sample_value("keno_rooms_stopped", {"shard": "0"}) == 0, late_ms
    assert await hall.phases(room) == [*["void"] * 4, *["locked"] * 4, "open"]


async def test_a_round_that_was_given_up_stays_void_when_its_beacon_comes_after_all(hall: Hall) -> None:
    room, row = await locked(hall)
    await hall.clock.set(CHAIN.due_ms(row["beacon_round"]) + beacon.LATE_MAX_MS)
    await hall.scheduler.step()
    await hall.scheduler.step()
    assert await store.keep(hall.app_pool, CHAIN.hash, row["beacon_round"], signature_of(row["beacon_round"]))
    await hall.tick()
    await hall.tick()
    assert (await hall.row(room, 1))["phase"] == "void"


async def test_a_round_without_its_beacon_is_void_beside_one_that_is_refused(hall: Hall) -> None:
    room, row = await locked(hall)
    broken = await hall.add_room("broken")
    await hall.tick()
    number = len(await hall.phases(broken))
    await hall.at_lock(broken, number)
    await hall.tick()
    round_id = (await hall.row(broken, number))["id"]
    await hall.tamper("UPDATE seed_releases SET seed = sha256('another') WHERE round_id = $1", round_id)
    await hall.clock.set(CHAIN.due_ms(row["beacon_round"]) + beacon.LATE_MAX_MS)
    await hall.tick()
    await hall.tick()
    assert (await hall.row(broken, number))["phase"] == "locked"
    assert (await hall.row(room, 1))["phase"] == "void"


async def test_a_round_whose_beacon_is_there_is_not_given_up_however_late_it_is_drawn(hall: Hall) -> None:
    room, row = await locked(hall)
    assert await store.keep(hall.app_pool, CHAIN.hash, row["beacon_round"], signature_of(row["beacon_round"]))
    await hall.clock.set(CHAIN.due_ms(row["beacon_round"]) + 10 * beacon.LATE_MAX_MS)
    await hall.tick()
    assert (await hall.row(room, 1))["phase"] == "settled"


async def test_the_vault_lets_no_seed_out_against_a_signature_that_does_not_verify(hall: Hall) -> None:
    _, row = await locked(hall)
    await store.keep(hall.app_pool, CHAIN.hash, row["beacon_round"], signature_of(row["beacon_round"] + 1))
    (reason,) = await refused_by(hall.vault.release())
    assert "does not verify" in reason
    assert await hall.owner_pool.fetchval("SELECT count(*) FROM seed_releases") == 0


async def test_the_vault_lets_no_seed_out_for_a_round_that_was_given_up_too_early(hall: Hall) -> None:
    _, row = await locked(hall)
    await hall.app_pool.execute("INSERT INTO beacon_misses (round_id) VALUES ($1)", row["id"])
    (reason,) = await refused_by(hall.vault.release())
    assert "given up before" in reason


async def test_a_round_of_profile_e_has_the_beacon_of_its_epoch_from_before_its_lock(hall: Hall) -> None:
    room = await hall.add_room(its_rules=beacon_rules("E"), period_ms=2_000, lock_lead_ms=500)
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    times = schedule(room)
    assert times.lock_due_ms(1) >= START_MS + beacon.EPOCH_LEAD_MS
    assert await hall.phases(room) == []
    for at_ms in range(START_MS, times.lock_due_ms(1), 2_000):
        await hall.clock.set(at_ms)
        await hall.vault.step()
    with endpoint() as honest_one:
        async with DrandClient(CHAIN, [honest_one.url]) as client:
            keeper = BeaconKeeper(hall.app_pool, {CHAIN.hash: client})
            for number in range(1, 7):
                await hall.tick()
                assert (await hall.bet(operator_id, room, [number])).receipt is not None
                await hall.at_lock(room, number)
                await hall.tick()
                await keeper.step()
                await hall.at_draw(room, number)
                await hall.tick()
    rows = [await hall.row(room, number) for number in range(1, 7)]
    assert [row["phase"] for row in rows] == ["settled"] * 6
    opened = await hall.owner_pool.fetch("SELECT first_round, opened_ms FROM epochs ORDER BY first_round")
    for row in rows:
        epoch = max((each for each in opened if each["first_round"] <= row["number"]), key=lambda each: each[0])
        assert row["beacon_round"] == verifier.drand_round_after(epoch["opened_ms"] + 30_000 + 2_000)
        assert CHAIN.due_ms(row["beacon_round"]) < row["locked_ms"]
        report = await said_of(hall, row["id"])
        assert report.status == verifier.VERIFIED, report.checks
    assert len(honest_one.asked) == len({row["beacon_round"] for row in rows})


async def test_a_room_changes_its_profile_from_the_next_round_on(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.set(room.name, fairness=Fairness("B", 3_000), actor="a test")
    await hall.at_lock(room, 1)
    await hall.tick()
    await hall.at_draw(room, 1)
    await hall.tick()
    assert ((await hall.row(room, 1))["phase"], (await hall.row(room, 1))["beacon_round"]) == ("settled", 0)
    changed = await hall.rooms.room(room.id)
    assert changed is not None
    assert changed.profile == "B"
    await hall.rooms.set(room.name, fairness=Fairness("S"), actor="a test")
    await hall.at_lock(changed, 2)
    await hall.tick()
    row = await hall.row(room, 2)
    assert row["beacon_round"] == verifier.drand_round_after(row["locked_ms"] + 3_000)
    await store.keep(hall.app_pool, CHAIN.hash, row["beacon_round"], signature_of(row["beacon_round"]))
    await hall.at_draw(changed, 2)
    await hall.tick()
    row = await hall.row(room, 2)
    assert list(row["numbers"]) == verifier.draw(row["seed"], row["lock_hash"], verifier.sha256(row["beacon_sig"]))


async def test_profile_e_begins_only_under_commitments_that_are_old_enough(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    with pytest.raises(RoomError, match=r"ask again in 9[45] s"):
        await hall.rooms.set(room.name, fairness=Fairness("E"), actor="a test")


async def test_what_a_room_cannot_have_is_refused(hall: Hall) -> None:
    with pytest.raises(ScheduleError):
        await hall.add_room(its_rules=beacon_rules("B"), period_ms=2_500, lock_lead_ms=500)
    with pytest.raises(RoomError, match="needs a beacon"):
        await hall.add_room(its_rules=room_rules(profile="B", beacon_chain="ab" * 32))
    assert await hall.owner_pool.fetchval("SELECT count(*) FROM rooms") == 0


async def test_the_audit_verifies_rounds_with_copies_of_their_beacons_that_it_has_verified(hall: Hall) -> None:
    room, row = await locked(hall)
    plain = await hall.add_room("plain")
    await store.keep(hall.app_pool, CHAIN.hash, row["beacon_round"], signature_of(row["beacon_round"]))
    await hall.tick()
    await hall.at_draw(room, 1)
    await hall.tick()
    await hall.play(plain, [1])
    ids = [(await hall.row(each, 1))["id"] for each in (room, plain)]
    async with hall.app_pool.acquire() as conn:
        groups = await copies.by_chain(conn, ids)
    assert [group.round_ids for group in groups] == [[ids[0]], [ids[1]]]
    for group in groups:
        bundles = [await hall.evidence.bundle(each, auditor=True) for each in group.round_ids]
        whole = b"".join(each for each in bundles if each is not None)
        assert await audit.verify(whole, group.answers) == []
        assert bool(await audit.verify(whole)) == bool(group.signatures)
    await hall.tamper("UPDATE beacons SET signature = $1", signature_of(row["beacon_round"] + 1))
    async with hall.app_pool.acquire() as conn:
        assert [group.signatures for group in await copies.by_chain(conn, ids)] == [{}, {}]
