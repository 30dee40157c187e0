"""A simulated installation: schedulers under the real rules of leadership, faults by a seed, and quiet days in between.

In quiet times the clock of leases stands, since the same leaders renew the same leases over and over; the rounds of
each shard go on without it. Around faults everything is simulated message by message.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from operator import itemgetter
from typing import cast

import asyncpg

from keno.rounds.engine import LeaseLostError
from keno.rounds.leadership import Leadership, Lease
from keno.rounds.lease import RENEW_S, STALE_S
from keno.rounds.phases import Phase
from keno.rounds.schedule import Schedule
from support.simulated_rounds import BrokenError, Room, Rounds, Rules
from support.simulated_servers import Database, Redis
from support.simulated_time import Clock, Process, Rest

SCHEDULERS = 3
SHARDS = 2
FAILOVER_S = 5.0
"""So long after the last fault each shard is led again."""
_QUIET_S = 6 * 3600
_DRIFT = 0.01
_REST_MAX_S = 0.25
_PAUSE_S = 0.2
_NO_POOL = cast(asyncpg.Pool, None)


class Scheduler:
    """`keno.rounds.scheduler` and its worker, on simulated time: one process."""

    def __init__(self, name: str, clock: Clock, redis: Redis, database: Database, taste: random.Random) -> None:
        self.process = Process()
        self._clock, self._database, self._taste = clock, database, taste
        drift, offset_s = 1 + taste.uniform(-_DRIFT, _DRIFT), taste.uniform(0, 1e6)
        self.leadership = Leadership(
            _NO_POOL, redis.election(), name, lambda: offset_s + clock.now_s * drift, book=database
        )
        self._working: set[Lease] = set()
        self.leaving = self.replaced = False
        clock.start(self.process, self._lead())

    async def _lead(self) -> None:
        while not self.leaving:
            try:
                rest_s = await self.leadership.call_roll(cast(asyncpg.Connection, None))
            except OSError:
                rest_s = _PAUSE_S
            for lease in self.leadership.leases:
                if lease not in self._working:
                    self._working.add(lease)
                    self._clock.start(self.process, self._work(lease))
            await Rest(rest_s)
        await self.leadership.start_to_leave()
        while self._working:
            await Rest(0.01)
        await self.leadership.leave()
        self.process.alive = False

    async def _work(self, lease: Lease) -> None:
        while not lease.over.is_set():
            try:
                await self._step(lease)
            except LeaseLostError:
                self.leadership.lost(lease)
            except OSError:
                await Rest(_PAUSE_S)
        await self.leadership.release(lease)
        self._working.remove(lease)

    async def _step(self, lease: Lease) -> None:
        """One step of the worker: takes the lease, waits for trust, or moves what is due, locks first."""
        if lease.epoch is None:
            await self.leadership.take(lease)
            return
        if not self.leadership.leads(lease):
            await Rest(0.1)
            return
        rounds = self._database.shards[lease.shard]
        for statement in (rounds.lock, rounds.open, rounds.draw):
            await self._database.transition(lease.shard, lease.epoch, statement)
        due_ms = rounds.next_due_ms()
        rest_s = _REST_MAX_S if due_ms is None else (due_ms - self._database.now_ms) / 1000
        await Rest(min(max(rest_s, 0.005), _REST_MAX_S))


@dataclass(eq=False)
class Simulation:
    """Rooms over SHARDS shards for some days, by a seed."""

    seed: int
    rooms: int = 2
    rules: Rules = field(default_factory=Rules)
    quiet_s: float = _QUIET_S
    """Of the times between faults, the average."""
    faults: Counter[str] = field(default_factory=Counter)
    failovers_s: list[float] = field(default_factory=list)
    _ends_s: list[float] = field(default_factory=list)
    _mail: list[tuple[float, Rounds, Room, int]] = field(default_factory=list)
    _orphans: list[tuple[int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._taste = taste = random.Random(self.seed)
        self._clock = Clock()
        rooms = [self._room(0) for _ in range(max(self.rooms, SHARDS))]
        shards = {shard: Rounds(rooms[shard::SHARDS], self.rules, taste) for shard in range(SHARDS)}
        self.redis = Redis(self._clock, taste)
        self.database = Database(self._clock, taste, shards, self.rules)
        self._names = 0
        self._schedulers = [self._scheduler() for _ in range(SCHEDULERS)]
        self._votes_true = True
        self._world = Process()
        self._clock.start(self._world, self._serve())
        self._clock.start(self._world, self._watch())

    def run(self, days: float) -> Counter[str]:
        """Returns the rounds by phase; raises BrokenError."""
        self._clock.run(self._clock.now_s + FAILOVER_S)
        end_ms = self.database.now_ms + round(days * 86_400_000)
        while self.database.now_ms < end_ms:
            self._trouble()
            self._be_quiet(min(round(self._taste.expovariate(1 / self.quiet_s) * 1000), end_ms - self.database.now_ms))
        self._deliver(inf)
        counts = sum((rounds.counts for rounds in self.database.shards.values()), Counter[str]())
        if counts["paid"] != counts[Phase.SETTLED]:
            raise BrokenError(f"{counts[Phase.SETTLED]} rounds are settled and {counts['paid']} paid")
        return counts

    # ---- quiet ----

    def _be_quiet(self, for_ms: int) -> None:
        """Lets the rounds go on, by the leaders there are."""
        until_ms = self.database.now_ms + for_ms
        self._deliver(inf)
        for rounds in self.database.shards.values():
            rounds.settle()
            while (due_ms := rounds.next_due_ms()) is not None and due_ms <= until_ms:
                rounds.lock(due_ms)
                rounds.open(due_ms)
                rounds.draw(due_ms)
                rounds.settle()
                for room, number in rounds.messages:
                    rounds.pay(room, number)
                    room.paid.clear()
                rounds.messages.clear()
        self.database.skipped_ms += max(for_ms, 0)

    # ---- trouble ----

    def _trouble(self) -> None:
        """Some faults, most of them one upon the other, and what comes of them."""
        for _ in range(self._taste.randint(1, 4)):
            name = self._taste.choice(list(FAULTS))
            self.faults[name] += 1
            lasts_s = FAULTS[name](self, self._taste)
            self._clock.run(self._clock.now_s + self._taste.choice([self._taste.uniform(0, 0.1), lasts_s, 5.0]))
        for each in self._schedulers:
            each.process.trap = None
        while self._ends_s:
            ends_s, self._ends_s = max(self._ends_s), []
            self._clock.run(max(self._clock.now_s, ends_s))
        self.database.slow = 0.0
        self._clock.run(self._clock.now_s + FAILOVER_S)
        self._check_led()
        self._clock.run(self._clock.now_s + 2.0)
        self._note_failovers()
        self._votes_true = True
        for rounds in self.database.shards.values():
            rounds.beacons_late = False
            rounds.check(self.database.now_ms)

    def _note_failovers(self) -> None:
        for shard, epoch, at_s in self._orphans:
            taken_s = [when_s for when_s, each, to in self.database.takes if each == shard and to > epoch]
            self.failovers_s += [taken_s[0] - at_s] if taken_s else []
        self._orphans.clear()
        self.database.takes.clear()

    def _orphan(self, one: Scheduler) -> None:
        leases = [lease for lease in one.leadership.leases if one.leadership.leads(lease)]
        self._orphans += [(lease.shard, lease.epoch or 0, self._clock.now_s) for lease in leases]

    def _check_led(self) -> None:
        for shard, (epoch, holder, since_s) in self.database.leases.items():
            # Given up to be shared out, after the last fault: a vote that is left over holds it for STALE_S at most.
            given_up = holder is None and self._clock.now_s - since_s < STALE_S + RENEW_S
            if not given_up and not any(lease.epoch == epoch for lease in self._believed(shard)):
                raise BrokenError(f"nobody leads shard {shard} {FAILOVER_S} s after the last fault: {epoch}, {holder}")

    def _believed(self, shard: int) -> list[Lease]:
        """The leases on the strength of which a process would go on working."""
        return [
            lease
            for each in self._schedulers
            if each.process.alive
            for lease in each.leadership.leases
            if lease.shard == shard and each.leadership.leads(lease)
        ]

    async def _watch(self) -> None:
        """Where Redis and PostgreSQL were well, two never believe to lead one shard."""
        while True:
            await Rest(0.005)
            for shard in self.database.shards:
                if self._votes_true and len(self._believed(shard)) > 1:
                    raise BrokenError(f"two believe that they lead shard {shard}")

    async def _serve(self) -> None:
        """The settler, and the broker, which gives a message late and often twice."""
        while True:
            await Rest(0.05)
            for rounds in self.database.shards.values():
                rounds.settle()
                for room, number in rounds.messages:
                    for _ in range(self._taste.randint(1, 2)):
                        self._mail.append((self._clock.now_s + self._taste.uniform(0, 3), rounds, room, number))
                rounds.messages.clear()
            self._deliver(self._clock.now_s)

    def _deliver(self, until_s: float) -> None:
        due = [each for each in self._mail if each[0] <= until_s]
        self._mail = [each for each in self._mail if each[0] > until_s]
        for _, rounds, room, number in sorted(due, key=itemgetter(0)):
            rounds.pay(room, number)

    def _later(self, in_s: float, call: Callable[[], None]) -> None:
        self._clock.at(self._clock.now_s + in_s, call)
        self._ends_s.append(self._clock.now_s + in_s)

    def _room(self, now_ms: int) -> Room:
        beacons = self._taste.random() < 0.3
        return Room(Schedule.starting_at(now_ms, 5_000, 1_000), beacons)

    def _scheduler(self) -> Scheduler:
        self._names += 1
        return Scheduler(f"scheduler {self._names}", self._clock, self.redis, self.database, self._taste)

    def _one(self) -> Scheduler | None:
        """A scheduler that is well, a leader rather, if another is."""
        well = [
            each for each in self._schedulers if each.process.alive and not each.process.paused and not each.leaving
        ]
        leading = [each for each in well if each.leadership.leases]
        return self._taste.choice(leading or well) if len(well) > 1 else None

    def _replace(self, scheduler: Scheduler) -> None:
        if scheduler.replaced:
            return
        scheduler.replaced = True

        def begin() -> None:
            self._schedulers = [each for each in self._schedulers if each.process.alive] + [self._scheduler()]

        self._later(self._taste.uniform(0.5, 3), begin)

    # ---- faults: each returns how long it lasts ----

    def kill(self, taste: random.Random) -> float:
        if (one := self._one()) is not None:
            self._at_some_step(one, lambda: self._kill(one))
        return 3.0

    def _kill(self, one: Scheduler) -> None:
        self._orphan(one)
        one.process.alive = False
        self._replace(one)

    def pause(self, taste: random.Random) -> float:
        seconds = taste.uniform(0.5, 8)
        if (one := self._one()) is not None:
            self._at_some_step(one, lambda: self._pause(one, seconds))
        return seconds

    def _pause(self, one: Scheduler, seconds: float) -> None:
        self._orphan(one)
        one.process.paused = True
        self._later(seconds, one.process.wake)

    def _at_some_step(self, one: Scheduler, fault: Callable[[], None]) -> None:
        one.process.trap_in, one.process.trap = self._taste.randint(1, 20), fault

    def hand_over(self, taste: random.Random) -> float:
        if not self.database.away and (one := self._one()) is not None:
            one.leaving = True
            self._replace(one)
        return 2.0

    def empty_redis(self, taste: random.Random) -> float:
        self._votes_true = False
        self.redis.votes.clear()
        return 1.0

    def lose_redis(self, taste: random.Random) -> float:
        self._votes_true = False
        self.redis.away = True
        seconds = taste.uniform(0.2, 20)

        def back() -> None:
            self.redis.away = False
            if taste.random() < 0.5:
                self.redis.votes.clear()

        self._later(seconds, back)
        return seconds

    def step_redis(self, taste: random.Random) -> float:
        """Its clock: all votes end at once, or none ends any more."""
        self._votes_true = False
        step_s = taste.choice([-60.0, 60.0])
        self.redis.votes = {shard: (holder, until_s + step_s) for shard, (holder, until_s) in self.redis.votes.items()}
        return 1.0

    def lose_database(self, taste: random.Random) -> float:
        self._votes_true = False
        self.database.away = True
        seconds = taste.uniform(0.2, 30)

        def back() -> None:
            self.database.away = False

        self._later(seconds, back)
        return seconds

    def slow_database(self, taste: random.Random) -> float:
        """Some statements stall, inside their transactions."""
        self.database.slow = 0.2
        return 3.0

    def late_beacons(self, taste: random.Random) -> float:
        for rounds in self.database.shards.values():
            rounds.beacons_late = True
        return 5.0

    def change_room(self, taste: random.Random) -> float:
        room = self._some_room()
        period_ms = taste.choice([2_000, 5_000, 5_000, 7_001])
        room.change = Schedule(0, period_ms, taste.randint(1, period_ms - 1))
        # And back, so that the rounds of a year are those of the average.
        self._later(12, lambda: setattr(room, "change", Schedule(0, 5_000, 1_000)))
        return 15.0

    def close_room(self, taste: random.Random) -> float:
        """And opens another in its place."""
        room = self._some_room()
        (rounds,) = (each for each in self.database.shards.values() if room in each.rooms)
        room.open = False
        rounds.rooms[:] = [each for each in rounds.rooms if each.open or each.live]
        rounds.rooms.append(self._room(self.database.now_ms))
        return 2.0

    def _some_room(self) -> Room:
        return self._taste.choice([room for each in self.database.shards.values() for room in each.rooms if room.open])


FAULTS: dict[str, Callable[[Simulation, random.Random], float]] = {
    "kill": Simulation.kill,
    "pause": Simulation.pause,
    "hand-over": Simulation.hand_over,
    "Redis is emptied": Simulation.empty_redis,
    "Redis is away": Simulation.lose_redis,
    "the clock of Redis steps": Simulation.step_redis,
    "PostgreSQL is away": Simulation.lose_database,
    "statements stall": Simulation.slow_database,
    "beacons are late": Simulation.late_beacons,
    "a room is changed": Simulation.change_room,
    "a room is closed": Simulation.close_room,
}
