"""The clock by which a process trusts what it was promised for some seconds. Not here: the time of day."""

import time

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def elapsed_s() -> float:
    """Seconds since some instant, the time during which the machine was suspended included where the system can say it.

    Linux's monotonic clock stands still meanwhile, and those of macOS and Windows that Python reads do not agree on it.
    """
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()
