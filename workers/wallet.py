"""Credits the winners of settled rounds."""

import asyncio

from keno.bootstrap import Platform
from keno.notify.events import PayoutsReady
from keno.wallet.service import CONSUMER


def subscribe(platform: Platform) -> None:
    """Takes up the events of payouts."""
    platform.bus.subscribe(CONSUMER, [PayoutsReady.routing_key], platform.wallet.credit_payouts)


async def run(_platform: Platform, stop: asyncio.Event) -> None:
    """The bus does the work."""
    await stop.wait()
