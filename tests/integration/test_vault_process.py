"""Only the vault can read its key: every other process runs where that is not to be had, and it needs nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from support.databases import Database
from support.installation import Installation, installed, named_servers
from support.nursery import Nursling

OTHERS = ("run gateway", "run worker scheduler", "run worker settler", "run worker storage", "run worker log")


@pytest.fixture
def installation(database: Database, redis_url: str, tmp_path: Path) -> Iterator[Installation]:
    """An installation whose keys folder lacks vault.key: that lies alone in a folder beside."""
    environment = named_servers(database, redis_url, tmp_path / "keys")
    (tmp_path / "vault").mkdir()
    (tmp_path / "keys" / "vault.key").rename(tmp_path / "vault" / "vault.key")
    del environment["KENO_VAULT_DATABASE_URL"]
    with installed(**environment) as made:
        yield made


@pytest.fixture
async def started(installation: Installation) -> AsyncIterator[dict[str, Nursling]]:
    """Where to put the processes that are to be killed at the end."""
    processes: dict[str, Nursling] = {}
    yield processes
    for process in processes.values():
        process.send_signal(signal.SIGKILL)
        process.wait()


def vault_alone(database: Database, folder: Path, data_dir: Path) -> dict[str, str]:
    """The environment of the vault's process."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("KENO_")}
    own = {"KENO_VAULT_DATABASE_URL": database.vault_url, "KENO_KEYS_DIR": str(folder), "KENO_EPOCH_ROUNDS": "8"}
    return others | own | {"KENO_DATA_DIR": str(data_dir)}


async def test_a_round_is_played_by_processes_of_which_only_the_vault_can_read_its_key(
    installation: Installation,
    started: dict[str, Nursling],
    database: Database,
    owner_pool: asyncpg.Pool,
    tmp_path: Path,
) -> None:
    room = installation.add_room()
    for name in OTHERS:
        started[name] = Nursling(name.split(), installation.environment(), installation.log)
    await installation.ready()
    environment = vault_alone(database, tmp_path / "vault", tmp_path / "data")
    started["vault"] = Nursling(["run", "worker", "vault"], environment, installation.log)
    async with asyncio.timeout(60):
        while not await owner_pool.fetchval(
            "SELECT count(*) FROM rounds WHERE phase = 'settled' AND room_id = $1::text::uuid", room
        ):
            assert {name: process.poll() for name, process in started.items()} == dict.fromkeys(started), (
                installation.log_tail()
            )
            await asyncio.sleep(0.1)
    keys, data = await asyncio.to_thread(lambda: (os.listdir(tmp_path / "keys"), (tmp_path / "data").exists()))
    assert sorted(keys) == ["platform.key", "privacy.key"]
    assert not data, "the vault started no server of its own"
    started["vault"].send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(started["vault"].wait) == 0


def test_a_vault_without_its_key_ends_and_makes_none(
    installation: Installation, database: Database, tmp_path: Path
) -> None:
    environment = vault_alone(database, tmp_path / "keys", tmp_path / "data")
    process = Nursling(["run", "worker", "vault"], environment, installation.log)
    assert process.wait() == 1
    assert "vault.key" in installation.log_tail()
    assert sorted(os.listdir(tmp_path / "keys")) == ["platform.key", "privacy.key"]


def test_everything_else_needs_more_than_the_vaults_database(database: Database, tmp_path: Path) -> None:
    with installed(KENO_VAULT_DATABASE_URL=database.vault_url, KENO_KEYS_DIR=str(tmp_path)) as alone:
        refused = alone.keno_here("audit")
        assert (refused.returncode, "for the vault alone" in refused.stderr) == (1, True)


def test_the_key_is_changed_by_commands_where_the_vault_runs(
    database: Database, tmp_path: Path, installation: Installation
) -> None:
    installation.more = vault_alone(database, tmp_path / "vault", tmp_path / "data")
    del installation.more["KENO_DATA_DIR"]
    first = installation.keno_here("vault", "key").stdout.strip()
    changed = installation.keno_here("vault", "key", "--new")
    second = installation.keno_here("vault", "key").stdout.strip()
    assert first != second
    assert changed.stdout.split("\n")[-2:] == [second, ""]
    assert sorted(os.listdir(tmp_path / "vault")) == [f"vault-{first}.key", "vault.key"]
    done = installation.keno_here("vault", "rewrap")
    assert (done.returncode, done.stdout) == (0, "0 epoch keys wrapped anew; 0 were under the current key\n")
    installation.more["KENO_VAULT_KEY"] = "ab" * 32
    refused = installation.keno_here("vault", "key", "--new")
    assert (refused.returncode, "KENO_VAULT_KEY" in refused.stderr) == (1, True)
    assert "abab" not in refused.stderr
