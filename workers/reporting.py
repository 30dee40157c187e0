"""Records settled rounds in the operators' figures."""

from keno.bootstrap import Platform
from keno.notify.events import RoundSettled
from keno.reporting.service import CONSUMER

ROUTING_KEYS = (RoundSettled.routing_key,)


def subscribe(platform: Platform) -> None:
    """Handles the events in this process, once the bus has started."""
    platform.bus.subscribe(CONSUMER, ROUTING_KEYS, platform.reporting.record_round)
