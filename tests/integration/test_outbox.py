"""Events leave once committed, in order, and at least once; their effects happen once."""

import asyncio
import random
import uuid
from collections.abc import Sequence

import asyncpg
import pytest

from keno.infra import outbox, store
from keno.infra.bus import BusError, Event
from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay

RETENTION_MS = 7_200_000
_INSERT = """
    INSERT INTO outbox (routing_key, aggregate, payload)
    SELECT 'round.settled', 'room:' || n % 2, jsonb_build_object('v', 1, 'n', n)
    FROM generate_series(1, $1::integer) AS n
    RETURNING event_id
"""


class RecordingBus(LocalBus):
    """Takes everything, or fails, or waits, and remembers what it was given."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self.published: list[Event] = []
        self.failing = False
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def publish(self, events: Sequence[Event]) -> None:
        self.asked.set()
        await self.answer.wait()
        if self.failing:
            raise BusError("no confirmation")
        self.published += events


async def _unsent_count(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_ms IS NULL")


async def test_committed_events_are_published_in_order_and_marked_as_sent(pool: asyncpg.Pool) -> None:
    ids = [row["event_id"] for row in await pool.fetch(_INSERT, 5)]
    bus = RecordingBus(pool)
    relay = Relay(pool, bus, RETENTION_MS, batch_events_max=3)

    assert [await relay.step() for _ in range(3)] == [3, 2, 0]

    assert [event.id for event in bus.published] == ids
    first = await pool.fetchrow("SELECT * FROM outbox ORDER BY id LIMIT 1")
    assert bus.published[0] == Event(
        id=first["event_id"],
        routing_key="round.settled",
        aggregate="room:1",
        time_ms=first["created_ms"],
        data=b'{"n": 1, "v": 1}',
    )
    assert await _unsent_count(pool) == 0


async def test_an_event_whose_transaction_is_open_or_rolled_back_is_not_published(pool: asyncpg.Pool) -> None:
    bus = RecordingBus(pool)
    relay = Relay(pool, bus, RETENTION_MS)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(_INSERT, 1)
        assert await relay.step() == 0
        await transaction.rollback()

    assert await relay.step() == 0
    assert bus.published == []


async def test_events_that_the_bus_did_not_confirm_stay_unsent_and_are_published_again(pool: asyncpg.Pool) -> None:
    await pool.fetch(_INSERT, 3)
    bus = RecordingBus(pool)
    relay = Relay(pool, bus, RETENTION_MS)
    bus.failing = True
    with pytest.raises(BusError):
        await relay.step()
    assert await _unsent_count(pool) == 3

    bus.failing = False
    assert await relay.step() == 3
    assert await _unsent_count(pool) == 0


async def test_only_one_relay_works_at_a_time_so_that_none_overtakes(pool: asyncpg.Pool) -> None:
    await pool.fetch(_INSERT, 2)
    bus = RecordingBus(pool)
    bus.answer.clear()
    first = asyncio.create_task(Relay(pool, bus, RETENTION_MS, batch_events_max=1).step())
    await bus.asked.wait()

    assert await Relay(pool, bus, RETENTION_MS).step() == 0

    bus.answer.set()
    assert await first == 1
    assert await Relay(pool, bus, RETENTION_MS).step() == 1


async def test_a_relay_that_dies_before_it_marks_leaves_its_events_to_the_next(pool: asyncpg.Pool) -> None:
    (row,) = await pool.fetch(_INSERT, 1)
    bus = RecordingBus(pool)
    bus.answer.clear()
    dying = asyncio.create_task(Relay(pool, bus, RETENTION_MS).step())
    await bus.asked.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying

    bus.answer.set()
    assert await Relay(pool, bus, RETENTION_MS).step() == 1
    assert [event.id for event in bus.published] == [row["event_id"]]


async def test_an_event_is_new_to_each_consumer_once(pool: asyncpg.Pool) -> None:
    event_id = uuid.uuid4()
    async with pool.acquire() as connection:
        assert await store.new_events(connection, "wallet", [event_id]) == [event_id]
        assert await store.new_events(connection, "wallet", [event_id]) == []
        assert await store.new_events(connection, "reporting", [event_id]) == [event_id]


async def test_an_effect_that_was_rolled_back_leaves_its_event_new(pool: asyncpg.Pool) -> None:
    event_id = uuid.uuid4()
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await store.new_events(connection, "wallet", [event_id])
        await transaction.rollback()

        assert await store.new_events(connection, "wallet", [event_id])


async def test_of_deliveries_at_once_one_is_new(pool: asyncpg.Pool) -> None:
    event_ids, taste = [uuid.uuid4() for _ in range(100)], random.Random(1)

    async def handle(ids: list[uuid.UUID]) -> list[uuid.UUID]:
        async with pool.acquire() as connection, connection.transaction():
            return await store.new_events(connection, "wallet", ids)

    # In different orders, and still none waits for one that waits for it.
    found = await asyncio.gather(*(handle(taste.sample(event_ids, len(event_ids))) for _ in range(4)))

    assert sorted(map(len, found)) == [0, 0, 0, len(event_ids)]


async def test_the_new_events_of_a_batch_come_in_its_order(pool: asyncpg.Pool) -> None:
    known, *others = (uuid.uuid4() for _ in range(20))
    async with pool.acquire() as connection:
        await store.new_events(connection, "wallet", [known])

        assert await store.new_events(connection, "wallet", [*others[:5], known, *others[5:]]) == others


@pytest.mark.usefixtures("quick_attempts")
async def test_an_effect_happens_once_however_often_its_event_is_sent(pool: asyncpg.Pool) -> None:
    await pool.fetch(_INSERT, 4)
    fails = iter([True, False, True])

    async def handler(*events: Event) -> None:
        async with pool.acquire() as connection, connection.transaction():
            for event_id in await store.new_events(connection, "reporting", [event.id for event in events]):
                await connection.execute(
                    "INSERT INTO admin_actions (actor, action, subject) VALUES ('test', 'counted', $1)", str(event_id)
                )
            if next(fails, False):
                raise ConnectionResetError("after the effect, before its commit")

    bus = LocalBus(pool)
    bus.subscribe("reporting", ["round.*"], handler)
    rows = await pool.fetch("SELECT event_id FROM outbox")
    relay = Relay(pool, bus, RETENTION_MS)
    assert await relay.step() == 4
    again = [Event(row["event_id"], "round.settled", "room:1", 0, b"{}") for row in rows]
    await bus.publish(again)

    assert await pool.fetchval("SELECT count(*) FROM admin_actions") == 4


_SENT_AGO = """
    INSERT INTO outbox (routing_key, aggregate, payload, created_ms, sent_ms)
    SELECT 'round.settled', 'room:1', '{"v": 1}', now_ms() - $2, CASE WHEN $3 THEN now_ms() END
    FROM generate_series(1, $1::integer)
"""


async def test_sent_events_are_forgotten_once_they_are_past_their_retention_a_part_at_a_time(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FORGET_EVENTS_MAX", 3)
    await pool.execute(_SENT_AGO, 1, 2 * RETENTION_MS, False)
    await pool.execute(_SENT_AGO, 5, 2 * RETENTION_MS, True)
    await pool.execute(_SENT_AGO, 4, RETENTION_MS // 2, True)
    relay = Relay(pool, RecordingBus(pool), RETENTION_MS)

    assert [await relay.forget() for _ in range(3)] == [True, False, False]

    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_ms IS NOT NULL") == 4
    assert await _unsent_count(pool) == 1, "what was not sent is kept however old it is"


async def test_no_service_can_make_the_outbox_forget_its_last_hour(pool: asyncpg.Pool) -> None:
    await pool.execute(_SENT_AGO, 3, 3_000_000, True)
    assert not await Relay(pool, RecordingBus(pool), 0).forget()
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 3


async def test_the_events_of_a_batch_have_ids_of_their_own_which_the_database_and_the_relay_agree_on(
    pool: asyncpg.Pool,
) -> None:
    """Also where the last four bytes of the first id are so high that they begin again at 0."""
    insert = """
        INSERT INTO outbox_batches (first_event_id, routing_key, events, events_count)
        VALUES ($1, 'round.opened', '[["room:1",{"v":1}],["room:2",{"v":2}],["room:3",{"v":3}]]', 3)
    """
    await pool.execute(insert, uuid.UUID("01234567-89ab-4def-8123-4567fffffffe"))
    bus = RecordingBus(pool)

    assert await Relay(pool, bus, RETENTION_MS, batch_events_max=1).step() == 3

    assert [str(event.id)[-8:] for event in bus.published] == ["fffffffe", "ffffffff", "00000000"]
    assert [event.id for event in bus.published] == [row[0] for row in await pool.fetch("SELECT event_id FROM outbox")]
    assert [(event.aggregate, event.data) for event in bus.published] == [
        (f"room:{n}", b'{"v":%d}' % n) for n in (1, 2, 3)
    ]
