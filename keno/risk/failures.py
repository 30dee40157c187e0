"""Refuses addresses that send forgery after forgery, before anything is computed for them.

Each address may fail FAILURES_MAX times at once and RECOVERED_PER_S times a second in the long run. A request that is
signed well costs nothing. The count is this process's own: asking Redis would make a forgery dearer than refusing it is
worth, and the worst that several gateways do is to allow each their share.
"""

from __future__ import annotations

from typing import Final

FAILURES_MAX: Final = 100
RECOVERED_PER_S: Final = 10
ADDRESSES_MAX: Final = 65_536


class Failures:
    """Failures by address."""

    def __init__(self) -> None:
        self._full_ms: dict[str, int] = {}
        """When an address will have recovered from everything; what is not here has."""

    def wait_ms(self, address: str, now_ms: int) -> int:
        """How long this address must wait before it may fail again; 0 where it need not."""
        full_ms = self._full_ms.get(address, now_ms)
        return max(0, full_ms - now_ms + _MS_A_FAILURE - FAILURES_MAX * _MS_A_FAILURE)

    def failed(self, address: str, now_ms: int) -> None:
        """Counts a failure."""
        if address not in self._full_ms and len(self._full_ms) >= ADDRESSES_MAX:
            # Forgetting favours the sender: it takes so many addresses that counting by them is pointless.
            self._full_ms = {known: full_ms for known, full_ms in self._full_ms.items() if full_ms > now_ms}
            if len(self._full_ms) >= ADDRESSES_MAX:
                self._full_ms.clear()
        self._full_ms[address] = max(self._full_ms.get(address, now_ms), now_ms) + _MS_A_FAILURE


_MS_A_FAILURE: Final = 1_000 // RECOVERED_PER_S
