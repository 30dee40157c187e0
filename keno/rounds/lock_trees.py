"""The trees of rounds' bets whose roots go into locks: read when the round is locked, or while bets still come.

A small round is read whole by the tick that seals it. A large one is followed while it is open, so that its lock waits
for its last bets only. Bets stand in the tree by ascending id, and ids are not committed in their order: followed are
the bets below a horizon, the latest id that was given out before a moment at which all that were placing bets have
ended. `place_bets()` locks its rounds before it takes ids, one by one, which makes them seen. A round that grew large
unseen is read beside the ticks after its lock.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import structlog

from keno.fairness import leaves
from keno.fairness.growing_root import GrowingRoot
from keno.infra.postgres import Connection
from keno.infra.transient import is_transient
from keno.rounds import store

log = structlog.get_logger()

LARGE_BETS = 5_000
"""Rounds of more bets are large: so many take some 50 ms to read."""
_CHUNK_BETS = 20_000
_LOOK_S = 0.25
"""How often it is looked for bets while no round is followed."""
_LOOK_LARGE = 4
"""Rounds that became large are looked for when this many times as many bets have come as make one large."""
_PASS_S = 0.05
"""Between two readings of the rounds that are followed: what came since then is what a lock waits for."""
_ENDING_POLL_S = 0.005
_ENDING_POLLS_MAX = 200


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of a round's bets, of which the lock knows the root."""

    root: bytes
    bets_count: int


@dataclass(slots=True)
class _Growing:
    """The tree of a round as far as it has been read. Once `locked`, it is the tick's to complete."""

    root: GrowingRoot = field(default_factory=GrowingRoot)
    bets_count: int = 0
    last_bet_id: int = 0
    locked: bool = False

    def add(self, hashes: bytes, bets_count: int, last_bet_id: int) -> None:
        """Takes the next bets."""
        self.root.add(hashes)
        self.bets_count += bets_count
        self.last_bet_id = last_bet_id

    def tree(self) -> Tree:
        """The tree so far."""
        return Tree(self.root.root(), self.bets_count)


class LockTrees:
    """Of the rounds of a shard. `privacy_key` salts the leaves; beside the ticks it reads on connections of `pool`."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes, large_bets: int = LARGE_BETS) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._large_bets = large_bets
        self._growing: dict[int, _Growing] = {}
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._look_at = 0.0
        self._looked_to = 0

    async def of_locked(self, conn: Connection, round_ids: Sequence[int]) -> dict[int, Tree]:
        """The trees of locked rounds, but of those with much left to be read, which is begun beside."""
        trees = {}
        for round_id, reading in list(self._reading.items()):
            if reading.done():
                del self._reading[round_id]
                failure = reading.exception()
                # It is begun again, after the pause that the scheduler's worker makes.
                if failure is not None and not is_transient(failure):
                    raise failure
        waiting = [round_id for round_id in round_ids if round_id not in self._reading]
        begun = [round_id for round_id in waiting if round_id in self._growing]
        for round_id in begun:
            growing = self._growing[round_id]
            growing.locked = True
            (read,) = await store.unsalted_leaves(conn, [round_id], growing.last_bet_id, self._large_bets + 1)
            if read.bets_count > self._large_bets:
                self._read_beside(round_id, growing)
                continue
            if read.last_bet_id is not None:
                growing.add(self._leaf_hashes(read.unsalted), read.bets_count, read.last_bet_id)
            trees[round_id] = growing.tree()
        small = [round_id for round_id in waiting if round_id not in self._growing]
        for read in await store.unsalted_leaves(conn, small, 0, self._large_bets + 1) if small else []:
            if read.bets_count > self._large_bets:
                self._growing[read.round_id] = _Growing(locked=True)
                self._read_beside(read.round_id, self._growing[read.round_id])
            else:
                salted = leaves.salted(self._privacy_key, read.unsalted)
                trees[read.round_id] = Tree(leaves.bets_root(salted), read.bets_count)
        return trees

    @property
    def followed(self) -> dict[int, int]:
        """How many bets of each round that is followed have been read."""
        return {round_id: growing.bets_count for round_id, growing in self._growing.items()}

    def forget(self, round_id: int) -> None:
        """For a round that is sealed."""
        self._growing.pop(round_id, None)

    def follow(self, shard: int) -> None:
        """Sees to it that large open rounds of the shard are followed; to be called with every tick."""
        now = asyncio.get_running_loop().time()
        if self._following is not None and self._following.done():
            failure = self._following.exception()
            if failure is not None:
                # A lock then takes longer, and nothing else: it reads what has not been.
                log.warning("trees.not_followed", shard=shard, reason=repr(failure))
            self._following = None
        if self._following is None and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._following = asyncio.create_task(self._follow(shard), name=f"trees of shard {shard}")

    async def close(self) -> None:
        """Stops reading; whoever leads next begins again."""
        tasks = [*self._reading.values(), *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._reading.clear()
        self._growing.clear()
        self._following = None

    async def _follow(self, shard: int) -> None:
        """Reads what comes until no round is followed."""
        while True:
            async with self._pool.acquire() as conn:
                horizon = await store.last_bet_id(conn)
                if horizon - self._looked_to >= _LOOK_LARGE * self._large_bets:
                    self._looked_to = horizon
                    for round_id in await store.large_open_rounds(conn, shard, self._large_bets):
                        self._growing.setdefault(round_id, _Growing())
                open_ids = [round_id for round_id, growing in self._growing.items() if not growing.locked]
                if not open_ids:
                    return
                settled = await _ended(conn, open_ids)
            for round_id in open_ids if settled else []:
                await self._read(round_id, self._growing[round_id], horizon)
            await asyncio.sleep(_PASS_S)

    async def _read(self, round_id: int, growing: _Growing, horizon: int) -> None:
        """Reads the bets of an open round whose ids are at most the horizon, until it is locked."""
        while not growing.locked:
            async with self._pool.acquire() as conn:
                (read,) = await store.unsalted_leaves(conn, [round_id], growing.last_bet_id, _CHUNK_BETS)
            unsalted, last_bet_id = leaves.up_to(read.unsalted, horizon)
            if last_bet_id is None:
                return
            hashes = await asyncio.to_thread(self._leaf_hashes, unsalted)
            if not growing.locked:
                growing.add(hashes, len(unsalted) // leaves.UNSALTED_BYTES, last_bet_id)

    def _read_beside(self, round_id: int, growing: _Growing) -> None:
        self._reading[round_id] = asyncio.create_task(self._read_locked(round_id, growing), name=f"round {round_id}")

    async def _read_locked(self, round_id: int, growing: _Growing) -> None:
        """Reads all of a locked round: the next tick finds nothing left to read."""
        while True:
            async with self._pool.acquire() as conn:
                (read,) = await store.unsalted_leaves(conn, [round_id], growing.last_bet_id, _CHUNK_BETS)
            if read.last_bet_id is None:
                return
            hashes = await asyncio.to_thread(self._leaf_hashes, read.unsalted)
            growing.add(hashes, read.bets_count, read.last_bet_id)

    def _leaf_hashes(self, unsalted: bytes) -> bytes:
        return leaves.packed_hashes(leaves.salted(self._privacy_key, unsalted))


async def _ended(conn: Connection, round_ids: Sequence[int]) -> bool:
    """Waits until all that are placing bets on the rounds at this moment have ended; False where one takes too long."""
    placing = await store.transactions_placing(conn, round_ids)
    for _ in range(_ENDING_POLLS_MAX):
        if not placing:
            return True
        await asyncio.sleep(_ENDING_POLL_S)
        placing &= await store.transactions_placing(conn, round_ids)
    return False
