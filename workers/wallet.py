"""Credits the winners of settled rounds, and refunds the stakes of void ones."""

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

    async def handle(event: Event) -> None:
        await handlers[event.routing_key](event)

    platform.bus.subscribe(CONSUMER, ROUTING_KEYS, handle)
