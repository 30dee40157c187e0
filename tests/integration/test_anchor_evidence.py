"""A bundle shows its round under an anchored root, and the verifier asks the auditor's node whether it is there."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import anvil
from support.anchors import Site
from support.anvil import CHAIN_ID
from support.javascript import assert_agreement

from keno import verifier
from keno.verifier import INCOMPLETE, LOG_SIGNATURE, VERIFIED, VIOLATION, EthereumNode, LogTrust

Line = dict[str, Any]
FINAL_BLOCKS = 100


async def lines_of(site: Site, number: int) -> list[Line]:
    made = await site.hall.evidence.bundle((await site.hall.row(site.room, number))["id"])
    assert made is not None
    return [json.loads(line) for line in made.splitlines()]


def encoded(lines: list[Line]) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


def verify(lines: list[Line], trust: LogTrust) -> tuple[int, dict[str, str]]:
    """The status, and the verdicts about the anchor."""
    (file,) = verifier.verify_bundles({"bundle": encoded(lines)}, None, trust)
    checks = {check.name: check.verdict for report in file.rounds for check in report.checks if "anchor" in check.name}
    return file.status, checks


def asking(site: Site) -> LogTrust:
    return LogTrust(node=EthereumNode(site.node.url))


def anchor_of(lines: list[Line]) -> Line:
    (found,) = [line for line in lines if line["type"] == "anchor"]
    return found


async def test_an_anchored_round_is_verified_against_the_chain(site: Site) -> None:
    anchored = await site.anchor()
    await site.grow()
    lines = await lines_of(site, 1)
    shown = anchor_of(lines)
    assert (shown["chain_id"], bytes.fromhex(shown["contract"])) == site.where
    assert (shown["size"], bytes.fromhex(shown["root"])) == (anchored.size, anchored.root)
    assert (shown["transaction"], shown["block"]) == (anchored.transaction_hash.hex(), anchored.block_number)
    site.node.mine(FINAL_BLOCKS)
    key = verifier.read_log_key(site.log_key, LOG_SIGNATURE)
    found = {"anchor inclusion": "ok", "anchor chain id": "ok", "anchor contract": "ok", "anchor on the chain": "ok"}
    unpinned, pinned = found | {"anchor contract address": "skipped"}, found | {"anchor contract address": "ok"}
    node = EthereumNode(site.node.url)
    assert verify(lines, LogTrust(node=node)) == (VERIFIED, unpinned)
    assert verify(lines, LogTrust(log=key, node=node, contract=site.chain.contract)) == (VERIFIED, pinned)
    # The round after it waits for the next anchor.
    later = await lines_of(site, 2)
    assert verify(later, asking(site)) == (INCOMPLETE, {"anchor": "missing"})
    assert verify(later, LogTrust()) == (VERIFIED, {})


async def test_the_command_asks_the_chain_with_nothing_but_its_one_file(site: Site, tmp_path: Path) -> None:
    await site.anchor()
    site.node.mine(FINAL_BLOCKS)
    path = tmp_path / "bundle.jsonl"
    path.write_bytes(encoded(await lines_of(site, 1)))
    options = "--log-key", site.log_key, "--anchor", site.node.url, "--anchor-contract", site.address
    command = [sys.executable, "-I", "-S", verifier.__file__, *options, path]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (VERIFIED, "")
    assert "  ok           anchor on the chain\n" in done.stdout
    site.node.stop()
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (INCOMPLETE, "")
    assert "  not checked  anchor on the chain: the node cannot be reached" in done.stdout


async def test_without_a_node_the_paths_are_checked_and_both_verifiers_agree(site: Site) -> None:
    await site.anchor()
    lines = await lines_of(site, 1)
    checks = {"anchor inclusion": "ok", "anchor on the chain": "skipped"}
    assert verify(lines, LogTrust()) == (VERIFIED, checks)
    changes: list[Callable[[Line], object]] = [
        lambda shown: None,
        lambda shown: shown["paths"].reverse(),
        lambda shown: shown["paths"][0].append("00" * 32),
        lambda shown: shown["paths"].pop(),
        lambda shown: shown.update(root="00" * 32),
        lambda shown: shown.update(size=shown["size"] + 1),
        lambda shown: shown.update(size=0),
        lambda shown: shown.update(contract=shown["contract"][2:]),
        lambda shown: shown.update(chain_id=0),
        lambda shown: shown.update(round=2),
        lambda shown: shown.update(extra=1),
    ]
    statuses = []
    for change in changes:
        others, shown = [line for line in lines if line["type"] != "anchor"], json.loads(json.dumps(anchor_of(lines)))
        change(shown)
        data = encoded([*others, shown])
        reports = verifier.verify_bundles({"file 0": data})
        assert_agreement([data], None, reports)
        statuses.append(reports[0].status)
    assert statuses[:2] == [VERIFIED, VIOLATION]
    assert statuses[2:] == [1, 2, 1, 1, 2, 2, 2, 1, 2]
    bare = encoded([line for line in lines if line["type"] != "log"])
    reports = verifier.verify_bundles({"file 0": bare})
    assert_agreement([bare], None, reports)
    assert reports[0].status == INCOMPLETE


async def test_what_is_not_final_yet_or_not_there_is_incomplete(site: Site) -> None:
    fork = site.node.rpc("evm_snapshot")
    await site.anchor()
    lines = await lines_of(site, 1)
    assert verify(lines, asking(site)) == (
        INCOMPLETE,
        {
            "anchor inclusion": "ok",
            "anchor chain id": "ok",
            "anchor contract address": "skipped",
            "anchor contract": "missing",
        },
    )
    site.node.rpc("evm_revert", fork)
    site.node.mine(FINAL_BLOCKS)
    status, checks = verify(lines, asking(site))
    assert (status, checks["anchor contract"], checks["anchor on the chain"]) == (INCOMPLETE, "ok", "missing")
    # On the chain again, in a block that is not final.
    raw = await site.hall.app_pool.fetchval("SELECT raw FROM anchor_transactions")
    assert await site.chain.send(raw) is None
    status, checks = verify(lines, asking(site))
    assert (status, checks["anchor contract"], checks["anchor on the chain"]) == (INCOMPLETE, "ok", "missing")
    site.node.mine(FINAL_BLOCKS)
    assert verify(lines, asking(site))[0] == VERIFIED


async def test_another_chain_contract_log_or_root_is_a_violation(site: Site) -> None:
    anchored = await site.anchor()
    lines = await lines_of(site, 1)
    site.node.mine(FINAL_BLOCKS)
    with anvil.running(CHAIN_ID + 1) as other:
        status, checks = verify(lines, LogTrust(node=EthereumNode(other.url)))
        assert (status, checks["anchor chain id"]) == (VIOLATION, "FAIL")
    status, checks = verify(lines, asking(site)._replace(contract=bytes(20)))
    assert (status, checks["anchor contract address"]) == (VIOLATION, "FAIL")
    # Storage slot of rootOf[size], the third variable: what an owner cannot write, but an evil chain could show.
    slot = site.node.rpc("web3_sha3", f"0x{anchored.size:064x}{2:064x}")
    site.node.rpc("anvil_setStorageAt", site.address, slot, "0x" + "11" * 32)
    site.node.mine(FINAL_BLOCKS)
    status, checks = verify(lines, asking(site))
    assert (status, checks["anchor contract"], checks["anchor on the chain"]) == (VIOLATION, "ok", "FAIL")
    site.node.rpc("anvil_setCode", site.address, "0x6000")
    site.node.mine(FINAL_BLOCKS)
    status, checks = verify(lines, asking(site))
    assert (status, checks["anchor contract"]) == (VIOLATION, "FAIL")


async def test_a_contract_of_another_log_is_a_violation_to_whoever_knows_the_logs_key(site: Site) -> None:
    await site.anchor()
    lines = await lines_of(site, 1)
    site.node.rpc("anvil_setStorageAt", site.address, f"0x{1:064x}", "0x" + "22" * 32)
    site.node.mine(FINAL_BLOCKS)
    key = verifier.read_log_key(site.log_key, LOG_SIGNATURE)
    assert verify(lines, asking(site))[0] == VERIFIED
    status, checks = verify(lines, asking(site)._replace(log=key))
    assert (status, checks["anchor contract"]) == (VIOLATION, "FAIL")
