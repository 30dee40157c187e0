"""What a tick has for its followers: one write for each, nothing twice, nothing after leaving."""

from __future__ import annotations

import asyncio

from gateway.live.fanout import EVERYBODY, WRITES_AT_ONCE, Channel, Outgoing, deliver


class Recorder:
    """Stands for a connection, and keeps what is written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def put(self, data: bytes) -> None:
        self.writes.append(data)


def channel(name: str, *followers: Recorder, joined: int = 5) -> Channel:
    made = Channel(name, name)
    made.followers.update(dict.fromkeys((each.put for each in followers), joined))
    return made


async def test_each_gets_in_one_write_what_the_channels_it_follows_have_in_their_order() -> None:
    first, both, second, neither = (Recorder() for _ in range(4))
    one, two = channel("one", first, both), channel("two", both, second)
    channel("three", neither)
    await deliver([Outgoing(one, 6, b"1"), Outgoing(two, 6, b"2")])
    assert [each.writes for each in (first, both, second, neither)] == [[b"1"], [b"12"], [b"2"], []]


async def test_who_leaves_or_joins_anew_while_others_are_written_to_gets_nothing_that_it_has_or_did_not_ask_for() -> (
    None
):
    for others in (0, 1):
        followers = [Recorder() for _ in range(WRITES_AT_ONCE + 3)]
        *_, left, rejoined, stayed = followers
        followed = channel("one", *followers)
        beside = channel("two", *followers)
        outgoing = [Outgoing(followed, 6, b"1"), Outgoing(beside, 6, b"2")][: others + 1]
        delivering = asyncio.create_task(deliver(outgoing))
        await asyncio.sleep(0)
        assert followers[0].writes
        assert not stayed.writes
        del followed.followers[left.put]
        followed.followers[rejoined.put] = 6
        await delivering
        of_beside = [b"2"] if others else []
        assert (left.writes, rejoined.writes) == (of_beside, of_beside)
        assert stayed.writes == [b"12" if others else b"1"]


async def test_a_snapshot_for_everybody_reaches_those_who_joined_at_its_number_too() -> None:
    early, late = Recorder(), Recorder()
    followed = channel("one", early)
    followed.followers[late.put] = 9
    await deliver([Outgoing(followed, EVERYBODY, b"snapshot")])
    assert (early.writes, late.writes) == ([b"snapshot"], [b"snapshot"])
