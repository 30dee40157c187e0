"""A log with a contract for it on a real node, and what stands there."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from keno.fairness.anchor import store
from keno.fairness.anchor.anchorer import Anchorer, Policy
from keno.fairness.anchor.ethereum import EthereumChain, open_chain
from keno.fairness.anchor.fees import Fees
from keno.fairness.anchor.store import ConfirmedAnchor, Where
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witnesses import Witnesses
from keno.rounds.room_store import Room
from support.anvil import CHAIN_ID, GWEI, Anvil
from support.rounds import Hall

OWNER_KEY = bytes([0x11]) * 32
PLATFORM_KEY = bytes(32)
LOG_NAME = "keno.test/log"
CONFIRMATIONS = 4
POLICY = Policy(interval_ms=0, max_fee_wei=100 * GWEI, stuck_ms=3_600_000, confirmations=CONFIRMATIONS)
# Anchored(uint64,bytes32)
ANCHORED = "0x4ac5b9bdb01817da80ec1c33e76c5bef927ab969dd8e8ba4ce21da0d7996e56f"


@dataclass
class Site:
    """A room whose rounds are logged, and the contract in which the log is anchored."""

    hall: Hall
    room: Room
    node: Anvil
    chain: EthereumChain
    log_key: str
    played: int = 0

    @property
    def where(self) -> Where:
        return Where(self.chain.id, self.chain.contract)

    @property
    def address(self) -> str:
        return f"0x{self.chain.contract.hex()}"

    def anchorer(self, **changes: int) -> Anchorer:
        return Anchorer(self.hall.app_pool, self.chain, replace(POLICY, **changes))

    async def grow(self) -> int:
        """Plays and logs another round; returns the size of the new checkpoint."""
        self.played += 1
        await self.hall.play(self.room, [self.played])
        keys = LogKeys(self.hall.app_pool, PLATFORM_KEY, LOG_NAME)
        await Sequencer(self.hall.app_pool, keys, Witnesses(())).step()
        size: int = await self.hall.app_pool.fetchval("SELECT max(size) FROM log_checkpoints")
        return size

    async def anchor(self) -> ConfirmedAnchor:
        """Brings the newest checkpoint on the chain, and has it confirmed."""
        worker = self.anchorer()
        await worker.step()
        self.node.mine(CONFIRMATIONS)
        await worker.step()
        found = await self.newest()
        assert found is not None
        return found

    async def newest(self) -> ConfirmedAnchor | None:
        return await store.newest(self.hall.app_pool)

    async def signed(self) -> list[tuple[int, int]]:
        """Nonce and maximum fee (wei) of each transaction that was signed, in this order."""
        rows = await self.hall.app_pool.fetch("SELECT nonce, max_fee_wei FROM anchor_transactions ORDER BY id")
        return [tuple(row) for row in rows]

    async def verdicts(self) -> list[tuple[int, int]]:
        """Size and verdict of each anchor, as they came."""
        rows = await self.hall.app_pool.fetch(
            "SELECT a.size, v.verdict FROM anchor_verdicts AS v JOIN anchors AS a ON a.id = v.anchor_id ORDER BY v.id"
        )
        return [tuple(row) for row in rows]

    async def root(self, size: int) -> bytes:
        found: bytes = await self.hall.app_pool.fetchval("SELECT root FROM log_checkpoints WHERE size = $1", size)
        return found

    def anchored(self) -> list[tuple[int, bytes]]:
        """Size and root of each event of the contract on the chain as it is."""
        self.node.mined()
        query = {"address": self.address, "topics": [ANCHORED], "fromBlock": "0x0"}
        return [(int(e["topics"][1], 16), bytes.fromhex(e["data"][2:])) for e in self.node.rpc("eth_getLogs", query)]


@asynccontextmanager
async def open_site(hall: Hall, node: Anvil) -> AsyncIterator[Site]:
    """A site with one logged round and nothing anchored."""
    keys = LogKeys(hall.app_pool, PLATFORM_KEY, LOG_NAME)
    await keys.load()
    key = await keys.public()
    assert key is not None
    async with open_chain(node.url, CHAIN_ID, OWNER_KEY, None) as chain:
        node.fund(chain.owner)
        made = await chain.deploy(hashlib.sha256(key.text.encode()).digest(), Fees(10 * GWEI, GWEI))
    async with open_chain(node.url, CHAIN_ID, OWNER_KEY, made.contract) as chain:
        site = Site(hall, await hall.add_room(), node, chain, key.text)
        await site.grow()
        yield site
