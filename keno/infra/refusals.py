"""What a step refuses, and meets again in every step until it is mended: told of once, and in nobody's way."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from prometheus_client import Counter

_log = structlog.get_logger("keno.refusals")


class Refusals:
    """What is refused now, by its id. `what` names a thing of its kind; `counter` counts each when it is new."""

    def __init__(self, what: str, counter: Counter) -> None:
        self._what = what
        self._counter = counter
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def tell(self, refusals: Mapping[int, Exception]) -> None:
        """Takes all that are refused now, and says of each that was not before why."""
        for refused_id in refusals.keys() - self._ids:
            self._counter.inc()
            _log.error(f"{self._what}.refused", id=refused_id, reason=str(refusals[refused_id]))
        self._ids = set(refusals)
