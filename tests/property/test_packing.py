"""Messages of many events: nothing lost, nothing mixed, and the order of every aggregate kept for every consumer."""

from itertools import combinations
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from keno.infra import cloudevents, packing
from keno.infra.bus import Event
from keno.infra.packing import MESSAGE_EVENTS_MAX, pack

KEYS = ("round.opened", "round.locked", "payouts.ready")
ROUND = ("round.opened", "round.locked", "round.drawn", "round.settled", "payouts.ready")


def _events(kinds: list[tuple[str, int]]) -> list[Event]:
    return [
        Event(UUID(int=number), routing_key, f"room:{room}", 1_790_000_000_000 + number, b'{"v": 1}')
        for number, (routing_key, room) in enumerate(kinds)
    ]


sequences = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 4)), max_size=60).map(_events)


@given(sequences, st.integers(1, 5))
def test_every_consumer_meets_each_aggregate_in_order_whatever_keys_it_takes(events: list[Event], most: int) -> None:
    saved, packing.MESSAGE_EVENTS_MAX = packing.MESSAGE_EVENTS_MAX, most
    try:
        messages = pack(events)
    finally:
        packing.MESSAGE_EVENTS_MAX = saved

    assert sorted(each.id for message in messages for each in message) == [each.id for each in events]
    for message in messages:
        assert 1 <= len(message) <= most
        assert len({each.routing_key for each in message}) == 1
    for count in range(1, len(KEYS) + 1):
        for taken in combinations(KEYS, count):
            met = [each for message in messages if message[0].routing_key in taken for each in message]
            for aggregate in {each.aggregate for each in events}:
                ordered = [each for each in events if each.aggregate == aggregate and each.routing_key in taken]
                assert [each for each in met if each.aggregate == aggregate] == ordered


def test_rooms_that_go_in_step_share_messages_and_a_room_alone_does_not() -> None:
    in_step = _events([(key, room) for room in range(MESSAGE_EVENTS_MAX) for key in ROUND])
    assert [len(message) for message in pack(in_step)] == [MESSAGE_EVENTS_MAX] * len(ROUND)
    alone = _events([(key, 0) for _ in range(10) for key in ROUND])
    assert len(pack(alone)) == len(alone)


@given(sequences.filter(bool))
def test_a_message_holds_its_events_unchanged(events: list[Event]) -> None:
    assert cloudevents.decode(cloudevents.encode(events)) == events


@given(st.binary() | st.sampled_from([b"[]", b"{}", b'[{"specversion": "1.0"}]', b"null"]))
def test_what_is_no_batch_of_events_is_seen_to_be_none(body: bytes) -> None:
    assert cloudevents.decode(body) is None


def test_a_message_reads_as_the_standard_says() -> None:
    event = Event(UUID(int=7), "round.settled", "room:1", 1_790_000_000_123, b'{"v": 1, "round": "9"}')

    assert cloudevents.encode([event]).decode() == (
        '[{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000007","source":"/keno","type":"keno.round.settled",'
        '"subject":"room:1","time":"2026-09-21T14:13:20.123000Z","datacontenttype":"application/json",'
        '"data":{"v": 1, "round": "9"}}]'
    )
