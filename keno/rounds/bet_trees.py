"""Where a lock has a bet: the trees of locked rounds' bets, read again from the database for those who ask.

Not here: the roots of rounds that are being locked (lock_trees.py).
"""

import asyncio
from collections import OrderedDict
from typing import Final, NamedTuple

import asyncpg

from keno.fairness import leaves
from keno.rounds import store

_CHUNK_BETS: Final = 20_000
LEAVES_KEPT_MAX: Final = 1_000_000
"""Leaves of all kept trees together, 64 bytes each; a single round may have more."""
_READING_MAX: Final = 2


class Inclusion(NamedTuple):
    """Which of a round's bets one is, its path (nearest hash first), and the root and size of the tree."""

    leaf_index: int
    path: list[bytes]
    root: bytes
    size: int


async def read_leaf_hashes(pool: asyncpg.Pool, privacy_key: bytes, round_id: int) -> bytes:
    """The leaf hashes of a round's bets by ascending id, 32 bytes each; a connection is held for a chunk at a time."""
    hashes: list[bytes] = []
    last_bet_id = 0
    while True:
        async with pool.acquire() as conn:
            (read,) = await store.unsalted_leaves(conn, [round_id], last_bet_id, _CHUNK_BETS)
        if read.last_bet_id is None:
            return b"".join(hashes)
        hashes.append(await asyncio.to_thread(_hashes, privacy_key, read.unsalted))
        last_bet_id = read.last_bet_id


def _hashes(privacy_key: bytes, unsalted: bytes) -> bytes:
    return leaves.packed_hashes(leaves.salted(privacy_key, unsalted))


class BetTrees:
    """The trees that were asked for last, of rounds whose bets no longer change. `privacy_key` salts the leaves."""

    def __init__(self, pool: asyncpg.Pool, privacy_key: bytes, leaves_kept_max: int = LEAVES_KEPT_MAX) -> None:
        self._pool = pool
        self._privacy_key = privacy_key
        self._leaves_kept_max = leaves_kept_max
        self._kept: OrderedDict[int, leaves.Tree] = OrderedDict()
        self._reading: dict[int, asyncio.Task[leaves.Tree]] = {}
        self._turns = asyncio.Semaphore(_READING_MAX)

    async def inclusion(self, round_id: int, bets_root: bytes, leaf_hash: bytes) -> Inclusion | None:
        """Where a bet stands in a round that is locked with this root; None where its bets have left the database."""
        tree = self._kept.get(round_id)
        if tree is None:
            tree = await self._read_once(round_id)
        index = tree.index_of(leaf_hash)
        if index is None:
            return None
        assert tree.root == bets_root, f"the bets of round {round_id} are not those of its lock"  # noqa: S101
        self._keep(round_id, tree)
        return Inclusion(index, tree.path(index), tree.root, len(tree))

    def _keep(self, round_id: int, tree: leaves.Tree) -> None:
        self._kept[round_id] = tree
        self._kept.move_to_end(round_id)
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._leaves_kept_max:
            self._kept.popitem(last=False)

    async def close(self) -> None:
        """Waits for what is being read."""
        while self._reading:
            await asyncio.wait(self._reading.values())

    async def _read_once(self, round_id: int) -> leaves.Tree:
        reading = self._reading.get(round_id)
        if reading is None:
            reading = self._reading[round_id] = asyncio.create_task(self._read(round_id), name=f"tree {round_id}")
        # Shielded: who goes away must not take it from those who wait with it.
        return await asyncio.shield(reading)

    async def _read(self, round_id: int) -> leaves.Tree:
        try:
            async with self._turns:
                hashes = await read_leaf_hashes(self._pool, self._privacy_key, round_id)
                return await asyncio.to_thread(leaves.Tree, hashes)
        finally:
            del self._reading[round_id]
