"""The contract itself, on a real node; and that what is shipped is what its source compiles to."""

import hashlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import anvil
from support.anvil import CHAIN_ID, GWEI, NODE, TOOLS, Anvil

from keno.fairness.anchor import ethereum
from keno.fairness.anchor.chain import RefusedError
from keno.fairness.anchor.ethereum import EthereumChain, open_chain
from keno.fairness.anchor.fees import Fees

ARTIFACT = Path(ethereum.__file__).with_name("LogAnchor.json")
OWNER, STRANGER = bytes([0x11]) * 32, bytes([0x22]) * 32
LOG = hashlib.sha256(b"a log").digest()
FEES = Fees(10 * GWEI, GWEI)
ROOT, OTHER = bytes([1]) * 32, bytes([2]) * 32
GAS_OF_AN_ANCHOR_MAX = 56_000


@pytest.fixture
async def chain(node: Anvil) -> AsyncIterator[EthereumChain]:
    """A contract without any root, and its owner."""
    async with open_chain(node.url, CHAIN_ID, OWNER, None) as bare:
        node.fund(bare.owner)
        made = await bare.deploy(LOG, FEES)
    async with open_chain(node.url, CHAIN_ID, OWNER, made.contract) as opened:
        yield opened


def send(node: Anvil, raw: bytes) -> dict[str, Any]:
    """The receipt of a transaction, which is alone in a block."""
    node.automine(False)
    transaction = node.rpc("eth_sendRawTransaction", f"0x{raw.hex()}")
    node.mine()
    receipt: dict[str, Any] = node.rpc("eth_getTransactionReceipt", transaction)
    return receipt


def anchor(node: Anvil, chain: EthereumChain, size: int, root: bytes) -> dict[str, Any]:
    return send(node, chain.sign(node.nonce(chain.owner), FEES, 100_000, size, root).raw)


def word(node: Anvil, chain: EthereumChain, selector: str, argument: str = "") -> bytes:
    call = {"to": f"0x{chain.contract.hex()}", "data": selector + argument}
    return bytes.fromhex(node.rpc("eth_call", call, "latest")[2:])


def test_what_is_shipped_is_what_the_source_compiles_to() -> None:
    anvil.install_tools()
    compiled = subprocess.run([NODE, TOOLS / "compile.mjs"], capture_output=True, text=True, check=True)
    assert json.loads(ARTIFACT.read_text()) == json.loads(compiled.stdout)


async def test_the_owner_appends_roots_of_growing_size_and_each_stays(node: Anvil, chain: EthereumChain) -> None:
    await chain.check()
    for size, root in ((3, ROOT), (4, OTHER), (2**64 - 1, ROOT)):
        receipt = anchor(node, chain, size, root)
        assert receipt["status"] == "0x1"
        (event,) = receipt["logs"]
        assert (int(event["topics"][1], 16), event["data"]) == (size, f"0x{root.hex()}")
        assert (await chain.head()).size == size
    assert word(node, chain, "0x9d7384d9", f"{3:064x}") == ROOT
    assert word(node, chain, "0x9d7384d9", f"{4:064x}") == OTHER
    assert word(node, chain, "0x9d7384d9", f"{5:064x}") == bytes(32)
    assert word(node, chain, "0x51973ec9") == LOG
    assert f"0x{word(node, chain, '0x8da5cb5b')[12:].hex()}" == chain.owner.lower()


async def test_an_anchor_costs_what_the_documents_say(node: Anvil, chain: EthereumChain) -> None:
    root = hashlib.sha256(b"a root").digest()
    first, second = (int(anchor(node, chain, size, root)["gasUsed"], 16) for size in (1_000_000, 2_000_000))
    assert max(first, second) <= GAS_OF_AN_ANCHOR_MAX


@pytest.mark.parametrize(("size", "root"), [(7, OTHER), (6, OTHER), (0, OTHER), (7, ROOT), (8, bytes(32))])
async def test_a_size_that_is_not_larger_and_no_root_are_refused(
    node: Anvil, chain: EthereumChain, size: int, root: bytes
) -> None:
    assert anchor(node, chain, 7, ROOT)["status"] == "0x1"
    with pytest.raises(RefusedError):
        await chain.gas(size, root)
    assert anchor(node, chain, size, root)["status"] == "0x0"
    assert (await chain.head()).size == 7
    assert word(node, chain, "0x9d7384d9", f"{7:064x}") == ROOT


async def test_nobody_but_the_owner_appends(node: Anvil, chain: EthereumChain) -> None:
    async with open_chain(node.url, CHAIN_ID, STRANGER, chain.contract) as stranger:
        node.fund(stranger.owner)
        with pytest.raises(RefusedError):
            await stranger.gas(1, ROOT)
        assert anchor(node, stranger, 1, ROOT)["status"] == "0x0"
    assert (await chain.head()).size == 0
