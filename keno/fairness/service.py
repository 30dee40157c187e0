"""Publishes evidence: what anyone, and what an auditor, gets to see of an ended round."""

import asyncpg

from keno.errors import KenoError
from keno.fairness import evidence, store


class ArchivedError(KenoError):
    """The round's bets are archived: its evidence can no longer be made here."""


class EvidenceService:
    """Makes evidence bundles from the database. `privacy_key` salts the bets' leaves."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes) -> None:
        self._pool = pool
        self._privacy_key = privacy_key

    async def bundle(self, round_id: int, *, auditor: bool = False) -> bytes | None:
        """The bundle of a settled or void round as JSON Lines; None where there is no such round yet.

        Raises ArchivedError where its bets have left the database.
        """
        async with self._pool.acquire() as conn:
            ended = await store.ended_round(conn, round_id)
            if ended is None:
                return None
            paytables = await store.paytable_documents(conn, ended.lock.rules)
            leaves = evidence.bet_leaves(self._privacy_key, await store.round_bets(conn, round_id))
            payouts = await store.round_payouts(conn, round_id) if auditor else None
            # Asked last: what was there before this answer was read whole.
            if await store.is_archived(conn, round_id):
                raise ArchivedError(f"the bets of round {round_id} are archived")
            if payouts is None:
                return evidence.public_bundle(ended, paytables, leaves)
            return evidence.auditor_bundle(ended, paytables, leaves, payouts)
