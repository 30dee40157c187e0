"""The vault's keys are changed without a re-roll, and stand in no log, table or message before their time."""

import base64
import io
import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog
from support.rounds import EPOCH_ROUNDS, ROUNDS_AHEAD, WRAPPING_KEY, Hall, refused_by

from keno.fairness import keno1
from keno.fairness.epoch_keys import EpochKeys
from keno.fairness.keno1 import EpochKey
from keno.fairness.vault import Vault, VaultError
from keno.infra.key_providers import LocalKeys, fingerprint, key_id_of
from keno.infra.keywrap import UnwrapError, wrap
from keno.infra.telemetry import configure_logging

NEW_KEY = bytes(range(96, 128))


def vault_of(hall: Hall, current: bytes, *older: bytes) -> Vault:
    return Vault(hall.vault_pool, LocalKeys(current, older), EPOCH_ROUNDS, ROUNDS_AHEAD)


async def kept(hall: Hall) -> dict[int, bytes]:
    """What is kept of the keys of all epochs."""
    return dict(await hall.owner_pool.fetch("SELECT epoch_id, wrapped_key FROM rng_seeds ORDER BY epoch_id"))


async def epochs(hall: Hall) -> list[asyncpg.Record]:
    return await hall.owner_pool.fetch("SELECT * FROM epochs ORDER BY id")


# ---- a change of the wrapping key ----


async def test_keys_wrapped_anew_open_the_same_commitments_and_need_the_old_key_no_more(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.play(room, range(1, EPOCH_ROUNDS + 1))
    before, published = await kept(hall), await epochs(hall)
    ended, running = (epoch["id"] for epoch in published)
    hall.vault = vault_of(hall, NEW_KEY, WRAPPING_KEY)
    assert await hall.vault.rewrap_keys() == (1, 0)
    after = await kept(hall)
    assert after[ended] == before[ended], "its key is public: there is nothing left to protect"
    assert key_id_of(after[running]) == fingerprint(NEW_KEY)
    assert await epochs(hall) == published
    opened = [
        await EpochKeys(LocalKeys(key)).opened(running, wrapped)
        for key, wrapped in ((WRAPPING_KEY, before[running]), (NEW_KEY, after[running]))
    ]
    assert opened[0].reveal() == opened[1].reveal()
    assert await hall.vault.rewrap_keys() == (0, 1)
    assert await kept(hall) == after
    hall.vault = vault_of(hall, NEW_KEY)
    await hall.play(room, range(EPOCH_ROUNDS + 1, 2 * EPOCH_ROUNDS + 1))
    for number in range(1, 2 * EPOCH_ROUNDS + 1):
        row = await hall.row(room, number)
        assert keno1.commit(room.id.bytes, number, row["seed"]) == row["commit_hash"]
    actions = await hall.owner_pool.fetch(
        "SELECT actor, subject, detail FROM audit_logs WHERE action = 'epoch_keys.rewrapped'"
    )
    assert [tuple(row) for row in actions] == [("vault", fingerprint(NEW_KEY), '{"keys_count": 1}')]


async def test_keys_wrapped_before_there_were_ids_release_their_seeds_and_get_an_id(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.vault.step()
    ((epoch_id, wrapped),) = (await kept(hall)).items()
    key = (await EpochKeys(LocalKeys(WRAPPING_KEY)).opened(epoch_id, wrapped)).reveal()
    nameless = wrap(WRAPPING_KEY, key, b"keno:epoch-key:%d" % epoch_id)
    await hall.tamper("UPDATE rng_seeds SET wrapped_key = $1", nameless)
    await hall.play(room, [1])
    assert (await hall.row(room, 1))["seed"] == EpochKey(bytearray(key)).seed(room.id.bytes, 1)
    assert await hall.vault.rewrap_keys() == (1, 0)
    assert key_id_of((await kept(hall))[epoch_id]) == fingerprint(WRAPPING_KEY)
    await hall.play(room, [2])
    assert (await hall.phases(room))[:2] == ["settled", "settled"]


async def test_where_one_key_cannot_be_opened_none_is_wrapped_anew(hall: Hall) -> None:
    rooms = [await hall.add_room(str(n)) for n in range(3)]
    await hall.vault.step()
    before = await kept(hall)
    assert len(before) == len(rooms)
    with pytest.raises(UnwrapError):
        await vault_of(hall, NEW_KEY).rewrap_keys()
    last = max(before)
    stranger = await EpochKeys(LocalKeys(WRAPPING_KEY)).wrapped(last, EpochKey.draw())
    await hall.tamper("UPDATE rng_seeds SET wrapped_key = $1 WHERE epoch_id = $2", stranger, last)
    with pytest.raises(VaultError, match=f"epoch {last}: .* does not open the commitment"):
        await vault_of(hall, NEW_KEY, WRAPPING_KEY).rewrap_keys()
    assert await kept(hall) == before | {last: stranger}


async def test_the_vault_may_change_nothing_of_a_kept_key_but_its_wrapping_and_only_until_it_is_public(
    hall: Hall,
) -> None:
    room = await hall.add_room()
    await hall.play(room, range(1, EPOCH_ROUNDS + 1))
    before = await kept(hall)
    ended, running = (epoch["id"] for epoch in await epochs(hall))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=f"key of epoch {ended} is immutable"):
        await hall.vault_pool.execute("UPDATE rng_seeds SET wrapped_key = 'x' WHERE epoch_id = $1", ended)
    for refused in (
        "UPDATE rng_seeds SET epoch_id = epoch_id",
        "UPDATE rng_seeds SET created_ms = 0",
        "DELETE FROM rng_seeds",
        "TRUNCATE rng_seeds",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await hall.vault_pool.execute(refused)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await hall.owner_pool.execute("UPDATE rng_seeds SET wrapped_key = 'x' WHERE epoch_id = $1", running)
    assert await kept(hall) == before


# ---- secrecy ----


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, down to debug."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    configure_logging(level="debug", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def told_by(hall: Hall, logged: io.StringIO) -> str:
    """All logs and every row of the database, as text."""
    tables = await hall.owner_pool.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    rows = [
        text
        for (name,) in tables
        for (text,) in await hall.owner_pool.fetch(f"SELECT t::text FROM {name} AS t")  # noqa: S608
    ]
    return "\n".join([logged.getvalue(), *rows])


def spellings(secret: bytes) -> list[str]:
    """How bytes come out in logs and messages."""
    encoded = (base64.b64encode(secret), base64.urlsafe_b64encode(secret))
    return [secret.hex(), secret.hex().upper(), *(each.decode().rstrip("=") for each in encoded), repr(secret)[2:-1]]


def found_in(text: str, secrets: list[bytes]) -> list[str]:
    return [spelling for secret in secrets for spelling in spellings(secret) if spelling in text]


async def test_no_key_and_no_unreleased_seed_is_told_to_anyone_however_much_is_logged(
    hall: Hall, logged: io.StringIO
) -> None:
    room, operator_id = await hall.add_room(), await hall.add_operator("house")
    await hall.tick()
    (epoch_id,) = await kept(hall)
    key = await EpochKeys(LocalKeys(WRAPPING_KEY)).opened(epoch_id, (await kept(hall))[epoch_id])
    seeds = [key.seed(room.id.bytes, number) for number in range(1, EPOCH_ROUNDS + 1)]
    for number in range(1, EPOCH_ROUNDS + 1):
        await hall.bet(operator_id, room, [number, number + 1])
        secrets = [WRAPPING_KEY, NEW_KEY, key.reveal(), *seeds[number - 1 :]]
        assert found_in(await told_by(hall, logged), secrets) == []
        await hall.at_lock(room, number)
        if number == EPOCH_ROUNDS:
            await hall.scheduler.step()
            failures = "\n".join(await refusals_of(hall))
            assert found_in(failures + await told_by(hall, logged), secrets) == []
            hall.vault = vault_of(hall, NEW_KEY, WRAPPING_KEY)
            assert await hall.vault.rewrap_keys() == (2, 0)
            assert found_in(await told_by(hall, logged), secrets) == []
        await hall.tick()
        await hall.at_draw(room, number)
        await hall.tick()
        assert found_in(await told_by(hall, logged), [seeds[number - 1]]) != [], "the search finds what is public"
    assert "epoch.opened" in logged.getvalue()
    assert found_in(await told_by(hall, logged), [key.reveal()]) != []
    assert found_in(logged.getvalue(), [WRAPPING_KEY, NEW_KEY, key.reveal(), *seeds]) == []


async def refusals_of(hall: Hall) -> list[str]:
    """Refuses a round for each reason there is; then mends it."""
    said = []
    wrapped = await kept(hall)
    for change, mend, vault in (
        (
            "UPDATE rounds SET bets_count = bets_count + 1 WHERE phase = 'locked'",
            "UPDATE rounds SET bets_count = bets_count - 1 WHERE phase = 'locked'",
            vault_of(hall, WRAPPING_KEY),
        ),
        ("UPDATE rng_seeds SET wrapped_key = wrapped_key || 'x'::bytea", "SELECT", vault_of(hall, WRAPPING_KEY)),
        ("SELECT", "SELECT", vault_of(hall, NEW_KEY)),
    ):
        await hall.tamper(change)
        said += await refused_by(vault.step())
        await hall.tamper(mend)
    for epoch_id, each in wrapped.items():
        await hall.tamper("UPDATE rng_seeds SET wrapped_key = $2 WHERE epoch_id = $1", epoch_id, each)
    assert len(said) == 3
    return said
