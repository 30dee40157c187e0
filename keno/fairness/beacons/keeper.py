"""Fetches the beacons that sealed rounds wait for, each once for all rooms, and keeps them in the database.

It decides nothing: the vault verifies again what is kept here, and the engine gives rounds up. Several keepers do no
harm to each other.
"""

import asyncio
from collections.abc import Mapping

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from keno.fairness.beacons import store
from keno.fairness.beacons.drand import DrandClient
from keno.fairness.beacons.store import Wanted

_AT_ONCE_MAX = 32
_REST_MIN_S = 0.02
_REST_MAX_S = 0.2
_RETRY_S = 0.2

KEPT = Counter("keno_beacons_kept", "Beacons that this process fetched, verified and kept.")
LATE = Histogram(
    "keno_beacon_late_seconds",
    "How long after it was due a beacon was kept.",
    buckets=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
_log = structlog.get_logger(__name__)


class BeaconKeeper:
    """Keeps beacons of the chains for which there are `clients`, by chain hash."""

    def __init__(self, pool: asyncpg.Pool, clients: Mapping[bytes, DrandClient]) -> None:
        self._pool = pool
        self._clients = clients
        self._unknown: set[bytes] = set()

    async def step(self) -> float:
        """Fetches what is due; returns the seconds to wait before the next step."""
        wanted = await store.wanted(self._pool)
        due = [each for each in wanted if each.due_in_ms <= 0 and self._knows(each.chain_hash)][:_AT_ONCE_MAX]
        kept = await asyncio.gather(*(self._keep(each) for each in due))
        if not all(kept):
            return _RETRY_S
        coming_s = min((each.due_in_ms / 1000 for each in wanted if each.due_in_ms > 0), default=_REST_MAX_S)
        return max(min(coming_s, _REST_MAX_S), _REST_MIN_S)

    async def _keep(self, wanted: Wanted) -> bool:
        signature = await self._clients[wanted.chain_hash].fetch(wanted.beacon_round)
        if signature is None:
            return False
        if await store.keep(self._pool, wanted.chain_hash, wanted.beacon_round, signature):
            KEPT.inc()
            LATE.observe(-wanted.due_in_ms / 1000)
        return True

    def _knows(self, chain_hash: bytes) -> bool:
        if chain_hash not in self._clients and chain_hash not in self._unknown:
            self._unknown.add(chain_hash)
            _log.error("beacon.chain_without_endpoints", chain=chain_hash.hex())
        return chain_hash in self._clients
