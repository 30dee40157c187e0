"""The rules of leadership: how long a lease may be trusted, who may take one, how many each scheduler leads. Pure.

Redis elects, because it is quick: a vote. PostgreSQL decides, because a vote alone is not safe: a leader that was
paused wakes up and writes. So nothing here keeps a round from being drawn twice; the epoch of the lease row does.
These rules keep two schedulers from working against each other, and a shard from having none. All times are seconds on
clocks that the caller names.
"""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

TTL_S = 3.0
"""How long a vote stands without being renewed. A scheduler that was silent for as long is not counted as alive, and
none is counted before it has lived for as long."""
RENEW_S = TTL_S / 3
TRUST_MARGIN_S = 1.0
"""A leader trusts its vote for so much less than others honour it: the clocks of two machines drift, and steps end."""
STALE_S = TTL_S + 0.5
"""A leader that was silent for as long may be replaced whatever Redis says: its clock may have been set back, or the
vote is of a candidate who died before PostgreSQL heard of it. Longer than a vote lasts, so that where Redis is well
candidates part by their votes."""
LAPSE_MARGIN_S = 0.02
assert STALE_S > TTL_S  # noqa: S101 - a vote runs out by itself before it is passed over
assert RENEW_S < TTL_S - TRUST_MARGIN_S  # noqa: S101 - a leader that renews in time is trusted throughout


class Vote(Enum):
    """What Redis says of a shard to one scheduler."""

    OURS = "ours"
    THEIRS = "theirs"
    UNKNOWN = "unknown"  # it can't be reached


@dataclass(frozen=True, slots=True)
class Seen:
    """A shard's lease in PostgreSQL. Epoch 0: there was never one. `holder` is None where it was given up.

    `silent_s` is how long ago its holder last gave a sign of life, or gave it up, by the database's clock; None: nobody
    knows.
    """

    shard: int
    epoch: int
    holder: str | None
    silent_s: float | None


@dataclass(frozen=True, slots=True)
class Sharer:
    """A scheduler that does not leave: how long ago it gave its last sign of life and its first, by the database's
    clock.
    """

    silent_s: float
    age_s: float


def trusted_until_s(asked_at_s: float) -> float:
    """Until when a leader may work on the strength of a vote or beat that it asked for at `asked_at_s`.

    Of a clock that counts the time during which the machine was suspended.
    """
    return asked_at_s + TTL_S - TRUST_MARGIN_S


def lives(silent_s: float | None) -> bool:
    """Whether a scheduler counts as alive. A beat from the future tells of a clock that was set back, not of life."""
    return silent_s is not None and abs(silent_s) < TTL_S


def still_ours(vote: Vote, lease: Seen, holder: str, epoch: int) -> bool:
    """Whether the leader with this epoch goes on leading."""
    return vote is not Vote.THEIRS and lease.holder == holder and lease.epoch == epoch


def may_take(vote: Vote, lease: Seen, watched: bool) -> bool:
    """Whether a candidate may ask PostgreSQL for the lease of a shard that it does not lead.

    `watched`: it has called the roll shortly before. Where it has not, PostgreSQL may have been away for all: then the
    leader is no less alive than the candidate, and gets the time to say so.
    """
    if vote is Vote.OURS or lease.silent_s is None:
        return True
    if vote is Vote.UNKNOWN:
        return lease.holder is None or (watched and not lives(lease.silent_s))
    # A vote that does not run out keeps neither a dead leader nor a shard that nobody leads.
    return watched and abs(lease.silent_s) > STALE_S


def in_order(shards: Collection[int], holder: str) -> list[int]:
    """The shards in an order of this scheduler's own, so that not all candidates stand for the same one first."""
    return sorted(shards, key=lambda shard: zlib.crc32(f"{holder} {shard}".encode()))


def counts(sharer: Sharer) -> bool:
    """Whether a scheduler counts where the shards are shared: it lives, and has for as long as a dead one goes on
    counting. So one that died and the one started in its place never count both, however often that happens.

    An age below zero tells of a clock that was set back, and of a scheduler from before that. By less than TTL_S it
    counts for nothing, which only makes shares larger.
    """
    return lives(sharer.silent_s) and abs(sharer.age_s) >= TTL_S


def fair_share(shards: int, sharers: Collection[Sharer]) -> int:
    """How many shards each scheduler leads at most, whether it counts or not; those that count lead all together."""
    return -(-shards // max(sum(map(counts, sharers)), 1))


def excess(leading: Collection[int], share: int) -> Sequence[int]:
    """The shards to give up so that others get theirs."""
    return sorted(leading)[share:]


def rest_s(silences_s: Collection[float | None]) -> float:
    """How long until the next roll call: time to renew, or the instant at which another's silence becomes too long for
    its votes, or for any.
    """
    lapses = (
        limit_s - each + LAPSE_MARGIN_S
        for each in silences_s
        for limit_s in (TTL_S, STALE_S)
        if each is not None and 0 <= each <= limit_s
    )
    return min(RENEW_S, *lapses, RENEW_S)
