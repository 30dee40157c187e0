"""Records settled rounds in the operators' figures."""

import asyncio

from keno.bootstrap import Platform
from keno.notify.events import RoundSettled
from keno.reporting.service import CONSUMER


def subscribe(platform: Platform) -> None:
    """Takes up the events of settled rounds."""
    platform.bus.subscribe(CONSUMER, [RoundSettled.routing_key], platform.reporting.record_round)


async def run(_platform: Platform, stop: asyncio.Event) -> None:
    """The bus does the work."""
    await stop.wait()
