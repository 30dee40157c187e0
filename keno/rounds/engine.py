"""The engine: moves the due rounds of a shard through their phases, for whoever holds the shard's lease.

A tick is the same few statements however many rooms are due, locks first. Rounds without bets are sealed as they are
locked. Nothing that matters is remembered between ticks: a successor reads from the database what is open past its
lock, locked and not sealed, sealed and not drawn, and goes on from there. It draws no randomness: seeds come from the
vault, committed to before the round opened. Who leads, and until when, is the scheduler's business.

A room's slot comes on sale when its round before is locked: those behind the rounds just locked are opened together,
and all rooms are looked at where one of them did not follow, and a few times a second.

The bets of a large round are read beside the ticks, on another connection (`keno.rounds.lock_trees`).
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import structlog

from keno.errors import KenoError
from keno.fairness import keno1
from keno.fairness.beacons.rounds import RoundBeacons
from keno.infra import failpoints
from keno.infra.postgres import Connection
from keno.infra.refusals import Refusals
from keno.rounds import metrics, store
from keno.rounds.lock_trees import LARGE_BETS, LockTrees, Tree

_ROUNDS_MAX = 1_000
"""The most rounds of a statement, so that none of them holds up the locks of others for long."""
_NAMED_MAX = 20
"""The most rooms that the log names at once."""
_REST_MIN_S = 0.005
_REST_MAX_S = 0.25
"""After which rooms are looked at in any case: a new one, or one whose commitments have come."""
_OVERDUE_S = 0.02
_OVERDUE_MAX_S = 0.05
"""A draw that is overdue after a tick waits for somebody else: the vault, the bets of a large round, or a beacon, which
takes seconds. The longer it waited, the less often it is looked for, up to this."""

_log = structlog.get_logger("keno.engine")


class EngineError(KenoError):
    """What the database holds contradicts itself: the round is not drawn."""


class LeaseLostError(Exception):
    """Another scheduler leads the shard now: nothing was moved. For the scheduler, who steps down."""


class Engine:
    """Moves rounds. `privacy_key` salts the leaves of bets; large rounds are read on connections of `pool`."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        privacy_key: bytes,
        *,
        large_bets: int = LARGE_BETS,
        beacons: RoundBeacons | None = None,
        look_s: float = _REST_MAX_S,
    ) -> None:
        """Rounds of more than `large_bets` bets are large. All rooms are looked at every `look_s` seconds."""
        self._beacons = RoundBeacons() if beacons is None else beacons
        self._trees = LockTrees(pool, privacy_key, large_bets)
        self._look_s = look_s
        self._look_at_s: dict[int, float] = {}
        self._refused: defaultdict[int, Refusals] = defaultdict(lambda: Refusals("round", metrics.REFUSED))
        """By shard."""
        self._stopped: defaultdict[int, int] = defaultdict(int)
        """How many rooms of a shard sell nothing since a round of theirs is not drawn."""

    async def tick(self, conn: Connection, shard: int, lease_epoch: int) -> float:
        """Moves what is due; returns the seconds until something will be due again.

        Raises LeaseLostError where `lease_epoch` is not the shard's latest.
        """
        locked, skipped = await self._lock_and_open(conn, shard, lease_epoch)
        sealed = await self._seal(conn, shard, lease_epoch)
        drawn = await self._draw(conn, shard, lease_epoch)
        voided = await self._void_missed(conn, shard, lease_epoch)
        lock_in_ms, draw_in_ms = await store.next_due(conn, shard)
        # Behind a full statement more may wait. Of locks and draws it is known whether they do: a wave that is just
        # full does not pay for a second tick.
        if (
            max(skipped, sealed, voided) >= _ROUNDS_MAX
            or (locked >= _ROUNDS_MAX and _is_due(lock_in_ms))
            or (drawn >= _ROUNDS_MAX and _is_due(draw_in_ms))
        ):
            return 0
        self._trees.follow(shard)
        return _rest_s(self._look_at_s[shard] - time.monotonic(), lock_in_ms, draw_in_ms)

    async def close(self) -> None:
        """Stops reading large rounds; whoever leads next begins again."""
        await self._trees.close()

    async def void(
        self, conn: Connection, shard: int, lease_epoch: int, voided: Sequence[tuple[int, bytes, int]]
    ) -> int:
        """Ends the sealed rounds of (round id, released seed, reason in 0..255) without a draw; returns how many."""
        count = _still_leading(await store.void_rounds(conn, shard, lease_epoch, voided))
        metrics.ROUNDS.labels("void").inc(count)
        return count

    async def _lock_and_open(self, conn: Connection, shard: int, lease_epoch: int) -> tuple[int, int]:
        """How many rounds were locked, and how many slots skipped."""
        # Where this fails half way, the next tick looks at all rooms.
        look_at_s = self._look_at_s.pop(shard, 0)
        locked = await store.lock_due_rounds(conn, shard, lease_epoch, _ROUNDS_MAX)
        if locked is None:
            raise LeaseLostError
        if locked.late_ms:
            failpoints.reach("rounds.locked")
        metrics.LOCK_LATE.observe_ms(locked.late_ms)
        metrics.ROUNDS.labels("locked").inc(len(locked.late_ms))
        opened_late_ms = (
            await store.open_next_rounds(conn, shard, lease_epoch, locked.round_ids) if locked.round_ids else []
        )
        if opened_late_ms is None:
            raise LeaseLostError
        _count_opened(opened_late_ms)
        if len(opened_late_ms) == len(locked.round_ids) and time.monotonic() < look_at_s:
            self._look_at_s[shard] = look_at_s
            return len(locked.round_ids), 0
        opened = await store.open_due_rounds(conn, shard, lease_epoch)
        if opened is None:
            raise LeaseLostError
        is_full = opened.skipped_count >= _ROUNDS_MAX  # as many as the statement skips at most
        self._look_at_s[shard] = 0 if is_full else time.monotonic() + self._look_s
        _count_opened(opened.late_ms)
        metrics.ROUNDS.labels("skipped").inc(opened.skipped_count)
        metrics.STOPPED.labels(shard).set(opened.stopped_count)
        before, self._stopped[shard] = self._stopped[shard], opened.stopped_count
        if opened.stopped_count != before:
            await self._tell_stopped(conn, shard, before)
        return len(locked.round_ids), opened.skipped_count

    async def _tell_stopped(self, conn: Connection, shard: int, before: int) -> None:
        count = self._stopped[shard]
        rooms = await store.undrawn_rooms(conn, shard, _NAMED_MAX) if count else []
        (_log.warning if count > before else _log.info)("rooms.stopped", shard=shard, count=count, rooms=rooms)

    async def _seal(self, conn: Connection, shard: int, lease_epoch: int) -> int:
        unsealed = await store.unsealed_rounds(conn, shard, _ROUNDS_MAX)
        if not unsealed:
            return 0
        trees = await self._trees.of_locked(conn, [row.round_id for row in unsealed])
        named = await self._beacons.named(conn, [(row.round_id, row.rules, row.lock_ms) for row in unsealed])
        sealed = chain_locks(unsealed, trees, named)
        if not sealed:
            return 0
        moved = _still_leading(await store.seal_rounds(conn, shard, lease_epoch, sealed))
        failpoints.reach("rounds.sealed")
        for round_id, _ in sealed:
            self._trees.forget(round_id)
        return max(moved, _ROUNDS_MAX if self._trees.is_behind else 0)

    async def _draw(self, conn: Connection, shard: int, lease_epoch: int) -> int:
        drawn = []
        refused: dict[int, Exception] = {}
        # Those that were refused stay the longest due: they must not fill the statement.
        rows = await store.drawable_rounds(conn, shard, _ROUNDS_MAX + len(self._refused[shard]))
        waiting = [row.round_id for row in rows if row.lock.beacon_round]
        signatures = await self._beacons.signatures(conn, waiting)
        for row in rows:
            if row.lock.beacon_round and row.round_id not in signatures:
                continue
            terms = await self._beacons.terms(conn, row.lock.rules)
            try:
                drawn.append(_drawn(row, terms.profile, signatures.get(row.round_id, b"")))
            except EngineError as refusal:
                refused[row.round_id] = refusal
        # One round that was tampered with does not hold up the others, and is not passed over in silence.
        self._refused[shard].tell(refused)
        if drawn:
            metrics.ROUNDS.labels("drawn").inc(_still_leading(await store.draw_rounds(conn, shard, lease_epoch, drawn)))
            failpoints.reach("rounds.drawn")
        return len(drawn)

    async def _void_missed(self, conn: Connection, shard: int, lease_epoch: int) -> int:
        voided = await self._beacons.given_up(conn, shard, lease_epoch, _ROUNDS_MAX)
        if voided is None:
            raise LeaseLostError
        return await self.void(conn, shard, lease_epoch, voided) if voided else 0


def _count_opened(late_ms: Sequence[int]) -> None:
    metrics.OPEN_LATE.observe_ms(late_ms)
    metrics.ROUNDS.labels("opened").inc(len(late_ms))


def _is_due(in_ms: int | None) -> bool:
    return in_ms is not None and in_ms <= 0


def _rest_s(look_in_s: float, lock_in_ms: int | None, draw_in_ms: int | None) -> float:
    rest_s = min(look_in_s, _REST_MAX_S)
    if lock_in_ms is not None:
        rest_s = min(rest_s, lock_in_ms / 1000)
    if draw_in_ms is not None:
        overdue_s = min(max(-draw_in_ms / 10_000, _OVERDUE_S), _OVERDUE_MAX_S)
        rest_s = min(rest_s, draw_in_ms / 1000 if draw_in_ms > 0 else overdue_s)
    return max(rest_s, _REST_MIN_S)


def chain_locks(
    unsealed: Sequence[store.UnsealedRound], trees: Mapping[int, Tree], beacon_rounds: Mapping[int, int]
) -> list[tuple[int, keno1.Lock]]:
    """The locks of rounds given by room and number, each chained to the lock before it in its room.

    `trees` are by round id; without its tree a round has no lock, nor has any after it in its room. `beacon_rounds`
    are by round id too, 0 in profile S.
    """
    latest: dict[UUID, bytes] = {}
    waiting: set[UUID] = set()
    sealed = []
    for row in unsealed:
        tree = trees.get(row.round_id)
        if tree is None or row.room_id in waiting:
            waiting.add(row.room_id)
            continue
        lock = keno1.Lock(
            room=row.room_id.bytes,
            number=row.number,
            commit=row.commit,
            rules=row.rules,
            bets_root=tree.root,
            bets_count=tree.bets_count,
            lock_ms=row.lock_ms,
            beacon_round=beacon_rounds[row.round_id],
            prev_lock=row.prev_lock or latest.get(row.room_id, keno1.ZERO32),
        )
        latest[row.room_id] = lock.hash
        sealed.append((row.round_id, lock))
    return sealed


def _drawn(
    row: store.DrawableRound, profile: keno1.Profile, beacon_sig: bytes
) -> tuple[int, bytes, bytes, bytes, bytes]:
    if not row.lock.hash == row.lock_hash == row.released_lock_hash:
        raise EngineError(f"round {row.round_id}: its seed was released against another lock")
    if not row.lock.opens_with(row.seed):
        raise EngineError(f"round {row.round_id}: its seed does not open its commitment")
    draw = keno1.draw(profile, row.lock, row.seed, beacon_sig)
    return row.round_id, row.seed, beacon_sig, draw.numbers, draw.result


def _still_leading(moved: int | None) -> int:
    if moved is None:
        raise LeaseLostError
    return moved
