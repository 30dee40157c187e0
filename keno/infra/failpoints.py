"""Named places at which a process can be told to die, for `make chaos`: between a commit and what should follow it.

`KENO_FAILPOINT=NAME` arms one; the process ends there as by SIGKILL, the first time it comes by. Unarmed, which is the
rule, nothing happens. Not here: who is killed when, and what must hold afterwards; that is in tests/chaos.
"""

import os
import signal

_armed: str | None = None

NAMES = frozenset(
    {
        "bets.committed",  # accepted on disk, and nobody has been told
        "rounds.locked",
        "rounds.sealed",
        "rounds.drawn",
        "epochs.drawn",  # an epoch's key is in memory, and nothing is stored
        "epochs.stored",  # commitments and wrapped keys are stored, and not committed
        "epochs.published",
        "epochs.revealed",
        "locks.seen",  # seeds are in memory, and not released
        "seeds.released",
        "locks.refused",  # a second lock is in the audit trail, and neither counted nor logged
        "keys.rewrapped",  # all keys are wrapped anew, and not committed
        "settlement.committed",
        "log.appended",  # entries are on disk, and nothing is signed
        "log.signed",  # a checkpoint is signed and witnessed, and not published
        "log.published",
        "anchor.signed",  # a transaction is on disk, and not sent
        "anchor.sent",
        "relay.published",  # the broker has the events, and they are not marked as sent
        "wallet.committed",  # credited or refunded, and the event is not acknowledged
        "reporting.committed",
        "storage.summed",  # the sums of a partition are kept, and it is still attached
        "storage.detached",
    }
)


def arm(name: str | None) -> None:
    """Arms the failpoint of this process; None: none."""
    global _armed  # noqa: PLW0603 - one a process, like its environment
    assert name is None or name in NAMES, "config.load has checked it"  # noqa: S101
    _armed = name


def reach(name: str) -> None:
    """Ends the process if `name` is armed."""
    if name == _armed:
        os.kill(os.getpid(), signal.SIGKILL)
