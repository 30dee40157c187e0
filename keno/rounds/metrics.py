"""What a scheduler measures of its rounds, for Prometheus. `keno.infra.telemetry` serves it.

Times are measured by the database clock, which decides every instant of a round. Not here: figures of money.
"""

from prometheus_client import Counter, Gauge, Histogram

_LATE_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)

OPEN_LATE = Histogram(
    "keno_round_open_late_seconds", "How long after its slot time a round was opened.", buckets=_LATE_S
)
LOCK_LATE = Histogram(
    "keno_round_lock_late_seconds", "How long after its slot time a round was locked.", buckets=_LATE_S
)
ROUNDS = Counter("keno_rounds", "Rounds that this scheduler has moved to a phase.", ["phase"])
LEADING = Gauge("keno_lease_leading", "Whether this scheduler leads the shard and may trust its lease.", ["shard"])
LEASE_EPOCH = Gauge("keno_lease_epoch", "The epoch of the lease by which this scheduler leads the shard.", ["shard"])
TAKE_OVERS = Counter("keno_lease_take_overs", "Leases that this scheduler has taken.")
for _phase in ("opened", "locked", "drawn", "skipped", "void"):
    ROUNDS.labels(_phase)
