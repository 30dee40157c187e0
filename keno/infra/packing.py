"""Which events travel in one message: as many as may, of one routing key, with the order of every aggregate kept. Pure.

Not here: the form of a message (`keno.infra.cloudevents`) and its way (`keno.infra.rabbit_bus`).
"""

from collections.abc import Sequence

from keno.infra.bus import Event

MESSAGE_EVENTS_MAX = 100


def pack(events: Sequence[Event]) -> list[list[Event]]:
    """The messages for a sequence of events. Whoever takes them one after the other, all of them or those of some
    routing keys, meets the events of each aggregate in the order of the sequence.

    Events of different aggregates change places, so that a hundred rooms which open, lock and draw a round each make
    three messages. A room alone makes a message an event: each of its events has another key than the one before.
    """
    messages: list[list[Event]] = []
    newest: dict[str, int] = {}  # by routing key: the last message that has it
    reached: dict[str, int] = {}  # by aggregate: the message that its last event is in
    for event in events:
        place = newest.get(event.routing_key, -1)
        if place < reached.get(event.aggregate, 0) or len(messages[place]) == MESSAGE_EVENTS_MAX:
            place = len(messages)
            messages.append([])
            newest[event.routing_key] = place
        messages[place].append(event)
        reached[event.aggregate] = place
    return messages
