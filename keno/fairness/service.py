"""Publishes evidence: what anyone, and what an auditor, gets to see of an ended round, and of an epoch."""

import asyncio
from typing import Final

import asyncpg

from keno.errors import KenoError
from keno.fairness import evidence, store
from keno.fairness.anchor.service import anchored_paths
from keno.fairness.log.service import round_proof
from keno.phrases import said

BUNDLES_AT_ONCE: Final = 2
"""Anyone may ask; a round of a million bets takes seconds of a core, and of a connection, which bets need too."""
_ENTRIES_OF_ROUND = 3


class ArchivedError(KenoError):
    """The round's bets are archived: its evidence can no longer be made here."""


class EvidenceService:
    """Makes evidence bundles from the database. `privacy_key` salts the bets' leaves."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._turns = asyncio.Semaphore(BUNDLES_AT_ONCE)

    async def bundle(self, round_id: int, *, auditor: bool = False) -> bytes | None:
        """The bundle of a settled or void round as JSON Lines; None where there is no such round yet.

        Raises ArchivedError where its bets have left the database.
        """
        async with self._turns:
            return await self._made(round_id, auditor=auditor)

    async def _made(self, round_id: int, *, auditor: bool) -> bytes | None:
        async with self._pool.acquire() as conn:
            ended = await store.ended_round(conn, round_id)
            if ended is None:
                return None
            paytables = await store.paytable_documents(conn, ended.lock.rules)
            bets = await store.round_bets(conn, round_id)
            # In threads: others are answered meanwhile.
            leaves = await asyncio.to_thread(evidence.bet_leaves, self._privacy_key, bets)
            payouts = await store.round_payouts(conn, round_id) if auditor else None
            seen = await store.seen_locks(conn, round_id)
            # Asked last: what was there before this answer was read whole.
            if await store.is_archived(conn, round_id):
                raise ArchivedError(said("the bets of round {round_id} are archived", round_id=round_id))
        if payouts is None:
            made = await asyncio.to_thread(evidence.public_bundle, ended, paytables, leaves)
        else:
            made = await asyncio.to_thread(evidence.auditor_bundle, ended, paytables, leaves, payouts)
        room, number = ended.lock.room, ended.lock.number
        witnessed = evidence.seen_lines(
            room, number, [(each.public_key, each.seen_ms, each.signature) for each in seen]
        )
        return made + witnessed + await self._log_line(round_id, room, number)

    async def epoch(self, round_id: int) -> evidence.PublishedEpoch | None:
        """The epoch in which a round lies, from the moment the round is there; None where there is no such round."""
        return await store.epoch_of_round(self._pool, round_id)

    async def _log_line(self, round_id: int, room: bytes, number: int) -> bytes:
        """Nothing while the log does not show the round's epoch, lock and outcome under one checkpoint."""
        proof = await round_proof(self._pool, round_id)
        if proof is None or len(proof.entries) < _ENTRIES_OF_ROUND:
            return b""
        shown = [(each.index, each.data, each.path) for each in proof.entries]
        logged = evidence.log_line(room, number, proof.checkpoint.note, shown)
        return logged + await self._anchor_line(room, number, [each.index for each in proof.entries])

    async def _anchor_line(self, room: bytes, number: int, indexes: list[int]) -> bytes:
        """Nothing while no confirmed anchor covers the round's entries."""
        found = await anchored_paths(self._pool, indexes)
        if found is None:
            return b""
        anchor, paths = found
        mined = anchor.transaction_hash, anchor.block_number
        return evidence.anchor_line(room, number, anchor.where, mined, anchor.size, anchor.root, paths)
