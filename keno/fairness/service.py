"""Publishes evidence: what anyone, and what an auditor, gets to see of an ended round."""

import asyncpg

from keno.fairness import evidence, store


class EvidenceService:
    """Makes evidence bundles from the database. `privacy_key` salts the bets' leaves."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes) -> None:
        self._pool = pool
        self._privacy_key = privacy_key

    async def bundle(self, round_id: int, *, auditor: bool = False) -> bytes | None:
        """The bundle of a settled or void round as JSON Lines; None where there is no such round yet."""
        async with self._pool.acquire() as conn:
            ended = await store.ended_round(conn, round_id)
            if ended is None:
                return None
            paytables = await store.paytable_documents(conn, ended.lock.rules)
            leaves = evidence.bet_leaves(self._privacy_key, await store.round_bets(conn, round_id))
            if not auditor:
                return evidence.public_bundle(ended, paytables, leaves)
            return evidence.auditor_bundle(ended, paytables, leaves, await store.round_payouts(conn, round_id))
