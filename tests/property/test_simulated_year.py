"""Days of rounds on a fake clock under seeded faults, by the real rules of leadership, phases and slots.

KENO_SIMULATED_DAYS, KENO_SIMULATED_ROOMS and KENO_SIMULATED_SEED say how much; `make simulate` asks for a year. With a
safeguard taken away the same simulation must find something.
"""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from support.simulated_rounds import BrokenError, Rules
from support.simulation import FAULTS, Simulation

from keno.rounds import lease

DAYS = float(os.environ.get("KENO_SIMULATED_DAYS") or 1)
ROOMS = int(os.environ.get("KENO_SIMULATED_ROOMS") or 2)
SEED = int(os.environ.get("KENO_SIMULATED_SEED") or 2026)
OFTEN_S = 600.0
MUCH_TROUBLE_S = 200.0
RARE_DAYS = 10
SOON_SEED = 2028
"""Which soon has two processes within the few milliseconds of each other that it takes; others need days."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Leaders come and go by the thousand."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def test_whatever_happens_every_slot_has_its_round_and_is_drawn_by_its_leader_once() -> None:
    # The shorter a run, the denser its faults, so that it has some of each kind.
    simulation = Simulation(SEED, ROOMS, quiet_s=OFTEN_S if DAYS <= 1 else 6 * 3600)
    rounds = simulation.run(DAYS)
    print(dict(rounds), dict(simulation.faults))  # noqa: T201 - a long run says what it did
    assert simulation.faults.keys() == FAULTS.keys()
    assert min(rounds[phase] for phase in ("open", "drawn", "settled", "skipped", "void")) > 0


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (Rules(fence=False), "writes where"),
        (Rules(skips=False), "has no row"),
        (Rules(inbox=False), "is paid twice"),
    ],
)
def test_without_a_safeguard_something_is_found(rules: Rules, found: str) -> None:
    with pytest.raises(BrokenError, match=found):
        Simulation(SEED, rules=rules, quiet_s=MUCH_TROUBLE_S).run(1)


def test_a_leader_that_trusts_its_vote_to_its_very_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TRUST_MARGIN_S", 0.0)
    with pytest.raises(BrokenError, match="two believe"):
        Simulation(SOON_SEED, quiet_s=MUCH_TROUBLE_S).run(RARE_DAYS)
