"""Addresses that send forgeries: how many they may, and how they recover."""

from __future__ import annotations

from keno.risk import failures
from keno.risk.failures import FAILURES_MAX, RECOVERED_PER_S, Failures


def test_an_address_may_fail_so_often_at_once_and_then_as_often_as_it_recovers() -> None:
    seen = Failures()
    for _ in range(FAILURES_MAX):
        assert seen.wait_ms("a", 0) == 0
        seen.failed("a", 0)
    wait_ms = seen.wait_ms("a", 0)
    assert wait_ms == 1_000 // RECOVERED_PER_S
    assert seen.wait_ms("a", wait_ms - 1) == 1
    assert seen.wait_ms("a", wait_ms) == 0
    seen.failed("a", wait_ms)
    assert seen.wait_ms("a", wait_ms) > 0
    assert seen.wait_ms("b", 0) == 0


def test_who_stops_has_recovered_in_the_end() -> None:
    seen = Failures()
    for _ in range(FAILURES_MAX):
        seen.failed("a", 0)
    later_ms = 1_000 * FAILURES_MAX // RECOVERED_PER_S
    for _ in range(FAILURES_MAX):
        assert seen.wait_ms("a", later_ms) == 0
        seen.failed("a", later_ms)


def test_however_many_addresses_fail_no_more_are_kept_than_allowed() -> None:
    seen = Failures()
    for number in range(failures.ADDRESSES_MAX + 10):
        seen.failed(str(number), 0)
    assert len(seen._full_ms) <= failures.ADDRESSES_MAX
