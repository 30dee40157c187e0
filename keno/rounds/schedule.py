"""The slots of a room. Pure; `open_due_rounds` in the database computes the same, and a test compares the two.

Round n is drawn at `slot_epoch_ms + n * period_ms`. Its sales close `lock_lead_ms` earlier, and the next round opens at
that instant. All times are UTC milliseconds.
"""

from dataclasses import dataclass

from keno.errors import KenoError

PERIOD_MIN_MS = 2_000
PERIOD_MAX_MS = 60_000
PERIOD_BEACON_MIN_MS = 3_000
"""Profile B needs a beacon of its own for each round, and drand quicknet has one every 3 s."""


class ScheduleError(KenoError):
    """A room's times contradict each other or the limits."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times of a room."""

    slot_epoch_ms: int
    period_ms: int
    lock_lead_ms: int

    def __post_init__(self) -> None:
        if not PERIOD_MIN_MS <= self.period_ms <= PERIOD_MAX_MS:
            raise ScheduleError(f"period_ms must be {PERIOD_MIN_MS} to {PERIOD_MAX_MS}, not {self.period_ms}")
        if not 0 < self.lock_lead_ms < self.period_ms:
            raise ScheduleError(f"lock_lead_ms must be above 0 and below period_ms, not {self.lock_lead_ms}")

    def check_profile(self, profile: str) -> None:
        """Raises ScheduleError where the rounds come too fast for the fairness profile."""
        if profile == "B" and self.period_ms < PERIOD_BEACON_MIN_MS:
            raise ScheduleError(
                f"period_ms must be {PERIOD_BEACON_MIN_MS} or more in profile B, which has a beacon of its own for each"
                f" round, not {self.period_ms}"
            )

    @classmethod
    def starting_at(cls, at_ms: int, period_ms: int, lock_lead_ms: int) -> "Schedule":
        """The schedule whose round 1 opens at `at_ms` and is on sale for one period."""
        return cls(slot_epoch_ms=at_ms + lock_lead_ms, period_ms=period_ms, lock_lead_ms=lock_lead_ms)

    def on_sale(self, at_ms: int) -> int:
        """The number of the slot whose sales have opened and not closed at `at_ms`; below 1 before the room's start."""
        return (at_ms + self.lock_lead_ms - self.slot_epoch_ms) // self.period_ms + 1

    def draw_due_ms(self, number: int) -> int:
        """When round `number` is due to be drawn."""
        return self.slot_epoch_ms + number * self.period_ms

    def lock_due_ms(self, number: int) -> int:
        """When the sales of round `number` close."""
        return self.draw_due_ms(number) - self.lock_lead_ms
