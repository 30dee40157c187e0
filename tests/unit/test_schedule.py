"""The slots of a room follow from its times alone."""

import pytest

from keno.rounds.schedule import PERIOD_MAX_MS, PERIOD_MIN_MS, Schedule, ScheduleError

ROOM = Schedule(slot_epoch_ms=1_000_000, period_ms=5_000, lock_lead_ms=1_500)


def test_a_round_is_on_sale_for_one_period_up_to_but_not_at_its_lock() -> None:
    for number in (1, 2, 1_000_000):
        closes_ms = ROOM.lock_due_ms(number)
        assert ROOM.on_sale(closes_ms - 1) == number
        assert ROOM.on_sale(closes_ms) == number + 1
        assert ROOM.on_sale(closes_ms - ROOM.period_ms) == number


def test_every_instant_belongs_to_exactly_one_slot_in_order() -> None:
    starts_ms = ROOM.slot_epoch_ms - ROOM.lock_lead_ms
    on_sale = [ROOM.on_sale(starts_ms + at) for at in range(3 * ROOM.period_ms)]
    assert on_sale == [1] * 5_000 + [2] * 5_000 + [3] * 5_000


def test_before_the_room_starts_no_slot_is_on_sale() -> None:
    starts_ms = ROOM.slot_epoch_ms - ROOM.lock_lead_ms
    assert ROOM.on_sale(starts_ms) == 1
    assert ROOM.on_sale(starts_ms - 1) == 0
    assert ROOM.on_sale(starts_ms - 10 * ROOM.period_ms) == -9


def test_sales_close_the_lead_before_the_draw() -> None:
    assert ROOM.draw_due_ms(7) == 1_035_000
    assert ROOM.lock_due_ms(7) == 1_033_500


def test_a_schedule_that_starts_now_sells_its_round_1_for_a_whole_period() -> None:
    started = Schedule.starting_at(1_234_567, period_ms=2_000, lock_lead_ms=1_999)
    assert started.on_sale(1_234_566) == 0
    assert started.on_sale(1_234_567) == 1
    assert started.lock_due_ms(1) == 1_236_567


@pytest.mark.parametrize("period_ms", [PERIOD_MIN_MS - 1, PERIOD_MAX_MS + 1, 0, -5_000])
def test_a_period_outside_the_limits_is_refused(period_ms: int) -> None:
    with pytest.raises(ScheduleError, match="period_ms"):
        Schedule(slot_epoch_ms=0, period_ms=period_ms, lock_lead_ms=1)


@pytest.mark.parametrize("lock_lead_ms", [0, -1, 2_000, 2_001])
def test_a_lead_that_is_no_part_of_the_period_is_refused(lock_lead_ms: int) -> None:
    with pytest.raises(ScheduleError, match="lock_lead_ms"):
        Schedule(slot_epoch_ms=0, period_ms=2_000, lock_lead_ms=lock_lead_ms)


@pytest.mark.parametrize(("period_ms", "lock_lead_ms"), [(PERIOD_MIN_MS, 1), (PERIOD_MAX_MS, PERIOD_MAX_MS - 1)])
def test_the_limits_themselves_are_allowed(period_ms: int, lock_lead_ms: int) -> None:
    made = Schedule(slot_epoch_ms=0, period_ms=period_ms, lock_lead_ms=lock_lead_ms)
    assert made.draw_due_ms(1) - made.lock_due_ms(1) == lock_lead_ms
