"""What the engine asks of beacons: which one a lock names, what a draw gets, and which rounds wait no longer.

It remembers only published rules, which never change. Rooms of profile S cost nothing here once their rules are known.
"""

import time
from collections.abc import Mapping, Sequence

from keno.fairness import beacon
from keno.fairness.beacon import Terms
from keno.fairness.beacons import store
from keno.infra.postgres import Connection

_LOOK_S = 1.0
"""How often it is looked for rounds to give up."""


class RoundBeacons:
    """The beacons of a shard's rounds, for the engine that leads it."""

    def __init__(self, late_max_ms: int = beacon.LATE_MAX_MS) -> None:
        self._late_max_ms = late_max_ms
        self._terms: dict[bytes, Terms] = {}
        # Whoever has just begun first gives the beacons that came meanwhile the time to be fetched.
        self._look_at_s = time.monotonic() + _LOOK_S

    async def named(self, conn: Connection, rounds: Sequence[tuple[int, bytes, int]]) -> dict[int, int]:
        """The beacon round that the lock of each round names, by id, of (id, rules hash, lock in UTC milliseconds)."""
        terms = {round_id: await self.terms(conn, rules_hash) for round_id, rules_hash, _ in rounds}
        of_epochs = [round_id for round_id, stated in terms.items() if stated.profile == "E"]
        opened_ms = await store.epochs_opened_ms(conn, of_epochs) if of_epochs else {}
        return {
            round_id: terms[round_id].beacon_round(lock_ms, opened_ms.get(round_id, 0))
            for round_id, _, lock_ms in rounds
        }

    async def signatures(self, conn: Connection, waiting: Sequence[int]) -> Mapping[int, bytes]:
        """The beacon signatures of these rounds, by id; a round that has none, or was given up, is not drawn."""
        return await store.drawable(conn, waiting) if waiting else {}

    async def terms(self, conn: Connection, rules_hash: bytes) -> Terms:
        """What published rules say of beacons."""
        if rules_hash not in self._terms:
            self._terms[rules_hash] = await store.terms(conn, rules_hash)
        return self._terms[rules_hash]

    async def given_up(
        self, conn: Connection, shard: int, lease_epoch: int, limit: int
    ) -> list[tuple[int, bytes, int]] | None:
        """The rounds to void, as (id, seed, reason), looked for once in a while; None where the lease was lost."""
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return []
        self._look_at_s = now_s + _LOOK_S
        if await store.give_up(conn, shard, lease_epoch, self._late_max_ms) is None:
            return None
        found = await store.rounds_to_void(conn, shard, limit)
        return [(round_id, seed, beacon.VOID_BEACON_LATE) for round_id, seed in found]
