"""What a scheduler measures of its rounds, for Prometheus. `keno.infra.telemetry` serves it.

Times are measured by the database clock, which decides every instant of a round. Not here: figures of money.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily

_LATE_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)


class Lateness:
    """A histogram of times that come by the thousand, most of them the same: each is counted once a call."""

    def __init__(self, name: str, documentation: str, bounds_s: Sequence[float]) -> None:
        self._about: Final = name, documentation
        self._bounds_s: Final = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_ms = 0
        REGISTRY.register(self)

    def observe_ms(self, times_ms: Iterable[int]) -> None:
        """Adds times in milliseconds."""
        for time_ms, count in Tally(times_ms).items():
            self._counts[bisect_left(self._bounds_s, time_ms / 1000)] += count
            self._sum_ms += time_ms * count

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What prometheus_client asks of a collector."""
        names = [*map(str, self._bounds_s), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(*self._about, buckets=buckets, sum_value=self._sum_ms / 1000)


OPEN_LATE = Lateness("keno_round_open_late_seconds", "How long after its slot time a round was opened.", _LATE_S)
LOCK_LATE = Lateness("keno_round_lock_late_seconds", "How long after its slot time a round was locked.", _LATE_S)
ROUNDS = Counter("keno_rounds", "Rounds that this scheduler has moved to a phase.", ["phase"])
REFUSED = Counter("keno_rounds_refused", "Rounds that contradict themselves, and are not drawn.")
STOPPED = Gauge("keno_rooms_stopped", "Rooms that open no round because one of theirs is not drawn.", ["shard"])
LEADING = Gauge("keno_lease_leading", "Whether this scheduler leads the shard and may trust its lease.", ["shard"])
LEASE_EPOCH = Gauge("keno_lease_epoch", "The epoch of the lease by which this scheduler leads the shard.", ["shard"])
TAKE_OVERS = Counter("keno_lease_take_overs", "Leases that this scheduler has taken.")
for _phase in ("opened", "locked", "drawn", "skipped", "void"):
    ROUNDS.labels(_phase)
