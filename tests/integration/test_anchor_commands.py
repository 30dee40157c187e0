"""The commands of anchors on a real node: the contract is deployed, and the worker brings the log into it."""

import asyncio
import hashlib
import signal
from pathlib import Path

import asyncpg
import pytest
from support.anchors import OWNER_KEY
from support.anvil import CHAIN_ID, Anvil
from support.commands import keno_here
from support.databases import Database
from support.events import PATIENCE_S
from support.installation import installed, named_servers
from support.rounds import open_hall

from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witnesses import Witnesses
from keno.infra.keyfiles import load_keys

OWNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


@pytest.fixture
def node(node: Anvil) -> Anvil:
    node.fund(OWNER)
    return node


@pytest.fixture
def servers(database: Database, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return named_servers(database, redis_url, tmp_path / "keys")


def on(node: Anvil, keys_dir: str) -> dict[str, str]:
    """The settings of the node, and the key of an account that has ether there."""
    Path(keys_dir, "ethereum.key").write_text(OWNER_KEY.hex() + "\n")
    return {"KENO_ETHEREUM_RPC_URL": node.url, "KENO_ETHEREUM_CHAIN_ID": str(CHAIN_ID)}


async def test_the_contract_is_deployed_and_the_worker_anchors_the_log_in_it(
    servers: dict[str, str],
    node: Anvil,
    pool: asyncpg.Pool,
    vault_pool: asyncpg.Pool,
    owner_pool: asyncpg.Pool,
) -> None:
    settings = servers | on(node, servers["KENO_KEYS_DIR"])
    assert keno_here(settings, "anchor", "address").stdout == f"{OWNER}\n"
    deployed = keno_here(settings, "anchor", "deploy")
    assert deployed.returncode == 0, deployed.stderr
    said = dict(line.split(maxsplit=1) for line in deployed.stdout.splitlines())
    assert said["owner"] == OWNER
    log_key = keno_here(settings, "log", "key").stdout.strip()
    call = {"to": said["contract"], "data": "0x51973ec9"}
    assert node.rpc("eth_call", call, "latest") == f"0x{hashlib.sha256(log_key.encode()).hexdigest()}"

    quick = {"KENO_ETHEREUM_CONTRACT": said["contract"], "KENO_ETHEREUM_CONFIRMATIONS": "1"}
    keys = load_keys(Path(servers["KENO_KEYS_DIR"]), create=False)
    async with open_hall(pool, vault_pool, owner_pool) as hall:
        await hall.play(await hall.add_room(), [1])
        await Sequencer(pool, LogKeys(pool, keys.platform, ""), Witnesses(())).step()
    with installed(**settings, **quick) as installation:
        installation.start("run", "worker", "anchor")
        async with asyncio.timeout(2 * PATIENCE_S):
            while not await pool.fetchval("SELECT count(*) FROM confirmed_anchors"):
                assert installation.processes["run worker anchor"].poll() is None, installation.log_tail()
                await asyncio.sleep(0.2)
        assert installation.end("run worker anchor", signal.SIGTERM) == 0
        assert node.url not in installation.log.read_text()


def test_what_is_missing_to_anchor_is_named(servers: dict[str, str], node: Anvil) -> None:
    with installed(**servers) as installation:
        worker = installation.keno("run", "worker", "anchor")
    for done in (worker, keno_here(servers, "anchor", "deploy"), keno_here(servers, "anchor", "address")):
        assert done.returncode == 1
        assert "KENO_ETHEREUM_RPC_URL" in done.stderr
    settings = servers | {"KENO_ETHEREUM_RPC_URL": node.url, "KENO_ETHEREUM_CHAIN_ID": "1"}
    assert "ethereum.key" in keno_here(settings, "anchor", "deploy").stderr
    done = keno_here(
        settings | on(node, servers["KENO_KEYS_DIR"]) | {"KENO_ETHEREUM_CHAIN_ID": "1"}, "anchor", "deploy"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the node is of chain {CHAIN_ID}" in done.stderr
    node.stop()
    done = keno_here(settings, "anchor", "deploy")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the node gave no answer" in done.stderr
