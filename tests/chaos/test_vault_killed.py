"""The vault's own process, killed at each of its steps and started again, never makes up its mind a second time.

The rest of the rounds' way is run here, on a clock that stands; one installation serves all the deaths.
"""

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from support.databases import Database
from support.nursery import Nursling
from support.rounds import EPOCH_ROUNDS, WRAPPING_KEY, Hall, check_chain, verify

from keno.fairness import store
from keno.rounds.room_store import Room

NEW_KEY = bytes(range(96, 128))


@dataclass
class VaultProcess:
    """`keno run worker vault` and commands beside it, with the vault's URL and key and nothing else of the platform."""

    database: Database
    folder: Path
    keys: tuple[bytes, ...] = (WRAPPING_KEY,)

    async def killed_at(self, failpoint: str, *arguments: str) -> None:
        """Returns when it has died there and PostgreSQL has undone what was not committed."""
        command = list(arguments) or ["run", "worker", "vault"]
        others = {name: value for name, value in os.environ.items() if not name.startswith("KENO_")}
        environment = others | {
            "KENO_VAULT_DATABASE_URL": self.database.vault_url,
            "KENO_VAULT_KEY": self.keys[0].hex(),
            "KENO_EPOCH_ROUNDS": str(EPOCH_ROUNDS),
            "KENO_DATA_DIR": str(self.folder / "nothing"),
            "KENO_FAILPOINT": failpoint,
        }
        if self.keys[1:]:
            environment["KENO_VAULT_OLD_KEYS"] = ",".join(key.hex() for key in self.keys[1:])
        log = self.folder / "vault.log"
        process = Nursling(command, environment, log)
        status = await asyncio.to_thread(process.wait)
        assert status == -signal.SIGKILL, f"{failpoint}: {status}, {await asyncio.to_thread(log.read_text)}"


async def promises(hall: Hall) -> dict[str, list[tuple[object, ...]]]:
    """All that the vault has bound itself to: commitments, what is kept of their keys, releases."""
    queries = {
        "epochs": "SELECT id, room_id, first_round, key_commit, commits, opened_ms, hash FROM epochs ORDER BY id",
        "keys": "SELECT epoch_id, wrapped_key FROM rng_seeds ORDER BY epoch_id",
        "releases": "SELECT round_id, lock_hash, seed FROM seed_releases ORDER BY round_id",
    }
    return {name: [tuple(row) for row in await hall.owner_pool.fetch(query)] for name, query in queries.items()}


async def sealed(hall: Hall, room: Room, number: int) -> asyncpg.Record:
    """A round once its lock is fixed."""
    await hall.at_lock(room, number)
    await hall.scheduler.step()
    row = await hall.row(room, number)
    assert row["lock_hash"] is not None
    return row


async def test_a_vault_killed_at_every_step_keeps_each_promise_and_plays_one_draw(
    hall: Hall, database: Database, tmp_path: Path
) -> None:
    vault = VaultProcess(database, tmp_path)
    room = await hall.add_room()
    for failpoint in ("epochs.drawn", "epochs.stored"):
        await vault.killed_at(failpoint)
        assert await promises(hall) == {"epochs": [], "keys": [], "releases": []}, "nothing was told to anyone"

    await vault.killed_at("epochs.published")
    promised = await promises(hall)
    assert (len(promised["epochs"]), len(promised["keys"])) == (1, 1)
    await hall.scheduler.step()

    first = await sealed(hall, room, 1)
    await vault.killed_at("locks.seen")
    assert (await promises(hall))["releases"] == []
    await vault.killed_at("seeds.released")
    ((_, lock, seed),) = (await promises(hall))["releases"]
    assert lock == first["lock_hash"]
    await hall.vault.step()
    assert (await promises(hall))["releases"] == [(first["id"], lock, seed)]

    await hall.at_draw(room, 1)
    await hall.tick()
    await hall.play(room, range(2, EPOCH_ROUNDS))
    await sealed(hall, room, EPOCH_ROUNDS)
    await hall.vault.release()
    await hall.at_draw(room, EPOCH_ROUNDS)
    await hall.scheduler.step()
    while await hall.settler.step() == 0:
        pass
    await vault.killed_at("epochs.revealed")
    revealed = await hall.owner_pool.fetchval("SELECT epoch_key FROM epochs ORDER BY id LIMIT 1")
    assert revealed is not None

    await hall.tick()
    kept = await promises(hall)
    assert kept["epochs"][:1] == promised["epochs"]
    assert kept["keys"][:1] == promised["keys"]
    assert (await hall.row(room, 1))["seed"] == seed
    assert (await hall.phases(room))[:EPOCH_ROUNDS] == ["settled"] * EPOCH_ROUNDS
    await check_chain(hall, room)
    ids = [(await hall.row(room, number))["id"] for number in range(1, EPOCH_ROUNDS + 1)]
    bundles = [await hall.evidence.bundle(round_id, auditor=True) for round_id in ids]
    assert None not in bundles
    said = await asyncio.to_thread(verify, b"".join(filter(None, bundles)), tmp_path)
    assert said["exit_status"] == 0


async def test_a_change_of_keys_that_is_killed_has_changed_nothing_and_is_done_again(
    hall: Hall, database: Database, tmp_path: Path
) -> None:
    rooms = [await hall.add_room(str(n)) for n in range(2)]
    await hall.vault.step()
    before = await promises(hall)
    vault = VaultProcess(database, tmp_path, (NEW_KEY, WRAPPING_KEY))
    await vault.killed_at("keys.rewrapped", "vault", "rewrap")
    assert await promises(hall) == before
    await hall.play(rooms[0], [1])
    assert (await hall.phases(rooms[0]))[0] == "settled"


async def test_a_vault_killed_after_it_refused_a_second_lock_refuses_and_reports_it_once(
    hall: Hall, database: Database, tmp_path: Path
) -> None:
    room = await hall.add_room()
    await hall.tick()
    row = await sealed(hall, room, 1)
    await hall.vault.step()
    released = (await promises(hall))["releases"]
    await hall.tamper("UPDATE rounds SET bets_count = 7 WHERE id = $1", row["id"])
    changed = await hall.row(room, 1)
    await hall.tamper("UPDATE rounds SET lock_hash = $1 WHERE id = $2", store.lock_from(changed).hash, row["id"])
    await VaultProcess(database, tmp_path).killed_at("locks.refused")
    await hall.vault.step()
    reported = "SELECT count(*) FROM audit_logs WHERE action = 'lock.refused'"
    assert await hall.owner_pool.fetchval(reported) == 1
    assert (await promises(hall))["releases"] == released
    assert released[0][1] == row["lock_hash"]
