"""Rooms and their rounds in a simulated database: the statements of the migrations, over the real table of phases.

Every statement is handed the time of the database; whatever must not be raises BrokenError. Rounds that have ended are
forgotten, and counted.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

from keno.rounds.phases import EDGES, FINAL, Phase
from keno.rounds.schedule import Schedule

SKIPS_MAX = 1_000
BEACON_LIMIT_MS = 10_000
"""A round whose beacon is later than so long after its slot time is void."""
LEFT_BEHIND_MS = 1_500


class BrokenError(Exception):
    """The simulation found what must never be."""


@dataclass(frozen=True)
class Rules:
    """What a broken build leaves out."""

    fence: bool = True
    skips: bool = True
    inbox: bool = True


@dataclass(slots=True)
class Round:
    phase: Phase
    lock_due_ms: int
    draw_due_ms: int
    beacon_ms: int
    draws: int = 0


@dataclass(eq=False)
class Room:
    """A room; `beacons` is whether its rounds wait for one."""

    schedule: Schedule
    beacons: bool
    open: bool = True
    change: Schedule | None = None
    last: int = 0
    last_draw_ms: int = 0
    live: dict[int, Round] = field(default_factory=dict)
    paid: set[int] = field(default_factory=set)


class Rounds:
    """The rounds of the rooms of one shard."""

    def __init__(self, rooms: list[Room], rules: Rules, taste: random.Random) -> None:
        self.rooms = rooms
        self.counts: Counter[str] = Counter()
        self.messages: list[tuple[Room, int]] = []
        """Of rounds that were settled."""
        self.beacons_late = False
        self._rules = rules
        self._taste = taste

    def next_due_ms(self) -> int | None:
        """When the next transition of a round is due."""
        return min((self._due_ms(each) for room in self.rooms for each in room.live.values()), default=None)

    @staticmethod
    def _due_ms(each: Round) -> int:
        return each.lock_due_ms if each.phase is Phase.OPEN else max(each.draw_due_ms, each.beacon_ms)

    def lock(self, now_ms: int) -> None:
        for room in self.rooms:
            for number, each in room.live.items():
                if each.phase is Phase.OPEN and each.lock_due_ms <= now_ms:
                    self._move(room, number, each, Phase.LOCKED)

    def open(self, now_ms: int) -> None:
        for room in self.rooms:
            if not room.open:
                continue
            if room.change is not None and room.schedule.on_sale(now_ms) == room.last + 1:
                self._apply_change(room)
            number = room.schedule.on_sale(now_ms)
            if number <= room.last:
                continue
            missed = number - room.last - 1
            skips = min(missed, SKIPS_MAX) if self._rules.skips else 0
            for skipped in range(room.last + 1, room.last + 1 + skips):
                self._insert(room, skipped, Phase.SKIPPED, now_ms)
            if skips == missed or not self._rules.skips:
                self._insert(room, number, Phase.OPEN, now_ms)

    def draw(self, now_ms: int) -> None:
        for room in self.rooms:
            for number, each in list(room.live.items()):
                if each.phase is not Phase.LOCKED or each.draw_due_ms > now_ms:
                    continue
                if each.beacon_ms <= now_ms:
                    each.draws += 1
                    if each.draws > 1:
                        raise BrokenError(f"slot {number} is drawn twice")
                    self._move(room, number, each, Phase.DRAWN)
                elif now_ms > each.draw_due_ms + BEACON_LIMIT_MS:
                    self._move(room, number, each, Phase.VOID)

    def settle(self) -> None:
        """The settler has no lease."""
        for room in self.rooms:
            for number, each in list(room.live.items()):
                if each.phase is Phase.DRAWN:
                    self._move(room, number, each, Phase.SETTLED)
                    self.messages.append((room, number))

    def pay(self, room: Room, number: int) -> None:
        """What the wallet does with a message, however often it comes."""
        if number in room.paid:
            if self._rules.inbox:
                return
            raise BrokenError(f"slot {number} is paid twice")
        room.paid.add(number)
        self.counts["paid"] += 1

    def check(self, now_ms: int) -> None:
        """Nothing is left behind: every slot up to now has its row, and every round moved when it was due."""
        for room in self.rooms:
            if room.open and room.change is None and room.schedule.on_sale(now_ms) - room.last > 1:
                raise BrokenError(f"slots after {room.last} have no row")
            for number, each in room.live.items():
                if now_ms - self._due_ms(each) > LEFT_BEHIND_MS and not self.beacons_late:
                    raise BrokenError(f"slot {number} is left behind {each.phase}")

    def _apply_change(self, room: Room) -> None:
        """As apply_room_changes() does: `change` has the period and the lead, its slot epoch follows."""
        assert room.change is not None
        before, to = room.schedule, room.change
        last_draw_ms = before.draw_due_ms(room.last)
        epoch_ms = last_draw_ms + max(to.lock_lead_ms - before.lock_lead_ms, 0) - room.last * to.period_ms
        room.schedule, room.change = Schedule(epoch_ms, to.period_ms, to.lock_lead_ms), None
        self.counts["changes"] += 1

    def _insert(self, room: Room, number: int, phase: Phase, now_ms: int) -> None:
        if number != room.last + 1:
            raise BrokenError(f"slot {room.last + 1} has no row")
        draw_due_ms, lock_due_ms = room.schedule.draw_due_ms(number), room.schedule.lock_due_ms(number)
        if draw_due_ms <= room.last_draw_ms:
            raise BrokenError(f"slot {number} is due before the one before it")
        if (lock_due_ms > now_ms) is not (phase is Phase.OPEN):
            raise BrokenError(f"slot {number} is {phase} at the wrong time")
        room.last, room.last_draw_ms = number, draw_due_ms
        self.counts[phase] += 1
        if phase is Phase.OPEN:
            late_ms = 0
            if room.beacons:
                late_ms = 200 if not self.beacons_late else self._taste.choice([200, 3_000, 2 * BEACON_LIMIT_MS])
            room.live[number] = Round(phase, lock_due_ms, draw_due_ms, draw_due_ms + late_ms)

    def _move(self, room: Room, number: int, each: Round, to: Phase) -> None:
        if (each.phase, to) not in EDGES:
            raise BrokenError(f"slot {number} moves from {each.phase} to {to}")
        each.phase = to
        self.counts[to] += 1
        if to in FINAL:
            del room.live[number]
