"""Credits the winners of settled rounds."""

from keno.bootstrap import Platform
from keno.notify.events import PayoutsReady
from keno.wallet.service import CONSUMER

ROUTING_KEYS = (PayoutsReady.routing_key,)


def subscribe(platform: Platform) -> None:
    """Handles the events in this process, once the bus has started."""
    platform.bus.subscribe(CONSUMER, ROUTING_KEYS, platform.wallet.credit_payouts)
