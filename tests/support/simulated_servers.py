"""A simulated Redis and PostgreSQL as the real Leadership sees them: votes, and the lease rows with their fence.

Each can be away, and a request or its answer takes its time. A statement that has reached PostgreSQL runs to its end
there, whatever becomes of who sent it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keno.rounds.engine import LeaseLostError
from keno.rounds.lease import TTL_S, Seen, Sharer, Vote
from keno.rounds.store import RollCall
from support.simulated_rounds import BrokenError, Rounds, Rules
from support.simulated_time import Clock, Process, Reply, Rest

REDIS_TIMEOUT_S = 0.3
SOON_S = (0.001, 0.004)
SLOW_S = (0.5, 1.9)
"""A statement or session that stalls, until the database ends it."""


class Redis:
    """Keys that die, unless its clock steps."""

    def __init__(self, clock: Clock, taste: random.Random) -> None:
        self._clock, self._taste = clock, taste
        self.away = False
        self.votes: dict[int, tuple[str, float]] = {}

    def election(self) -> "SimulatedElection":
        return SimulatedElection(self, self._clock, self._taste)

    def holder(self, shard: int) -> str | None:
        holder, until_s = self.votes.get(shard, ("", 0.0))
        return holder if self._clock.now_s < until_s else None


class SimulatedElection:
    """`keno.rounds.election.RedisElection`, its scripts in Python."""

    def __init__(self, redis: Redis, clock: Clock, taste: random.Random) -> None:
        self._redis, self._clock, self._taste = redis, clock, taste

    async def renew(self, shards: Sequence[int], holder: str) -> list[Vote]:
        return await self._each(shards, lambda shard: self._win(shard, holder, (None, holder)))

    async def stand(self, shards: Sequence[int], holder: str, wanted_max: int) -> list[Vote]:
        won = 0

        def try_for(shard: int) -> bool:
            nonlocal won
            taken = won < wanted_max and self._win(shard, holder, (None,))
            won += taken
            return taken

        return await self._each(shards, try_for)

    async def claim(self, shards: Sequence[int], holder: str) -> None:
        await self._each(shards, lambda shard: self._win(shard, holder, (self._redis.holder(shard),)))

    async def release(self, shards: Sequence[int], holder: str) -> None:
        def drop(shard: int) -> bool:
            return self._redis.holder(shard) == holder and bool(self._redis.votes.pop(shard))

        await self._each(shards, drop)

    def _win(self, shard: int, holder: str, over: tuple[str | None, ...]) -> bool:
        if self._redis.holder(shard) not in over:
            return False
        self._redis.votes[shard] = (holder, self._clock.now_s + TTL_S)
        return True

    async def _each(self, shards: Sequence[int], script: Callable[[int], bool]) -> list[Vote]:
        if not shards:
            return []
        await Rest(self._taste.uniform(*SOON_S))
        if self._redis.away:
            await Rest(REDIS_TIMEOUT_S)
            return [Vote.UNKNOWN] * len(shards)
        votes = [Vote.OURS if script(shard) else Vote.THEIRS for shard in shards]
        await Rest(self._taste.uniform(*SOON_S))
        return votes


@dataclass(slots=True)
class _SchedulerRow:
    since_s: float
    beat_s: float
    leaving: bool = False


class Database:
    """Leases, beats, and the rounds of each shard behind the fence. Is a `keno.rounds.leadership.Book`."""

    def __init__(self, clock: Clock, taste: random.Random, shards: dict[int, Rounds], rules: Rules) -> None:
        self._clock, self._taste, self._rules = clock, taste, rules
        self.shards = shards
        self.away = False
        self.slow = 0.0
        """How likely a statement stalls."""
        self.skipped_ms = 0
        """How far the rounds are ahead of the clock of the leases, which stands in quiet times."""
        self.leases: dict[int, tuple[int, str | None, float]] = {}
        self.takes: list[tuple[float, int, int]] = []
        """When, which shard, to which epoch."""
        self._schedulers: dict[str, _SchedulerRow] = {}
        self._sharers = dict.fromkeys(shards, 0)
        self._takers = dict.fromkeys(shards, 0)
        self._server = Process()

    @property
    def now_ms(self) -> int:
        return self.skipped_ms + round(self._clock.now_s * 1000)

    # ---- of Leadership ----

    async def call_roll(self, conn: Any, holder: str) -> RollCall:
        await self._reached()
        now_s = self._clock.now_s
        self._schedulers.setdefault(holder, _SchedulerRow(now_s, now_s)).beat_s = now_s
        seen = []
        for shard in self.shards:
            epoch, leader, since_s = self.leases.get(shard, (0, None, None))
            row = self._schedulers.get(leader or "")
            beat_s = since_s if leader is None else row and row.beat_s
            seen.append(Seen(shard, epoch, leader, None if beat_s is None else now_s - beat_s))
        sharing = [row for row in self._schedulers.values() if not row.leaving]
        await Rest(self._taste.uniform(*SOON_S))
        return RollCall(seen, [Sharer(now_s - row.beat_s, now_s - row.since_s) for row in sharing])

    async def take_lease(self, conn: Any, shard: int, holder: str, seen_epoch: int) -> int | None:
        await self._reached()
        reply: Reply[int | None] = Reply()
        self._clock.start(self._server, self._take(shard, holder, seen_epoch, reply))
        return await reply

    async def _take(self, shard: int, holder: str, seen_epoch: int, reply: Reply[int | None]) -> None:
        self._takers[shard] += 1
        while self._rules.fence and self._sharers[shard]:
            await Rest(0.002)
        self._takers[shard] -= 1
        if self.leases.get(shard, (0,))[0] != seen_epoch:
            reply.give(None)
            return
        self.leases[shard] = (seen_epoch + 1, holder, self._clock.now_s)
        self.takes.append((self._clock.now_s, shard, seen_epoch + 1))
        await Rest(self._taste.uniform(*SOON_S))
        reply.give(seen_epoch + 1)

    async def give_up_lease(self, conn: Any, shard: int, lease_epoch: int) -> None:
        await self._reached()
        if self.leases[shard][0] == lease_epoch:
            self.leases[shard] = (lease_epoch, None, self._clock.now_s)

    async def start_to_leave(self, conn: Any, holder: str) -> None:
        await self._reached()
        if (row := self._schedulers.get(holder)) is not None:
            row.leaving = True

    async def leave(self, conn: Any, holder: str) -> None:
        await self._reached()
        self._schedulers.pop(holder, None)

    # ---- of the engine ----

    async def transition(self, shard: int, lease_epoch: int, statement: Callable[[int], None]) -> None:
        """A transaction that is fenced, and does what `statement` says at the time of the database."""
        await self._reached()
        reply: Reply[None] = Reply()
        self._clock.start(self._server, self._transact(shard, lease_epoch, statement, reply))
        await reply

    async def _transact(
        self, shard: int, lease_epoch: int, statement: Callable[[int], None], reply: Reply[None]
    ) -> None:
        while self._takers[shard]:
            await Rest(0.002)
        if self.leases[shard][0] != lease_epoch:
            reply.fail(LeaseLostError())
            return
        self._sharers[shard] += 1
        await Rest(self._taste.uniform(*(SLOW_S if self._taste.random() < self.slow else SOON_S)))
        self._sharers[shard] -= 1
        if self.away:
            reply.fail(ConnectionResetError())
            return
        if self.leases[shard][0] != lease_epoch:
            raise BrokenError(f"epoch {lease_epoch} writes where {self.leases[shard][0]} leads")
        statement(self.now_ms)
        await Rest(self._taste.uniform(*SOON_S))
        reply.give(None)

    async def _reached(self) -> None:
        await Rest(self._taste.uniform(*SOON_S))
        if self.away:
            raise ConnectionRefusedError
