"""What anyone may read of anchors: which roots of the log are on a chain. Nothing is told before it is confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from keno.fairness.anchor import store
from keno.fairness.anchor.store import ConfirmedAnchor
from keno.fairness.log.sequencer import consistency_path
from keno.fairness.log.service import inclusion_paths


@dataclass(frozen=True, slots=True)
class CoveringAnchor:
    """An anchor, and the proof that the log of `size` entries is the beginning of what it is over."""

    size: int
    anchor: ConfirmedAnchor
    path: list[bytes]


class AnchorService:
    """Reads anchors. It needs no node, and no configuration of one."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def newest(self) -> ConfirmedAnchor | None:
        """The newest anchor; None before the first."""
        return await store.newest(self._pool)

    async def covering(self, size: int) -> CoveringAnchor | None:
        """The first anchor over `size` entries or more; None where none is yet."""
        found = await store.covering(self._pool, size)
        if found is None:
            return None
        return CoveringAnchor(size, found, await consistency_path(self._pool, size, found.size))


async def anchored_paths(
    pool: asyncpg.Pool, indexes: Sequence[int]
) -> tuple[ConfirmedAnchor, list[list[bytes]]] | None:
    """The first anchor that covers all these entries, and the path of each to its root; None where none does yet."""
    found = await store.covering(pool, max(indexes) + 1)
    return None if found is None else (found, await inclusion_paths(pool, indexes, found.size))
