"""The scheduler: moves the rounds of a shard of rooms through their phases while it holds the shard's lease.

A tick is the same few statements however many rooms are due. Nothing is remembered between ticks but the lease: a
successor reads from the database what is open past its lock, locked and not sealed, sealed and not drawn, and goes on
from there. It draws no randomness: seeds come from the vault, committed to before the round opened.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import structlog

from keno.errors import KenoError
from keno.fairness import evidence, keno1, leaves
from keno.fairness import store as fairness_store
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.rounds import store

log = structlog.get_logger()

LEASE_TTL_S = 3.0
_TICK_S = 0.05


class SchedulerError(KenoError):
    """What the database holds contradicts itself: the round is not moved."""


class LeaseLostError(Exception):
    """Another scheduler leads the shard now. Never leaves this module."""


class Scheduler:
    """One candidate for the leadership of `shard`. `privacy_key` salts the leaves of bets."""

    def __init__(self, pool: asyncpg.Pool, shard: int, holder: str, privacy_key: bytes) -> None:
        self._pool = pool
        self._shard = shard
        self._holder = holder
        self._privacy_key = privacy_key
        self._lease_epoch: int | None = None
        self._beat_due_s = 0.0

    @property
    def leads(self) -> bool:
        """Whether this scheduler believes that it leads its shard. The database knows."""
        return self._lease_epoch is not None

    async def step(self) -> float:
        """One tick; returns the seconds to wait before the next."""
        async with self._pool.acquire() as conn:
            if self._lease_epoch is None and not await self._take_lease(conn):
                return LEASE_TTL_S / 3
            try:
                await self._tick(conn)
            except LeaseLostError:
                log.warning("lease.lost", shard=self._shard, lease_epoch=self._lease_epoch)
                self._lease_epoch = None
        return _TICK_S

    async def close(self) -> None:
        """Gives the lease up, so that a successor need not wait for it to run out."""
        if self._lease_epoch is not None:
            await store.give_up_lease(self._pool, self._shard, self._lease_epoch)
            self._lease_epoch = None

    async def _take_lease(self, conn: Connection) -> bool:
        self._lease_epoch = await store.take_lease(conn, self._shard, self._holder, LEASE_TTL_S)
        if self._lease_epoch is None:
            return False
        self._beat_due_s = time.monotonic() + LEASE_TTL_S / 3
        log.info("lease.taken", shard=self._shard, lease_epoch=self._lease_epoch)
        return True

    async def _tick(self, conn: Connection) -> None:
        epoch = self._lease_epoch
        assert epoch is not None, "only a leader ticks"  # noqa: S101
        if time.monotonic() >= self._beat_due_s:
            if not await store.beat_lease(conn, self._shard, epoch):
                raise LeaseLostError
            self._beat_due_s = time.monotonic() + LEASE_TTL_S / 3
        if _still_leading(await store.lock_due_rounds(conn, self._shard, epoch)):
            failpoints.reach("rounds.locked")
        _still_leading(await store.open_due_rounds(conn, self._shard, epoch))
        await self._seal(conn, epoch)
        await self._draw(conn, epoch)

    async def _seal(self, conn: Connection, epoch: int) -> None:
        unsealed = await store.unsealed_rounds(conn, self._shard)
        if not unsealed:
            return
        bet_leaves = {}
        for row in unsealed:
            bets = await fairness_store.round_bets(conn, row.round_id)
            bet_leaves[row.round_id] = await asyncio.to_thread(evidence.bet_leaves, self._privacy_key, bets)
        sealed = chain_locks(unsealed, bet_leaves)
        _still_leading(await store.seal_rounds(conn, self._shard, epoch, sealed))
        failpoints.reach("rounds.sealed")

    async def _draw(self, conn: Connection, epoch: int) -> None:
        drawn = []
        refusals: list[SchedulerError] = []
        for row in await store.drawable_rounds(conn, self._shard):
            try:
                drawn.append(_drawn(row))
            except SchedulerError as refusal:
                refusals.append(refusal)
        if drawn:
            _still_leading(await store.draw_rounds(conn, self._shard, epoch, drawn))
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
        raise SchedulerError(f"round {row.round_id}: its seed was released against another lock")
    if keno1.commit(row.lock.room, row.lock.number, row.seed) != row.lock.commit:
        raise SchedulerError(f"round {row.round_id}: its seed does not open its commitment")
    draw = keno1.draw(row.profile, row.lock, row.seed, b"")
    return row.round_id, row.seed, b"", draw.numbers, draw.result


def _still_leading(moved: int | None) -> int:
    if moved is None:
        raise LeaseLostError
    return moved
