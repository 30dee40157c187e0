"""The trees of rounds' bets whose roots go into locks: read when the round is locked, or while bets still come.

A small round is read whole by the tick that seals it. A large one is followed while it is open, so that its lock waits
for its last bets only. Bets stand in the tree by ascending id, and ids are not committed in their order: followed are
the bets below a horizon, the latest id that was given out before a moment at which all that were placing bets have
ended. `place_bets()` locks its rounds before it takes ids, one by one, which makes them seen. A round that grew large
unseen is read beside the ticks after its lock.

What was read counts for nothing on another server, nor after following failed: it is read again. That the server is the
same is known by when it was started; a lock's count is not compared with the table.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import asyncpg
import structlog

from keno.fairness import leaves
from keno.fairness.growing_root import GrowingRoot
from keno.infra.postgres import Connection
from keno.infra.transient import is_transient
from keno.rounds import store

log = structlog.get_logger()
_T = TypeVar("_T")
_R = TypeVar("_R")

LARGE_BETS = 5_000
"""Rounds of more bets are large: so many take some 50 ms to read."""
_CHUNK_BETS = 20_000
_FIRST_BETS = (20, 1_000)
"""So many bets of a small round are read at first, next to others; those of one that has more are read with fewer
others: a statement reads at most a chunk of bets, however many small rounds are locked at once."""
_TICK_S = 0.5
"""After so long a tick seals what it has read, and leaves the others to the next."""
_THREAD_BETS = 1_000
"""More bets than that, some 2 ms, are hashed beside the event loop."""
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


@dataclass(slots=True)
class _Trees:
    """What a tick has read, by round id, and whether it left something to the next."""

    until_s: float
    of_rounds: dict[int, Tree] = field(default_factory=dict)
    is_cut_short: bool = False

    def have_to_do(self) -> bool:
        """Whether the time to read is over, to be asked before reading more; not while there is nothing to seal."""
        if self.of_rounds and asyncio.get_running_loop().time() >= self.until_s:
            self.is_cut_short = True
        return self.is_cut_short


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
        self._counts: dict[int, int] = {}
        self._server: datetime | None = None
        self.is_behind = False

    async def of_locked(self, conn: Connection, round_ids: Sequence[int]) -> dict[int, Tree]:
        """The trees of locked rounds, but of those with much left to be read, which is begun beside, and of those that
        there was no time for: then `is_behind` is set.
        """
        for round_id, reading in list(self._reading.items()):
            if reading.done():
                del self._reading[round_id]
                failure = reading.exception()
                # It is begun again, after the pause that the scheduler's worker makes.
                if failure is not None and not is_transient(failure):
                    raise failure
        if self._growing:
            self._keep_to((await store.horizon(conn)).server)
        waiting = [round_id for round_id in round_ids if round_id not in self._reading]
        begun = {round_id: self._growing[round_id] for round_id in waiting if round_id in self._growing}
        for growing in begun.values():
            growing.locked = True
        trees = _Trees(asyncio.get_running_loop().time() + _TICK_S)
        for round_id, growing in begun.items():
            if trees.have_to_do():
                break
            await self._complete(conn, round_id, growing, trees)
        small = [round_id for round_id in waiting if round_id not in begun]
        await self._read_small(conn, small, [*_FIRST_BETS, self._large_bets], trees)
        self.is_behind = trees.is_cut_short
        return trees.of_rounds

    async def _complete(self, conn: Connection, round_id: int, growing: _Growing, trees: _Trees) -> None:
        """The last bets of a locked round of which others have been read; read beside where they are many."""
        (read,) = await store.unsalted_leaves(conn, [round_id], growing.last_bet_id, self._large_bets + 1)
        if read.bets_count > self._large_bets:
            self._read_beside(round_id, growing)
            return
        if read.last_bet_id is not None:
            hashes = await _hashed(read.bets_count, self._leaf_hashes, read.unsalted)
            growing.add(hashes, read.bets_count, read.last_bet_id)
        trees.of_rounds[round_id] = growing.tree()

    async def _read_small(
        self, conn: Connection, round_ids: Sequence[int], bets_max: Sequence[int], trees: _Trees
    ) -> None:
        """Reads locked rounds with at most so many bets, and those with more by the next bound; the last are large."""
        bound = min(bets_max[0], self._large_bets)
        rounds_max = max(1, _CHUNK_BETS // (bound + 1))
        for at in range(0, len(round_ids), rounds_max):
            if trees.have_to_do():
                return
            reads = await store.unsalted_leaves(conn, round_ids[at : at + rounds_max], 0, bound + 1)
            whole = [read for read in reads if read.bets_count <= bound]
            trees.of_rounds |= await _hashed(sum(read.bets_count for read in whole), self._trees_of, whole)
            read_whole = {read.round_id for read in whole}
            larger = [each for each in round_ids[at : at + rounds_max] if each not in read_whole]
            if bound < self._large_bets:
                await self._read_small(conn, larger, bets_max[1:], trees)
                continue
            for round_id in larger:
                self._growing[round_id] = _Growing(locked=True)
                self._read_beside(round_id, self._growing[round_id])

    def _trees_of(self, reads: Sequence[store.Leaves]) -> dict[int, Tree]:
        return {
            read.round_id: Tree(leaves.bets_root(leaves.salted(self._privacy_key, read.unsalted)), read.bets_count)
            for read in reads
        }

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
        try:
            while await self._pass(shard):  # noqa: ASYNC110 - a pass is work, not a question
                await asyncio.sleep(_PASS_S)
        except BaseException:
            self._start_over()
            raise

    async def _pass(self, shard: int) -> bool:
        """Reads what has come, all on one connection: a horizon says nothing of another server. False: nothing is
        followed.
        """
        async with self._pool.acquire() as conn:
            horizon = await store.horizon(conn)
            self._keep_to(horizon.server)
            if horizon.bet_id < self._looked_to:
                self._start_over()
            if horizon.bet_id - self._looked_to >= _LOOK_LARGE * self._large_bets:
                await self._look(conn, shard, horizon.bet_id)
            followed = await self._unsealed(conn)
            if followed and await _ended(conn, list(followed)):
                for round_id, growing in followed.items():
                    await self._read(conn, round_id, growing, horizon.bet_id)
        return bool(followed)

    def _keep_to(self, server: datetime) -> None:
        """Forgets what was read of another server, which may have given the same ids to other bets."""
        if self._server not in (None, server):
            for reading in self._reading.values():
                reading.cancel()
            self._reading.clear()
            self._growing.clear()
            self._start_over()
        self._server = server

    def _start_over(self) -> None:
        """Forgets what was read of open rounds."""
        self._growing = {round_id: growing for round_id, growing in self._growing.items() if growing.locked}
        self._counts = {}
        self._looked_to = 0

    async def _look(self, conn: Connection, shard: int, horizon: int) -> None:
        """Adds the rounds that became large to those followed. Only the first look counts what came long ago."""
        came = await store.bets_of_open_rounds(conn, shard, self._looked_to, horizon, self._large_bets + 1)
        self._counts = {round_id: self._counts.get(round_id, 0) + count for round_id, count in came.items()}
        self._looked_to = horizon
        for round_id, count in self._counts.items():
            if count > self._large_bets:
                self._growing.setdefault(round_id, _Growing())

    async def _unsealed(self, conn: Connection) -> dict[int, _Growing]:
        """What is followed, without the rounds that were sealed meanwhile: by a tick during the look for them."""
        ids = [round_id for round_id, growing in self._growing.items() if not growing.locked]
        for round_id in await store.sealed_among(conn, ids) if ids else []:
            self.forget(round_id)
        return {round_id: growing for round_id, growing in self._growing.items() if not growing.locked}

    async def _read(self, conn: Connection, round_id: int, growing: _Growing, horizon: int) -> None:
        """Reads the bets of an open round whose ids are at most the horizon, until it is locked."""
        while not growing.locked:
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


async def _hashed(bets_count: int, hash_all: Callable[[_T], _R], unhashed: _T) -> _R:
    return await asyncio.to_thread(hash_all, unhashed) if bets_count > _THREAD_BETS else hash_all(unhashed)


async def _ended(conn: Connection, round_ids: Sequence[int]) -> bool:
    """Waits until all that are placing bets on the rounds at this moment have ended; False where one takes too long."""
    placing = await store.transactions_placing(conn, round_ids)
    for _ in range(_ENDING_POLLS_MAX):
        if not placing:
            return True
        await asyncio.sleep(_ENDING_POLL_S)
        placing &= await store.transactions_placing(conn, round_ids)
    return False
