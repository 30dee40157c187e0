"""Which shards this process leads, and until when it may believe so.

A roll call renews what it leads, sees who is alive, gives up what is more than its share and stands for what nobody
leads. A vote in Redis and a lease in PostgreSQL make a leader, by the rules of `keno.rounds.lease`; without Redis
PostgreSQL does alone. Whatever this process believes, it writes nothing once its epoch is not the latest.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import asyncpg
import structlog

from keno.infra.clock import elapsed_s
from keno.infra.postgres import Connection
from keno.infra.transient import is_transient
from keno.rounds import lease as rules
from keno.rounds import metrics, store
from keno.rounds.election import Election
from keno.rounds.lease import Seen, Vote

log = structlog.get_logger()


class Book(Protocol):
    """The leases in PostgreSQL: what Leadership asks of `keno.rounds.store`, which says what each does."""

    async def call_roll(self, conn: Any, holder: str) -> store.RollCall: ...

    async def take_lease(self, conn: Any, shard: int, holder: str, seen_epoch: int) -> int | None: ...

    async def give_up_lease(self, conn: Any, shard: int, lease_epoch: int) -> None: ...

    async def start_to_leave(self, conn: Any, holder: str) -> None: ...

    async def leave(self, conn: Any, holder: str) -> None: ...


@dataclass(eq=False, slots=True)
class Lease:
    """One shard that this process leads, or is about to: `epoch` is None until PostgreSQL has given one.

    `over` is set when it is to end: lost, or to be given up once the tick under way is finished.
    """

    shard: int
    seen_epoch: int
    vote: Vote
    trusted_until_s: float
    epoch: int | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Leadership:
    """The leases of one scheduler. `holder` names this process and no other, before or after it.

    `book` is another for who has no database.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        election: Election,
        holder: str,
        clock: Callable[[], float] = elapsed_s,
        book: Book = store,
    ) -> None:
        self._pool = pool
        self._book = book
        self._election = election
        self._holder = holder
        self._clock = clock
        self._leases: dict[int, Lease] = {}
        self._called_at_s = float("-inf")

    @property
    def leases(self) -> list[Lease]:
        """What this process leads or is about to lead."""
        return list(self._leases.values())

    @property
    def current(self) -> bool:
        """Whether this process leads or stands by as it should: its last roll call is no older than a lease lasts."""
        return self._clock() - self._called_at_s < rules.TTL_S

    def leads(self, lease: Lease) -> bool:
        """Whether this process may still believe that it leads."""
        return lease.epoch is not None and not lease.over.is_set() and self._clock() < lease.trusted_until_s

    async def call_roll(self, conn: Connection) -> float:
        """Brings the leases up to date, and returns the seconds until that is due again.

        Raises what PostgreSQL's client raises; leases are then renewed by their votes alone.
        """
        asked_at_s = self._clock()
        # What is taken while others answer is for the next roll call.
        held = [(lease, lease.epoch) for lease in self.leases if not lease.over.is_set()]
        votes = await self._election.renew([lease.shard for lease, _ in held], self._holder)
        for (lease, _), vote in zip(held, votes, strict=True):
            if vote is Vote.OURS:
                lease.trusted_until_s = rules.trusted_until_s(asked_at_s)
            elif vote is Vote.THEIRS:
                self.lost(lease)
        roll = await self._book.call_roll(conn, self._holder)
        watched = asked_at_s - self._called_at_s < rules.TTL_S
        self._called_at_s = asked_at_s
        seen = {each.shard: each for each in roll.leases}
        for (lease, epoch), vote in zip(held, votes, strict=True):
            if epoch is None or lease.over.is_set():
                continue
            if rules.still_ours(vote, seen[lease.shard], self._holder, epoch):
                lease.trusted_until_s = rules.trusted_until_s(asked_at_s)
            else:
                self.lost(lease)
        for each in roll.leases:
            if each.holder == self._holder and each.shard not in self._leases:
                await self._book.give_up_lease(conn, each.shard, each.epoch)
        await self._take_part(seen, rules.fair_share(len(seen), roll.sharers), watched)
        return rules.rest_s([each.silent_s for each in roll.sharers])

    async def take(self, lease: Lease) -> bool:
        """Asks PostgreSQL for a lease that this process stands for; waits for the transition under way in its shard."""
        asked_at_s = self._clock()
        lease.epoch = await self._book.take_lease(self._pool, lease.shard, self._holder, lease.seen_epoch)
        if lease.epoch is None:
            self.lost(lease)
            return False
        # The wait may have been long, and the vote is renewed with the roll calls meanwhile.
        lease.trusted_until_s = max(lease.trusted_until_s, rules.trusted_until_s(asked_at_s))
        metrics.TAKE_OVERS.inc()
        metrics.LEASE_EPOCH.labels(lease.shard).set(lease.epoch)
        metrics.STOPPED.labels(lease.shard).set(0)
        metrics.LEADING.labels(lease.shard).set_function(lambda: self.leads(lease))
        log.info("lease.taken", shard=lease.shard, lease_epoch=lease.epoch, vote=lease.vote.value)
        if lease.vote is not Vote.OURS:
            await self._election.claim([lease.shard], self._holder)
        return True

    def lost(self, lease: Lease) -> None:
        """Ends a lease that another has taken."""
        if not lease.over.is_set():
            log.warning("lease.lost", shard=lease.shard, lease_epoch=lease.epoch)
        lease.over.set()

    async def release(self, lease: Lease) -> None:
        """Gives a lease up in both stores, once nothing works on its strength any more; harmless where it was lost."""
        lease.over.set()
        await self._election.release([lease.shard], self._holder)
        if lease.epoch is not None:
            await self._say(self._book.give_up_lease(self._pool, lease.shard, lease.epoch))
            metrics.LEADING.remove(lease.shard)
            metrics.LEASE_EPOCH.remove(lease.shard)
            metrics.STOPPED.remove(lease.shard)
        del self._leases[lease.shard]

    async def start_to_leave(self) -> None:
        """Ends all leases, for others to share. The last thing before the roll is not called any more."""
        await self._say(self._book.start_to_leave(self._pool, self._holder))
        for lease in self.leases:
            lease.over.set()

    async def leave(self) -> None:
        """Says that this process is gone; its leases have been released."""
        await self._say(self._book.leave(self._pool, self._holder))

    async def _say(self, word: Awaitable[None]) -> None:
        """Tells PostgreSQL what others would find out later, and does not insist."""
        try:
            await word
        except Exception as failure:
            if not is_transient(failure):
                raise
            log.warning("lease.farewell_failed", exc_info=failure)

    async def _take_part(self, seen: dict[int, Seen], share: int, watched: bool) -> None:
        ours = [lease.shard for lease in self.leases if not lease.over.is_set()]
        for shard in rules.excess(ours, share):
            log.info("lease.shared_out", shard=shard)
            self._leases[shard].over.set()
        wanted = share - len(ours)
        if wanted <= 0:
            return
        others = rules.in_order(seen.keys() - self._leases.keys(), self._holder)
        asked_at_s = self._clock()
        votes = await self._election.stand(others, self._holder, wanted)
        for shard, vote in zip(others, votes, strict=True):
            if wanted > 0 and rules.may_take(vote, seen[shard], watched):
                wanted -= 1
                self._leases[shard] = Lease(shard, seen[shard].epoch, vote, rules.trusted_until_s(asked_at_s))
