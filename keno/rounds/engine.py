"""The engine: moves the due rounds of a shard through their phases, for whoever holds the shard's lease.

A tick is the same few statements however many rooms are due. Nothing is remembered between ticks: a successor reads
from the database what is open past its lock, locked and not sealed, sealed and not drawn, and goes on from there. It
draws no randomness: seeds come from the vault, committed to before the round opened. Who leads, and until when, is the
scheduler's business.
"""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from keno.errors import KenoError
from keno.fairness import evidence, keno1, leaves
from keno.fairness import store as fairness_store
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.rounds import store

_TICK_S = 0.05


class EngineError(KenoError):
    """What the database holds contradicts itself: the round is not moved."""


class LeaseLostError(Exception):
    """Another scheduler leads the shard now: nothing was moved. For the scheduler, who steps down."""


class Engine:
    """Moves rounds. `privacy_key` salts the leaves of bets."""

    def __init__(self, privacy_key: bytes) -> None:
        self._privacy_key = privacy_key

    async def tick(self, conn: Connection, shard: int, lease_epoch: int) -> float:
        """Moves what is due; returns the seconds until something will be due again.

        Raises LeaseLostError where `lease_epoch` is not the shard's latest.
        """
        if _still_leading(await store.lock_due_rounds(conn, shard, lease_epoch)):
            failpoints.reach("rounds.locked")
        _still_leading(await store.open_due_rounds(conn, shard, lease_epoch))
        await self._seal(conn, shard, lease_epoch)
        await self._draw(conn, shard, lease_epoch)
        return _TICK_S

    async def _seal(self, conn: Connection, shard: int, lease_epoch: int) -> None:
        unsealed = await store.unsealed_rounds(conn, shard)
        if not unsealed:
            return
        bet_leaves = {}
        for row in unsealed:
            bets = await fairness_store.round_bets(conn, row.round_id)
            bet_leaves[row.round_id] = await asyncio.to_thread(evidence.bet_leaves, self._privacy_key, bets)
        sealed = chain_locks(unsealed, bet_leaves)
        _still_leading(await store.seal_rounds(conn, shard, lease_epoch, sealed))
        failpoints.reach("rounds.sealed")

    async def _draw(self, conn: Connection, shard: int, lease_epoch: int) -> None:
        drawn = []
        refusals: list[EngineError] = []
        for row in await store.drawable_rounds(conn, shard):
            try:
                drawn.append(_drawn(row))
            except EngineError as refusal:
                refusals.append(refusal)
        if drawn:
            _still_leading(await store.draw_rounds(conn, shard, lease_epoch, drawn))
            failpoints.reach("rounds.drawn")
        # One round that was tampered with does not hold up the others, and is not passed over in silence.
        if refusals:
            raise refusals[0]


def chain_locks(
    unsealed: Sequence[store.UnsealedRound], bet_leaves: Mapping[int, bytes]
) -> list[tuple[int, keno1.Lock]]:
    """The locks of rounds given by room and number, each chained to the lock before it in its room.

    `bet_leaves` are the leaves (138 bytes each) by round id. Profile S: no beacon round.
    """
    latest: dict[UUID, bytes] = {}
    sealed = []
    for row in unsealed:
        of_round = bet_leaves[row.round_id]
        lock = keno1.Lock(
            room=row.room_id.bytes,
            number=row.number,
            commit=row.commit,
            rules=row.rules,
            bets_root=leaves.bets_root(of_round),
            bets_count=len(of_round) // leaves.LEAF_BYTES,
            lock_ms=row.lock_ms,
            beacon_round=0,
            prev_lock=row.prev_lock or latest.get(row.room_id, keno1.ZERO32),
        )
        latest[row.room_id] = lock.hash
        sealed.append((row.round_id, lock))
    return sealed


def _drawn(row: store.DrawableRound) -> tuple[int, bytes, bytes, bytes, bytes]:
    if row.lock.hash != row.lock_hash or row.released_lock_hash != row.lock_hash:
        raise EngineError(f"round {row.round_id}: its seed was released against another lock")
    if keno1.commit(row.lock.room, row.lock.number, row.seed) != row.lock.commit:
        raise EngineError(f"round {row.round_id}: its seed does not open its commitment")
    draw = keno1.draw(row.profile, row.lock, row.seed, b"")
    return row.round_id, row.seed, b"", draw.numbers, draw.result


def _still_leading(moved: int | None) -> int:
    if moved is None:
        raise LeaseLostError
    return moved
