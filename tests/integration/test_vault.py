"""The vault commits before it matters, gives a seed away for one lock only, and keeps its keys to itself."""

import asyncio

import asyncpg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.rounds import EPOCH_ROUNDS, ROUNDS_AHEAD, WRAPPING_KEY, Hall, refused_by

from keno import verifier
from keno.fairness import keno1, store, vault, vault_store
from keno.fairness.epoch_keys import EpochKeys
from keno.fairness.keno1 import EpochKey
from keno.fairness.vault import Vault
from keno.infra.key_providers import LocalKeys
from keno.rounds.room_store import Room

SECOND_LOCKS = "keno_vault_second_locks_refused_total"


async def epochs(hall: Hall) -> list[asyncpg.Record]:
    return await hall.owner_pool.fetch("SELECT * FROM epochs ORDER BY room_id, first_round")


async def releases(hall: Hall) -> list[asyncpg.Record]:
    return await hall.owner_pool.fetch("SELECT * FROM seed_releases ORDER BY round_id")


async def sealed_round(hall: Hall) -> tuple[Room, int]:
    """A room whose round 1 is sealed, its seed not released yet; with the round's id."""
    room = await hall.add_room()
    await hall.tick()
    await hall.at_lock(room, 1)
    await hall.scheduler.step()
    row = await hall.row(room, 1)
    assert row["lock_hash"] is not None
    return room, row["id"]


def new_vault(hall: Hall, wrapping_key: bytes = WRAPPING_KEY) -> Vault:
    """Another vault on the same database."""
    return Vault(hall.vault_pool, LocalKeys(wrapping_key), EPOCH_ROUNDS, ROUNDS_AHEAD)


async def kept_key(hall: Hall, epoch_id: int) -> bytes:
    """An epoch's key, opened with the wrapping key that only this test and the vault have."""
    wrapped = await hall.owner_pool.fetchval("SELECT wrapped_key FROM rng_seeds WHERE epoch_id = $1", epoch_id)
    return (await EpochKeys(LocalKeys(WRAPPING_KEY)).opened(epoch_id, wrapped)).reveal()


# ---- commitments ----


async def test_an_epoch_is_published_whole_and_its_hashes_are_those_of_the_protocol(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.vault.step()
    (epoch,) = await epochs(hall)
    assert (epoch["first_round"], epoch["rounds_count"], epoch["epoch_key"]) == (1, EPOCH_ROUNDS, None)
    key = await kept_key(hall, epoch["id"])
    contexts = [room.id.bytes + number.to_bytes(8, "big") for number in range(1, EPOCH_ROUNDS + 1)]
    seeds = [verifier.hmac.digest(key, b"keno1:seed" + context, "sha256") for context in contexts]
    commits = [verifier.sha256(b"keno1:commit", context, seed) for context, seed in zip(contexts, seeds, strict=True)]
    assert epoch["commits"] == b"".join(commits)
    assert epoch["key_commit"] == verifier.sha256(b"keno1:ekey", key)
    leaves = [context + commit for context, commit in zip(contexts, commits, strict=True)]
    assert epoch["commits_root"] == verifier.merkle_root(leaves)
    span = (1).to_bytes(8, "big") + EPOCH_ROUNDS.to_bytes(4, "big")
    published = (epoch["commits_root"], epoch["key_commit"], epoch["opened_ms"].to_bytes(8, "big"))
    assert epoch["hash"] == verifier.sha256(b"keno1:epoch", room.id.bytes, span, *published)


async def test_the_next_epoch_is_published_before_the_last_one_is_used_up_and_follows_it_densely(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    for number in range(1, 2 * EPOCH_ROUNDS + 2):
        covered = sum(epoch["rounds_count"] for epoch in await epochs(hall))
        assert covered >= number + ROUNDS_AHEAD - 1
        await hall.at_lock(room, number)
        await hall.tick()
    assert [epoch["first_round"] for epoch in await epochs(hall)] == [1, 5, 9]
    assert "skipped" not in await hall.phases(room)


async def test_a_vault_that_was_away_commits_to_the_slot_on_sale_and_to_none_that_is_over(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_lock(room, 20)
    await hall.tick()
    assert [epoch["first_round"] for epoch in await epochs(hall)] == [1, 21]
    phases = await hall.phases(room)
    assert phases[1:] == [*["skipped"] * 19, "open"]


async def test_closed_rooms_get_no_more_epochs(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.close("one", actor="a test")
    for number in range(1, 8):
        await hall.at_lock(room, number)
        await hall.tick()
    assert len(await epochs(hall)) == 1


async def test_two_vaults_at_once_publish_no_epochs_that_overlap(hall: Hall) -> None:
    rooms = [await hall.add_room(str(n)) for n in range(6)]
    vaults = [Vault(hall.vault_pool, LocalKeys(WRAPPING_KEY), EPOCH_ROUNDS, ROUNDS_AHEAD) for _ in range(4)]
    for number in (1, 3, 6):
        await hall.at_lock(rooms[0], number)
        await asyncio.gather(*(vault.step() for vault in vaults))
    by_room: dict[object, list[int]] = {room.id: [] for room in rooms}
    for epoch in await epochs(hall):
        by_room[epoch["room_id"]] += range(epoch["first_round"], epoch["first_round"] + epoch["rounds_count"])
    for numbers in by_room.values():
        assert len(numbers) >= 2 * EPOCH_ROUNDS
        assert len(set(numbers)) == len(numbers)


async def test_no_two_epochs_share_a_key_or_a_commitment(hall: Hall) -> None:
    rooms = [await hall.add_room(str(n)) for n in range(3)]
    await hall.tick()
    await hall.at_lock(rooms[0], EPOCH_ROUNDS)
    await hall.tick()
    opened = await epochs(hall)
    commits = [epoch["commits"][at : at + 32] for epoch in opened for at in range(0, len(epoch["commits"]), 32)]
    assert len(opened) == 6
    assert len({epoch["key_commit"] for epoch in opened}) == 6
    assert len(set(commits)) == len(commits) == 6 * EPOCH_ROUNDS


# ---- releases ----


async def test_a_seed_stays_with_the_vault_until_its_round_is_sealed(hall: Hall) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    assert await releases(hall) == []
    await hall.bet(operator_id, room, [1])
    await hall.at_lock(room, 1)
    await hall.owner_pool.execute("SELECT lock_due_rounds(0, 1)")
    await hall.vault.step()
    assert await releases(hall) == [], "locked, but what the lock commits to is not fixed"
    await hall.scheduler.step()
    await hall.vault.step()
    (released,) = await releases(hall)
    row = await hall.row(room, 1)
    assert (released["round_id"], released["lock_hash"]) == (row["id"], row["lock_hash"])
    assert keno1.commit(room.id.bytes, 1, released["seed"]) == row["commit_hash"]


async def test_a_lock_that_is_not_the_hash_of_its_parts_gets_no_seed(hall: Hall) -> None:
    room, _ = await sealed_round(hall)
    whole = await hall.row(room, 1)
    others = {
        "lock_hash": bytes([1]) * 32,
        "rules_hash": bytes([1]) * 32,
        "bets_count": whole["bets_count"] + 1,
        "bets_root": bytes([1]) * 32,
        "locked_ms": whole["locked_ms"] + 1,
        "beacon_round": 1,
        "prev_lock": bytes([1]) * 32,
    }
    for column, other in others.items():
        change = f"UPDATE rounds SET {column} = $1 WHERE number = 1"  # noqa: S608
        await hall.tamper(change, other)
        (reason,) = await refused_by(new_vault(hall).step())
        assert "not the hash" in reason
        assert await releases(hall) == [], column
        await hall.tamper(change, whole[column])
    await hall.vault.step()
    assert len(await releases(hall)) == 1


async def test_a_commitment_that_the_seed_does_not_open_gets_no_seed_even_under_a_whole_lock(hall: Hall) -> None:
    _, round_id = await sealed_round(hall)
    await hall.tamper("UPDATE rounds SET commit_hash = sha256('another') WHERE number = 1")
    row = await hall.owner_pool.fetchrow("SELECT * FROM rounds AS r WHERE id = $1", round_id)
    assert row is not None
    await hall.tamper("UPDATE rounds SET lock_hash = $1 WHERE number = 1", store.lock_from(row).hash)
    (reason,) = await refused_by(hall.vault.step())
    assert "does not open the commitment" in reason
    assert await releases(hall) == []


async def test_a_round_moved_to_another_rooms_epoch_gets_no_seed(hall: Hall) -> None:
    await hall.add_room("other")
    await sealed_round(hall)
    await hall.tamper("UPDATE rounds SET epoch_id = (SELECT max(id) + min(id) - epoch_id FROM epochs) WHERE number = 1")
    assert await refused_by(hall.vault.step()) == ["the seed does not open the commitment"] * 2
    assert await releases(hall) == []


async def test_the_database_hands_a_lock_on_as_the_bytes_that_are_hashed(hall: Hall) -> None:
    room, round_id = await sealed_round(hall)
    row = await hall.row(room, 1)
    (sealed,) = await vault_store.sealed_rounds(hall.vault_pool, 2)
    assert (sealed.round_id, sealed.lock_hash) == (round_id, row["lock_hash"])
    assert sealed.lock == store.lock_from(row)
    assert sealed.lock.hash == row["lock_hash"]
    given = await hall.vault_pool.fetchval("SELECT lock FROM rounds_awaiting_release(1)")
    assert verifier.sha256(b"keno1:lock", given) == row["lock_hash"]


async def lock_again(hall: Hall, round_id: int, bets_count: int) -> bytes:
    """Gives a locked round another lock, which is the hash of its parts; returns it."""
    await hall.tamper("UPDATE rounds SET bets_count = $1 WHERE number = 1", bets_count)
    row = await hall.owner_pool.fetchrow("SELECT * FROM rounds AS r WHERE id = $1", round_id)
    assert row is not None
    second = store.lock_from(row).hash
    await hall.tamper("UPDATE rounds SET lock_hash = $1 WHERE number = 1", second)
    return second


async def refusals(hall: Hall) -> list[tuple[str, str, str]]:
    """What the audit trail has of refused locks: round, lock, first lock."""
    rows = await hall.owner_pool.fetch(
        "SELECT subject, detail ->> 'lock', detail ->> 'first_lock' FROM audit_logs "
        "WHERE actor = 'vault' AND action = 'lock.refused' ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_a_release_is_never_changed_by_a_second_lock(hall: Hall) -> None:
    _, round_id = await sealed_round(hall)
    await hall.vault.step()
    before = await releases(hall)
    second = await lock_again(hall, round_id, 77)
    await hall.vault.step()
    await vault_store.release_seeds(hall.vault_pool, [(round_id, second, bytes(32))])
    assert await releases(hall) == before
    assert before[0]["lock_hash"] != second


async def test_each_second_lock_is_reported_once_in_the_audit_trail_a_metric_and_the_log(hall: Hall) -> None:
    _, round_id = await sealed_round(hall)
    await hall.vault.step()
    assert await refusals(hall) == []
    (released,) = await releases(hall)
    first, counted = released["lock_hash"].hex(), REGISTRY.get_sample_value(SECOND_LOCKS)
    assert counted is not None
    reported = []
    with capture_logs() as logged:
        for times, bets_count in enumerate((77, 78), 1):
            second = (await lock_again(hall, round_id, bets_count)).hex()
            reported.append((str(round_id), second, first))
            for _ in range(2):
                await asyncio.gather(hall.vault.step(), hall.vault.step())
            assert await refusals(hall) == reported
            assert REGISTRY.get_sample_value(SECOND_LOCKS) == counted + times
    assert [(each["log_level"], each["round"], each["lock"]) for each in logged if each["event"] == "lock.refused"] == [
        ("error", round_id, second) for _, second, _ in reported
    ]
    assert released["seed"].hex() not in repr(logged)
    assert await releases(hall) == [released]


async def test_releases_and_keys_at_rest_are_immutable_for_the_owner_too(hall: Hall) -> None:
    await sealed_round(hall)
    await hall.vault.step()
    for statement in (
        "UPDATE seed_releases SET seed = sha256('another')",
        "DELETE FROM seed_releases",
        "TRUNCATE seed_releases",
        "UPDATE rng_seeds SET wrapped_key = 'another'",
        "DELETE FROM rng_seeds",
        "TRUNCATE rng_seeds CASCADE",
        "UPDATE epochs SET commits_root = sha256('another')",
        "UPDATE epochs SET opened_ms = 0",
        "DELETE FROM epochs",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=r"refused|immutable"):
            await hall.owner_pool.execute(statement)


async def test_a_vault_that_crashes_after_a_release_releases_the_same_seed_again(hall: Hall) -> None:
    room, round_id = await sealed_round(hall)
    async with hall.vault_pool.acquire() as conn:
        crashing = conn.transaction()
        await crashing.start()
        await hall.vault.release_seeds(conn)
        (lost,) = await conn.fetch("SELECT seed FROM seed_releases")
        await crashing.rollback()
    assert await releases(hall) == []
    await Vault(hall.vault_pool, LocalKeys(WRAPPING_KEY), EPOCH_ROUNDS, ROUNDS_AHEAD).step()
    (released,) = await releases(hall)
    assert (released["round_id"], released["seed"]) == (round_id, lost["seed"])
    await hall.at_draw(room, 1)
    await hall.tick()
    assert (await hall.row(room, 1))["seed"] == lost["seed"]


# ---- keys ----


async def occurrences(hall: Hall, secret: bytes) -> list[str]:
    """The tables in which some row, as text, has these bytes in hex."""
    tables = await hall.owner_pool.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return [
        name
        for (name,) in tables
        if await hall.owner_pool.fetchval(
            f"SELECT EXISTS (SELECT FROM {name} AS t WHERE t::text LIKE $1)",  # noqa: S608
            f"%{secret.hex()}%",
        )
    ]


async def test_keys_and_unreleased_seeds_stand_nowhere_in_the_database_before_their_time(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    (epoch,) = await epochs(hall)
    key = await kept_key(hall, epoch["id"])
    seeds = [EpochKey(bytearray(key)).seed(room.id.bytes, number) for number in range(1, EPOCH_ROUNDS + 1)]
    assert await occurrences(hall, epoch["key_commit"]) == ["epochs"], "the search finds what there is"
    for number in range(1, EPOCH_ROUNDS + 1):
        assert [await occurrences(hall, secret) for secret in (key, *seeds[number - 1 :])] == [[]] * (
            EPOCH_ROUNDS - number + 2
        )
        await hall.at_draw(room, number)
        await hall.tick()
        assert "seed_releases" in await occurrences(hall, seeds[number - 1])
    assert "epochs" in await occurrences(hall, key)


async def test_another_wrapping_key_opens_nothing_and_releases_nothing(hall: Hall) -> None:
    await sealed_round(hall)
    assert len(await refused_by(new_vault(hall, bytes(32)).step())) == 1
    assert await releases(hall) == []
    await hall.vault.step()
    assert len(await releases(hall)) == 1


async def test_an_epoch_whose_kept_key_is_gone_holds_up_no_other(hall: Hall) -> None:
    rooms = [await hall.add_room(name) for name in ("one", "other")]
    await hall.tick()
    await hall.at_lock(rooms[0], 1)
    await hall.scheduler.step()
    await hall.tamper("DELETE FROM rng_seeds WHERE epoch_id = (SELECT id FROM epochs WHERE room_id = $1)", rooms[0].id)
    (reason,) = await refused_by(hall.vault.step())
    assert "its key is not kept" in reason
    released = await hall.owner_pool.fetch(
        "SELECT r.room_id FROM seed_releases AS s JOIN rounds AS r ON r.id = s.round_id"
    )
    assert [row["room_id"] for row in released] == [rooms[1].id]


async def test_rounds_that_are_refused_hold_up_no_others_however_many_they_are_and_are_told_of_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "_RELEASES_MAX", 2)
    broken, sound = await hall.add_room("broken"), await hall.add_room("sound")
    await hall.tick()
    await hall.tamper("DELETE FROM rng_seeds WHERE epoch_id = (SELECT id FROM epochs WHERE room_id = $1)", broken.id)
    told = []
    for number in range(1, EPOCH_ROUNDS + 1):
        await hall.at_lock(broken, number)
        await hall.scheduler.step()
        told.append(await refused_by(hall.vault.step()) + await refused_by(hall.vault.step()))
        await hall.at_draw(broken, number)
        await hall.tick()
    assert [len(each) for each in told] == [1] * EPOCH_ROUNDS
    assert (await hall.phases(broken))[:EPOCH_ROUNDS] == ["locked"] * EPOCH_ROUNDS
    assert (await hall.phases(sound))[:EPOCH_ROUNDS] == ["settled"] * EPOCH_ROUNDS


async def test_an_ended_epoch_whose_key_does_not_open_holds_up_no_other(hall: Hall) -> None:
    rooms = [await hall.add_room(name) for name in ("one", "two", "three", "four")]
    await hall.play(rooms[0], range(1, EPOCH_ROUNDS))
    await hall.at_draw(rooms[0], EPOCH_ROUNDS)
    for _ in range(2):
        await hall.vault.release()
        await hall.scheduler.step()
    first = {row["room_id"]: row["id"] for row in await epochs(hall) if row["first_round"] == 1}
    stranger = await EpochKeys(LocalKeys(WRAPPING_KEY)).wrapped(first[rooms[1].id], EpochKey.draw())
    for room, wrapped in ((rooms[0], b"not a key"), (rooms[1], stranger)):
        await hall.tamper("UPDATE rng_seeds SET wrapped_key = $1 WHERE epoch_id = $2", wrapped, first[room.id])
    keeping = new_vault(hall)
    assert len(await refused_by(keeping.keep_epochs())) == 2
    assert await refused_by(keeping.keep_epochs()) == []
    published = {row["id"] for row in await epochs(hall) if row["epoch_key"] is not None}
    assert published == {first[room.id] for room in rooms[2:]}


async def test_a_key_copied_to_another_epoch_does_not_open_there(hall: Hall) -> None:
    await hall.add_room("other")
    await sealed_round(hall)
    await hall.tamper(
        "UPDATE rng_seeds SET wrapped_key = "
        "(SELECT wrapped_key FROM rng_seeds AS other WHERE other.epoch_id <> rng_seeds.epoch_id)"
    )
    assert len(await refused_by(new_vault(hall).step())) == 2
    assert await releases(hall) == []


async def test_an_epochs_key_is_published_with_the_end_of_its_last_round_and_gives_every_commitment(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.play(room, [1, 2])
    await hall.at_lock(room, 3)
    await hall.tick()
    await hall.void(room, 3, reason=2)
    await hall.at_lock(room, 4)
    await hall.tick()
    assert (await hall.phases(room))[:4] == ["settled", "settled", "void", "locked"]
    assert [epoch["epoch_key"] for epoch in await epochs(hall)] == [None, None]
    await hall.at_draw(room, 4)
    await hall.tick()
    ended, running = await epochs(hall)
    assert running["epoch_key"] is None
    key = ended["epoch_key"]
    assert verifier.sha256(b"keno1:ekey", key) == ended["key_commit"]
    opened = EpochKey(bytearray(key))
    assert opened.commits(room.id.bytes, 1, EPOCH_ROUNDS) == ended["commits"]
    for number in range(1, EPOCH_ROUNDS + 1):
        assert (await hall.row(room, number))["seed"] == opened.seed(room.id.bytes, number)


async def test_a_key_is_kept_while_an_earlier_round_of_its_epoch_is_still_under_way(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.at_lock(room, 1)
    await hall.tick()
    assert (await hall.phases(room))[0] == "locked"
    await hall.at_lock(room, EPOCH_ROUNDS + 2)
    async with hall.app_pool.acquire() as conn:
        await conn.fetchval("SELECT lock_due_rounds(0, 1)")
        await conn.fetchval("SELECT open_due_rounds(0, 1)")
    assert (await hall.phases(room))[:EPOCH_ROUNDS] == ["locked", "locked", "skipped", "skipped"]
    async with hall.vault_pool.acquire() as conn:
        assert await hall.vault.publish_keys(conn) == 0
    await hall.tick()
    assert (await epochs(hall))[0]["epoch_key"] is not None


async def test_the_keys_of_a_closed_room_are_published_once_its_last_round_has_ended(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.rooms.close("one", actor="a test")
    await hall.vault.step()
    assert [epoch["epoch_key"] for epoch in await epochs(hall)] == [None]
    await hall.play(room, [1])
    assert await hall.phases(room) == ["settled"]
    assert None not in [epoch["epoch_key"] for epoch in await epochs(hall)]


async def test_a_published_key_is_published_once_and_never_changes(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.play(room, range(1, EPOCH_ROUNDS + 1))
    epoch = (await epochs(hall))[0]
    await vault_store.publish_key(hall.vault_pool, epoch["id"], bytes(32))
    assert (await epochs(hall))[0] == epoch
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await hall.owner_pool.execute("UPDATE epochs SET epoch_key = $1", bytes(32))


# ---- who may what ----


async def test_the_services_can_neither_read_keys_nor_release_seeds_nor_publish_epochs(hall: Hall) -> None:
    await sealed_round(hall)
    for statement in (
        "SELECT * FROM rng_seeds",
        "SELECT count(*) FROM rng_seeds",
        "INSERT INTO rng_seeds (epoch_id, wrapped_key) VALUES (1, 'x')",
        "INSERT INTO seed_releases (round_id, lock_hash, seed) VALUES (1, sha256('a'), sha256('b'))",
        "UPDATE rng_seeds SET wrapped_key = 'x'",
        "INSERT INTO refused_locks (round_id, lock_hash) VALUES (1, sha256('a'))",
        "UPDATE seed_releases SET seed = sha256('b')",
        "DELETE FROM seed_releases",
        "INSERT INTO epochs (room_id, first_round) VALUES (gen_random_uuid(), 1)",
        "UPDATE epochs SET epoch_key = sha256('b')",
        "SET ROLE keno_vault",
        "ALTER TABLE rng_seeds DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await hall.app_pool.execute(statement)


async def test_the_vault_can_neither_see_bets_and_players_nor_move_rounds(hall: Hall) -> None:
    await sealed_round(hall)
    for statement in (
        "SELECT * FROM bets",
        "SELECT * FROM players",
        "SELECT * FROM accounts",
        "SELECT * FROM operator_keys",
        "UPDATE rounds SET phase = 'drawn'",
        "INSERT INTO outbox (routing_key, aggregate, payload) VALUES ('x', 'x', '{}')",
        "UPDATE epochs SET commits_root = sha256('b')",
        "UPDATE leases SET epoch = 9",
        "SET ROLE keno_app",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await hall.vault_pool.execute(statement)
