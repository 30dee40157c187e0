"""Tells the live stream what happens to rounds and their money."""

from keno.bootstrap import Platform
from keno.notify.service import CONSUMER, ROUTING_KEYS

__all__ = ["CONSUMER", "ROUTING_KEYS", "subscribe"]


def subscribe(platform: Platform) -> None:
    """Handles the events in this process, once the bus has started."""
    platform.bus.subscribe(CONSUMER, ROUTING_KEYS, platform.notifier.tell)
