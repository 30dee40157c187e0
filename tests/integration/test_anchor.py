"""The log is anchored once, whatever happens to the worker, its transactions, the node and the chain."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import pairwise

import asyncpg
import pytest
from support.anchors import CONFIRMATIONS, OWNER_KEY, POLICY, Site
from support.anvil import CHAIN_ID, ETHER, GWEI
from support.databases import Database

from keno.fairness.anchor import store
from keno.fairness.anchor.anchorer import Anchorer
from keno.fairness.anchor.chain import ChainUnavailableError, WrongChainError
from keno.fairness.anchor.ethereum import open_chain
from keno.fairness.anchor.fees import Fees
from keno.infra.transient import is_transient
from keno.reporting.audit import invariants

POLICY_FEES = Fees(10 * GWEI, GWEI)
CONFIRMED, REVERTED, GIVEN_UP, LOST = 1, 2, 3, 4
KILLED = """
import asyncio, sys
from dataclasses import replace
from keno.fairness.anchor.anchorer import Anchorer, Policy
from keno.fairness.anchor.ethereum import open_chain
from keno.infra import failpoints
from keno.infra.postgres import create_pool

async def main(url, rpc_url, chain_id, key, contract, failpoint):
    failpoints.arm(failpoint)
    async with (
        await create_pool(url, connections_max=2) as pool,
        open_chain(rpc_url, int(chain_id), bytes.fromhex(key), bytes.fromhex(contract)) as chain,
    ):
        await Anchorer(pool, chain, Policy(0, 10**11, 3_600_000, 4)).step()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
async def audited(site: Site) -> AsyncIterator[None]:
    """Whatever happened, what is stored of anchors is what the audit says that it must be."""
    yield
    (asked,) = [each.sql for each in invariants() if each.name == "15_anchors_are_of_checkpoints"]
    assert await site.hall.owner_pool.fetch(asked) == []


async def let_go_of_by_the_dead(owner_pool: asyncpg.Pool) -> None:
    """Waits until PostgreSQL has noticed that the worker which held the right to anchor is gone."""
    for _ in range(500):
        async with owner_pool.acquire() as conn:
            if await store.hold(conn):
                return
        await asyncio.sleep(0.02)
    raise AssertionError("the lock of a dead worker is still held")


async def test_the_newest_checkpoint_is_anchored_and_counts_once_it_is_deep_enough(site: Site) -> None:
    await site.grow()
    size, worker = await site.grow(), site.anchorer()
    await worker.step()
    assert site.anchored() == [(size, await site.root(size))]
    site.node.mine(CONFIRMATIONS - 2)
    await worker.step()
    assert await site.newest() is None
    site.node.mine()
    await worker.step()
    found = await site.newest()
    assert found is not None
    assert (found.where, found.size, found.root) == (site.where, size, await site.root(size))
    receipt = site.node.rpc("eth_getTransactionReceipt", f"0x{found.transaction_hash.hex()}")
    assert int(receipt["blockNumber"], 16) == found.block_number
    assert bytes.fromhex(receipt["blockHash"][2:]) == found.block_hash
    await worker.step()
    assert await site.verdicts() == [(size, CONFIRMED)]
    assert len(await site.signed()) == 1


async def test_a_log_that_has_not_grown_is_not_anchored_again_and_one_that_has_only_after_the_interval(
    site: Site,
) -> None:
    first = (await site.anchor()).size
    await site.anchorer().step()
    second = await site.grow()
    await site.anchorer(interval_ms=10**9).step()
    assert site.anchored() == [(first, await site.root(first))]
    assert (await site.anchor()).size == second
    assert [size for size, _ in site.anchored()] == [first, second]


@pytest.mark.parametrize("failpoint", ["anchor.signed", "anchor.sent"])
async def test_a_worker_killed_around_sending_is_followed_by_one_that_goes_on_with_the_same_transaction(
    site: Site, database: Database, failpoint: str
) -> None:
    size = await site.grow()
    before = site.node.nonce(site.chain.owner)
    where = site.node.url, str(CHAIN_ID), OWNER_KEY.hex(), site.chain.contract.hex()
    command = [sys.executable, "-c", KILLED, database.app_url, *where, failpoint]
    killed = await asyncio.to_thread(subprocess.run, command, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(site.anchored()) == (failpoint == "anchor.sent")
    await let_go_of_by_the_dead(site.hall.owner_pool)
    assert (await site.anchor()).size == size
    assert site.anchored() == [(size, await site.root(size))]
    assert len(await site.signed()) == 1
    assert site.node.nonce(site.chain.owner) == before + 1


async def test_workers_at_once_anchor_once(site: Site) -> None:
    workers = [site.anchorer() for _ in range(3)]
    for _ in range(4):
        await asyncio.gather(*(worker.step() for worker in workers))
        site.node.mine()
    await workers[0].step()
    assert len(await site.verdicts()) == len(site.anchored()) == len(await site.signed()) == 1


async def test_a_stuck_transaction_is_replaced_by_ones_that_pay_more_until_one_is_mined(site: Site) -> None:
    site.node.automine(False)
    worker = site.anchorer(stuck_ms=0)
    for replacements in range(3):
        await worker.step()
        (waiting,) = site.node.pending()
        signed = await site.signed()
        assert len(signed) == replacements + 1
        assert int(waiting["maxFeePerGas"], 16) == signed[-1][1]
    nonce, offered = signed[-1]
    # The base fee rises over all that was offered: a block is mined without it.
    site.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(3 * offered))
    site.node.mine()
    assert site.anchored() == []
    await worker.step()
    site.node.mine()
    assert len(site.anchored()) == 1
    signed = await site.signed()
    assert {each for each, _ in signed} == {nonce}
    for (_, before), (_, after) in pairwise(signed):
        assert 8 * after >= 9 * before
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    size = await site.hall.app_pool.fetchval("SELECT max(size) FROM log_checkpoints")
    assert await site.verdicts() == [(size, CONFIRMED)]
    assert len(site.anchored()) == 1


async def test_no_transaction_offers_more_than_the_maximum_and_the_last_one_waits_for_better_times(site: Site) -> None:
    site.node.automine(False)
    worker = site.anchorer(stuck_ms=0, max_fee_wei=5 * GWEI)
    site.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * GWEI))
    site.node.mine()
    for _ in range(5):
        await worker.step()
    assert [fee for _, fee in await site.signed()] == [5 * GWEI]
    # Nodes forget what pays too little; it is sent again all the time.
    site.node.rpc("anvil_dropAllTransactions")
    await worker.step()
    site.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    await worker.step()
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    assert len(site.anchored()) == len(await site.verdicts()) == len(await site.signed()) == 1


async def test_an_anchor_that_a_reorganisation_takes_back_is_sent_again(site: Site) -> None:
    worker = site.anchorer()
    fork = site.node.rpc("evm_snapshot")
    await worker.step()
    await worker.step()
    assert len(site.anchored()) == 1
    site.node.rpc("evm_revert", fork)
    assert site.anchored() == []
    site.node.mine(CONFIRMATIONS + 1)
    await worker.step()
    assert len(site.anchored()) == 1
    assert await site.newest() is None
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    found = await site.newest()
    assert found is not None
    block = site.node.rpc("eth_getBlockByNumber", hex(found.block_number), False)
    assert bytes.fromhex(block["hash"][2:]) == found.block_hash
    assert len(await site.signed()) == 1


async def test_a_block_replaced_by_another_with_the_same_transaction_counts_from_there_on(site: Site) -> None:
    worker = site.anchorer()
    await worker.step()
    site.node.mine(1)
    before = site.node.rpc("eth_getBlockByNumber", hex(site.node.height() - 1), False)["hash"]
    (raw,) = await site.hall.app_pool.fetchrow("SELECT raw FROM anchor_transactions")
    site.node.rpc("anvil_reorg", 2, [[f"0x{raw.hex()}", 1]])
    await worker.step()
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    found = await site.newest()
    assert found is not None
    assert found.block_hash.hex() != before[2:]
    assert len(site.anchored()) == len(await site.signed()) == 1


async def test_a_confirmed_anchor_that_a_deep_reorganisation_takes_back_is_lost_and_another_takes_its_place(
    site: Site,
) -> None:
    fork = site.node.rpc("evm_snapshot")
    first = (await site.anchor()).size
    round_id = (await site.hall.row(site.room, 1))["id"]
    bundle = await site.hall.evidence.bundle(round_id)
    assert bundle is not None
    assert b'"type":"anchor"' in bundle
    site.node.rpc("evm_revert", fork)
    worker = site.anchorer(interval_ms=10**9)
    await worker.step()
    # The node is behind what it was: it does not know better yet.
    assert await site.verdicts() == [(first, CONFIRMED)]
    site.node.mine(2 * CONFIRMATIONS)
    await worker.step()
    assert await site.verdicts() == [(first, CONFIRMED), (first, LOST)]
    bundle = await site.hall.evidence.bundle(round_id)
    assert bundle is not None
    assert b'"type":"anchor"' not in bundle
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    assert await site.verdicts() == [(first, CONFIRMED), (first, LOST), (first, CONFIRMED)]
    assert len(site.anchored()) == 1


async def lose_the_first(site: Site) -> int:
    """Has an anchor confirmed and then lost, the log having grown meanwhile; returns its size."""
    fork = site.node.rpc("evm_snapshot")
    first = (await site.anchor()).size
    site.node.rpc("evm_revert", fork)
    site.node.automine(False)
    site.node.mine(2 * CONFIRMATIONS)
    return first


async def test_a_lost_anchor_whose_old_transaction_is_mined_again_counts_before_a_larger_one_does(site: Site) -> None:
    first = await lose_the_first(site)
    second = await site.grow()
    worker = site.anchorer()
    await worker.step()
    (old,) = await site.hall.app_pool.fetchrow("SELECT raw FROM anchor_transactions ORDER BY id LIMIT 1")
    # Somebody still has the old transaction, and sends it; ours, which has its nonce, is forgotten.
    site.node.rpc("anvil_dropAllTransactions")
    site.node.rpc("eth_sendRawTransaction", f"0x{old.hex()}")
    site.node.mine(CONFIRMATIONS - 1)
    await worker.step()
    assert await site.newest() is None
    site.node.mine(1)
    await worker.step()
    found = await site.newest()
    assert found is not None
    assert (found.size, found.root) == (first, await site.root(first))
    assert await site.verdicts() == [(first, CONFIRMED), (first, LOST), (first, CONFIRMED)]
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    assert [size for size, _ in site.anchored()] == [first, second]
    assert (await site.verdicts())[3:] == [(second, CONFIRMED)]


async def test_an_anchor_of_the_size_of_a_lost_one_is_confirmed_by_the_transaction_of_either(site: Site) -> None:
    first = await lose_the_first(site)
    (old,) = await site.hall.app_pool.fetchrow("SELECT raw FROM anchor_transactions ORDER BY id LIMIT 1")
    worker = site.anchorer(stuck_ms=0)
    await worker.step()
    site.node.rpc("anvil_dropAllTransactions")
    site.node.rpc("eth_sendRawTransaction", f"0x{old.hex()}")
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    found = await site.newest()
    assert found is not None
    assert (found.size, site.anchored()) == (first, [(first, await site.root(first))])
    assert await site.verdicts() == [(first, CONFIRMED), (first, LOST), (first, CONFIRMED)]
    assert len({nonce for nonce, _ in await site.signed()}) == 1


async def test_a_nonce_that_another_transaction_of_the_account_took_is_followed_by_the_next(site: Site) -> None:
    site.node.automine(False)
    worker = site.anchorer()
    await worker.step()
    ((nonce, _),) = await site.signed()
    site.node.rpc("anvil_dropAllTransactions")
    site.node.rpc("anvil_setNonce", site.chain.owner, hex(nonce + 3))
    await worker.step()
    assert [each for each, _ in await site.signed()] == [nonce, nonce + 3]
    site.node.mine(CONFIRMATIONS)
    await worker.step()
    assert [verdict for _, verdict in await site.verdicts()] == [CONFIRMED]


async def test_a_size_that_the_contract_has_gone_beyond_is_given_up_and_the_next_one_is_anchored(site: Site) -> None:
    site.node.automine(False)
    worker = site.anchorer()
    await worker.step()
    first = await site.hall.app_pool.fetchval("SELECT size FROM anchors")
    site.node.rpc("anvil_dropAllTransactions")
    # Somebody else with the key was quicker, with a larger size.
    second = await site.grow()
    site.node.automine(True)
    root = await site.root(second)
    raw = site.chain.sign(site.node.nonce(site.chain.owner), POLICY_FEES, 200_000, second, root).raw
    assert await site.chain.send(raw) is None
    await worker.step()
    assert await site.verdicts() == [(first, GIVEN_UP)]
    third = await site.grow()
    assert (await site.anchor()).size == third
    assert [size for size, _ in site.anchored()] == [second, third]


async def test_an_account_that_does_not_own_the_contract_signs_nothing(site: Site) -> None:
    async with open_chain(site.node.url, CHAIN_ID, bytes([0x22]) * 32, site.chain.contract) as stranger:
        site.node.fund(stranger.owner)
        await Anchorer(site.hall.app_pool, stranger, POLICY).step()
    assert await site.signed() == []
    assert (await site.anchor()).size


async def test_an_empty_account_waits_for_its_ether(site: Site) -> None:
    site.node.rpc("anvil_setBalance", site.chain.owner, "0x0")
    worker = site.anchorer()
    await worker.step()
    await worker.step()
    assert site.anchored() == []
    site.node.rpc("anvil_setBalance", site.chain.owner, hex(ETHER))
    assert (await site.anchor()).size
    assert len(site.anchored()) == 1


async def test_a_node_of_another_chain_gets_nothing(site: Site) -> None:
    async with open_chain(site.node.url, 1, OWNER_KEY, site.chain.contract) as chain:
        with pytest.raises(WrongChainError, match=f"the node is of chain {CHAIN_ID}"):
            await Anchorer(site.hall.app_pool, chain, POLICY).step()
    assert await site.hall.app_pool.fetchval("SELECT count(*) FROM anchors") == 0


async def test_another_contract_at_the_address_gets_nothing(site: Site) -> None:
    site.node.rpc("anvil_setCode", site.address, "0x00")
    with pytest.raises(WrongChainError):
        await site.anchorer().step()
    assert await site.hall.app_pool.fetchval("SELECT count(*) FROM anchors") == 0


async def test_a_node_that_is_away_is_waited_for_and_its_url_is_not_told(site: Site) -> None:
    await site.anchorer().step()
    site.node.stop()
    with pytest.raises(ChainUnavailableError) as away:
        await site.anchorer().step()
    assert is_transient(away.value)
    assert str(site.node.port) not in str(away.value)
    # Another chain under the same number: nothing of ours is on it.
    site.node.start()
    with pytest.raises(WrongChainError):
        await site.anchorer().step()
    assert await site.verdicts() == []
