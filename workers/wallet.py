"""Credits the winners of settled rounds, and refunds the stakes of void ones."""

from collections import defaultdict

from keno.bootstrap import Platform
from keno.infra.bus import Event
from keno.notify.events import PayoutsReady, RoundVoided
from keno.wallet.service import CONSUMER

ROUTING_KEYS = (PayoutsReady.routing_key, RoundVoided.routing_key)


def subscribe(platform: Platform) -> None:
    """Handles the events in this process, once the bus has started."""
    handlers = {
        PayoutsReady.routing_key: platform.wallet.credit_payouts,
        RoundVoided.routing_key: platform.wallet.refund_stakes,
    }

    async def handle(*events: Event) -> None:
        by_key = defaultdict(list)
        for event in events:
            by_key[event.routing_key].append(event)
        for routing_key, of_key in by_key.items():
            await handlers[routing_key](*of_key)

    platform.bus.subscribe(CONSUMER, ROUTING_KEYS, handle)
