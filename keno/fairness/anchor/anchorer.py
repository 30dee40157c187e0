"""Brings the newest checkpoint of the log into the contract, one after the other, and sees each through.

What is to be anchored and every signed transaction are on disk before anything is sent, and what is on disk is sent
again until one of them is mined deep enough; so it may die anywhere. All transactions of an anchor that can still be
mined have one nonce, so only one of them is; and the contract takes a size once. Not here: who reads anchors
(`service.py`), and how the chain is asked (`ethereum.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from keno.fairness.anchor import fees, store
from keno.fairness.anchor.chain import Head, Receipt, RefusedError
from keno.fairness.anchor.fees import Fees
from keno.fairness.anchor.store import Mined, OpenAnchor, StoredTransaction, Verdict, Where
from keno.fairness.log.store import checkpoint_beyond, latest_checkpoint
from keno.infra import failpoints
from keno.infra.postgres import Connection

if TYPE_CHECKING:
    from keno.fairness.anchor.ethereum import EthereumChain

POLL_S = 6.0
"""How long to rest while a transaction is on its way."""
IDLE_S = 60.0
"""How long to rest at most while none is: nodes are paid by the question."""

SIZE = Gauge("keno_anchor_size", "Entries of the log under the newest confirmed anchor.")
WAITING = Gauge("keno_anchor_waiting_seconds", "For how long the present anchor has waited for its confirmation.")
TRANSACTIONS = Counter("keno_anchor_transactions", "Transactions signed, by why: first, stuck or taken.", ["why"])
REFUSALS = Counter("keno_anchor_refusals", "Transactions that the node or the contract did not take.")
REORGANISATIONS = Counter("keno_anchor_reorganisations", "Times that a block with an anchor was given up by the chain.")
for _why in ("first", "stuck", "taken"):
    TRANSACTIONS.labels(_why)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """When to anchor, what to pay, and what to believe.

    `confirmations` counts the block itself; `stuck_ms` is how long a transaction may wait before another pays more.
    """

    interval_ms: int
    max_fee_wei: int
    stuck_ms: int
    confirmations: int


class Anchorer:
    """One may run in every process; PostgreSQL lets one work at a time."""

    def __init__(self, pool: asyncpg.Pool, chain: EthereumChain, policy: Policy) -> None:
        self._pool = pool
        self._chain = chain
        self._policy = policy
        self._where = Where(chain.id, chain.contract)
        # Both only to be told of: the present anchor and the block it was last found in, and what was told last.
        self._seen: tuple[int, bytes] | None = None
        self._told: tuple[str, dict[str, object]] | None = None

    async def step(self) -> float:
        """Looks once what there is to do; returns the seconds to rest. Raises ChainUnavailableError."""
        async with self._pool.acquire() as conn:
            # Without a transaction, since the node is asked meanwhile; given back with the connection.
            if not await store.hold(conn):
                return POLL_S
            await self._chain.check()
            head = await self._chain.head()
            await self._notice_loss(conn, head)
            await self._notice_return(conn, head)
            current = await store.open_anchor(conn, self._where) or await self._begin(conn, head)
            WAITING.set(0 if current is None else current.age_ms / 1000)
            if current is None:
                return min(IDLE_S, self._policy.interval_ms / 1000)
            await self._pursue(conn, head, current)
        return POLL_S

    async def _notice_loss(self, conn: Connection, head: Head) -> None:
        confirmed = await store.newest(conn, self._where)
        if confirmed is None:
            return
        # A node that is behind does not know yet, and proves nothing.
        behind = head.number < confirmed.block_number + self._policy.confirmations - 1
        if head.size < confirmed.size and not behind:
            lost = await store.lose(conn, self._where, head.size)
            REORGANISATIONS.inc()
            _log.error("anchor.lost", size=confirmed.size, block=confirmed.block_number, anchors_count=lost)
        else:
            SIZE.set(confirmed.size)

    async def _notice_return(self, conn: Connection, head: Head) -> None:
        """What was sent for an anchor that was lost may be mined again at any time, and counts then."""
        gone = await store.gone(conn, self._where, head.size)
        if gone is None:
            return
        anchor_id, size = gone
        mined = await self._find(await store.transactions(conn, self._where, size))
        if mined is not None and mined[1].succeeded and self._is_deep(head, mined[1]):
            await store.settle(conn, anchor_id, Verdict.CONFIRMED, _place(mined))
            SIZE.set(size)
            _log.warning("anchor.returned", size=size, transaction=mined[0].hex(), block=mined[1].block_number)

    async def _begin(self, conn: Connection, head: Head) -> OpenAnchor | None:
        since_ms = await store.since_last_ms(conn, self._where)
        if since_ms is not None and since_ms < self._policy.interval_ms:
            return None
        checkpoint = await checkpoint_beyond(conn, head.size)
        if checkpoint is None:
            newest = await latest_checkpoint(conn)
            log_size = 0 if newest is None else newest.size
            if head.size > log_size:
                self._tell("anchor.chain_ahead", chain_size=head.size, log_size=log_size)
            return None
        return await store.begin(conn, self._where, checkpoint)

    async def _pursue(self, conn: Connection, head: Head, current: OpenAnchor) -> None:
        # In this order: what is mined after the nonce was read is found by its receipt.
        nonce = await self._chain.next_nonce()
        signed = await store.transactions(conn, self._where, current.size)
        mined = await self._find(signed)
        self._notice_reorganisation(current, mined)
        usable = [each for each in signed if each.nonce == nonce]
        if mined is not None:
            await self._judge(conn, head, current, mined)
        elif usable:
            await self._push(conn, head, current, usable[0])
        elif head.size >= current.size:
            _log.warning("anchor.given_up", size=current.size, chain_size=head.size)
            await store.settle(conn, current.id, Verdict.GIVEN_UP)
        else:
            offered = fees.first(head.base_fee_wei, await self._chain.tip_wei(), self._policy.max_fee_wei)
            await self._attempt(conn, current, nonce, offered, "taken" if signed else "first")

    async def _find(self, signed: list[StoredTransaction]) -> tuple[bytes, Receipt] | None:
        """The transaction that is in a block of the chain, one that the contract took before one it did not."""
        found = [(each.hash, await self._chain.receipt(each.hash)) for each in signed]
        mined = [
            (transaction_hash, receipt)
            for transaction_hash, receipt in found
            if receipt is not None and await self._chain.block_hash(receipt.block_number) == receipt.block_hash
        ]
        return max(mined, key=lambda each: each[1].succeeded, default=None)

    def _notice_reorganisation(self, current: OpenAnchor, mined: tuple[bytes, Receipt] | None) -> None:
        now = None if mined is None else (current.id, mined[1].block_hash)
        if self._seen is not None and self._seen[0] == current.id and self._seen != now:
            REORGANISATIONS.inc()
            _log.warning("anchor.reorganised", size=current.size, block_hash=self._seen[1].hex())
        self._seen = now

    def _is_deep(self, head: Head, receipt: Receipt) -> bool:
        return head.number - receipt.block_number + 1 >= self._policy.confirmations

    async def _judge(self, conn: Connection, head: Head, current: OpenAnchor, mined: tuple[bytes, Receipt]) -> None:
        transaction_hash, receipt = mined
        if not self._is_deep(head, receipt):
            return
        verdict = Verdict.CONFIRMED if receipt.succeeded else Verdict.REVERTED
        await store.settle(conn, current.id, verdict, _place(mined))
        told = {"size": current.size, "transaction": transaction_hash.hex(), "block": receipt.block_number}
        if receipt.succeeded:
            SIZE.set(current.size)
            _log.info("anchor.confirmed", gas=receipt.gas_used, **told)
        else:
            _log.error("anchor.reverted", gas=receipt.gas_used, **told)

    async def _push(self, conn: Connection, head: Head, current: OpenAnchor, last: StoredTransaction) -> None:
        if last.age_ms >= self._policy.stuck_ms:
            tip_wei, cap_wei = await self._chain.tip_wei(), self._policy.max_fee_wei
            more = fees.bumped(last.fees, head.base_fee_wei, tip_wei, cap_wei)
            if more is not None:
                await self._attempt(conn, current, last.nonce, more, "stuck")
                return
            offered = {"max_fee_wei": last.fees.max_fee_wei, "cap_wei": cap_wei}
            self._tell("anchor.fee_capped", size=current.size, **offered)
        await self._send(current, last.raw)

    async def _attempt(self, conn: Connection, current: OpenAnchor, nonce: int, offered: Fees, why: str) -> None:
        try:
            gas = await self._chain.gas(current.size, current.root)
        except RefusedError as refusal:
            REFUSALS.inc()
            self._tell("anchor.refused", size=current.size, reason=str(refusal))
            return
        signed = self._chain.sign(nonce, offered, gas, current.size, current.root)
        made = StoredTransaction(signed.hash, nonce, offered, signed.raw, 0)
        await store.keep_transaction(conn, current.id, made)
        TRANSACTIONS.labels(why).inc()
        failpoints.reach("anchor.signed")
        _log.info(
            "anchor.signed",
            size=current.size,
            nonce=nonce,
            why=why,
            max_fee_wei=offered.max_fee_wei,
            tip_wei=offered.tip_wei,
        )
        await self._send(current, signed.raw)
        failpoints.reach("anchor.sent")

    async def _send(self, current: OpenAnchor, raw: bytes) -> None:
        refusal = await self._chain.send(raw)
        if refusal is not None:
            REFUSALS.inc()
            self._tell("anchor.not_taken", size=current.size, reason=refusal)

    def _tell(self, event: str, **values: object) -> None:
        """Logs what does not go as it should, once for as long as it stays the same."""
        if self._told != (event, values):
            self._told = event, values
            _log.error(event, **values)


def _place(mined: tuple[bytes, Receipt]) -> Mined:
    transaction_hash, receipt = mined
    return Mined(transaction_hash, receipt.block_number, receipt.block_hash, receipt.gas_used)
