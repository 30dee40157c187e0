"""What PostgreSQL knows and every request asks for: a copy in Redis for all processes, and in each for a moment.

A change is told to every process at once. Nothing relies on that: a copy is believed COPY_MS and held in a process
HELD_MS, less than a second together, so that a change that nobody told of is seen within a second too. PostgreSQL is
asked where Redis has no copy, has lost its memory, or does not answer.

Copies are sealed under a key of the platform's: who can write to Redis can't make up an operator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.infra import keywrap

HELD_MS: Final = 400
COPY_MS: Final = 500
AGE_MS: Final = 1_000
"""A change is seen everywhere within this."""
assert HELD_MS + COPY_MS < AGE_MS  # noqa: S101 - as the docstring says
FOR_GOOD_MS: Final = 86_400_000
"""How long copies are kept of what never changes."""
ENTRIES_MAX: Final = 4_096

_CHANNEL: Final = "keno:changes"
_CLOCKS_APART_MS: Final = 10_000
_LISTEN_S: Final = 0.3
_PAUSE_S: Final = 0.5
_T = TypeVar("_T")
_log = structlog.get_logger("keno.cache")


class Cache:
    """The copies in Redis and who listens for changes. `redis` is a client of its own with short timeouts."""

    def __init__(self, redis: Redis, key: bytes) -> None:
        self._redis = redis
        self._key = key
        self._kinds: dict[str, Kept[object]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._silent_until_s = 0.0

    def kept(
        self,
        kind: str,
        load: Callable[[str], Awaitable[bytes | None]],
        read: Callable[[bytes], _T],
        *,
        copy_ms: int = COPY_MS,
    ) -> Kept[_T]:
        """Values of one kind: `load` asks PostgreSQL for the bytes of one by its id, `read` makes it of them."""
        made = Kept(self, kind, load, read, copy_ms)
        self._kinds[kind] = made  # type: ignore[assignment] # a kind is only told to forget
        return made

    async def changed(self, kind: str, *ids: str) -> None:
        """Tell everybody, after the commit, that values have changed. Where Redis is away they see it by themselves."""
        for value_id in ids:
            self._forget(kind, value_id)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for value_id in ids:
                    pipeline.delete(_name(kind, value_id))
                    pipeline.publish(_CHANNEL, f"{kind} {value_id}")
                await pipeline.execute()
        except (RedisError, OSError) as failure:
            _log.warning("change.untold", kind=kind, failure=repr(failure))

    async def close(self) -> None:
        """Listen no longer, and load nothing. Nobody asks any more."""
        working = {task for kind in self._kinds.values() for task in kind.tasks}
        working |= set() if self._listening is None else {self._listening}
        while working:
            for task in working:
                task.cancel()
            # A cancellation that meets an answer of Redis can get lost in its client.
            _, working = await asyncio.wait(working, timeout=1.0)
        await self._redis.aclose()

    def listen(self) -> None:
        """Begin to listen for changes, unless this process does; again where that has failed."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="cache")

    async def copy_of(self, kind: str, value_id: str, copy_ms: int) -> tuple[bytes | None, int | None]:
        """The copy of a value, None where there is none to be had; and Redis's clock, None where it does not answer."""
        if time.monotonic() < self._silent_until_s:
            return None, None
        name = _name(kind, value_id)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.get(name)
                pipeline.time()
                sealed, (redis_s, redis_us) = await pipeline.execute()
        except (RedisError, OSError):
            # Who asked has waited for it once; the others need not.
            self._silent_until_s = time.monotonic() + AGE_MS / 1_000
            return None, None
        redis_ms = redis_s * 1_000 + redis_us // 1_000
        if not isinstance(sealed, bytes):
            return None, redis_ms
        try:
            opened = keywrap.unwrap(self._key, sealed, name.encode())
        except keywrap.UnwrapError:
            _log.warning("copy.not_ours", kind=kind)
            return None, redis_ms
        age_ms = time.time_ns() // 1_000_000 - int.from_bytes(opened[:8], "big")
        # Its expiry is Redis's to keep; this is against copies that somebody has kept and put back.
        return (opened[8:] if -_CLOCKS_APART_MS < age_ms < copy_ms + _CLOCKS_APART_MS else None), redis_ms

    async def keep(self, kind: str, value_id: str, value: bytes, until_ms: int) -> None:
        """Put a copy into Redis, where it answers, that is believed until then by Redis's clock.

        A time and no duration: Redis may stall and take the copy long after this gave it up.
        """
        if time.monotonic() < self._silent_until_s:
            return
        name, now_ms = _name(kind, value_id), time.time_ns() // 1_000_000
        sealed = keywrap.wrap(self._key, now_ms.to_bytes(8, "big") + value, name.encode())
        try:
            await self._redis.set(name, sealed, pxat=until_ms)
        except (RedisError, OSError):
            self._silent_until_s = time.monotonic() + AGE_MS / 1_000

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as changes:
                    await changes.subscribe(_CHANNEL)
                    self._forget_all()
                    while True:
                        message = await changes.get_message(ignore_subscribe_messages=True, timeout=_LISTEN_S)
                        if message is not None:
                            # Whoever else can publish must not end this with bytes that are no text.
                            self._forget(*message["data"].decode(errors="replace").partition(" ")[::2])
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_S)

    def _forget(self, kind: str, value_id: str) -> None:
        if kind in self._kinds:
            self._kinds[kind].forget(value_id)

    def _forget_all(self) -> None:
        for kind in self._kinds.values():
            kind.forget_all()


class Kept(Generic[_T]):
    """The values of one kind that this process holds. Their number is bounded, so that invented ids fill no memory."""

    def __init__(
        self,
        cache: Cache,
        kind: str,
        load: Callable[[str], Awaitable[bytes | None]],
        read: Callable[[bytes], _T],
        copy_ms: int,
    ) -> None:
        self._cache = cache
        self._kind = kind
        self._load = load
        self._read = read
        self._copy_ms = copy_ms
        self._entries: dict[str, tuple[float, _T | None]] = {}
        self._loading: dict[str, asyncio.Task[_T | None]] = {}
        self.tasks: set[asyncio.Task[_T | None]] = set()
        """What is loading, forgotten or not."""
        self.told = asyncio.Event()
        """Set when a value has changed, for who follows them; to be cleared by that one."""

    async def find(self, value_id: str) -> _T | None:
        """The value of this id; None where there is none. Raises what `load` raises."""
        entry = self._entries.get(value_id)
        if entry is not None and time.monotonic() < entry[0]:
            return entry[1]
        loading = self._loading.get(value_id)
        if loading is None:
            self._cache.listen()
            loading = asyncio.create_task(self._fetch(value_id))
            self._loading[value_id] = loading
            self.tasks.add(loading)
            loading.add_done_callback(lambda task: self._ended(value_id, task))
        # Shielded: a caller that goes away must not take the answer from those who wait with it.
        return await asyncio.shield(loading)

    async def changed(self, *ids: str) -> None:
        """Tell everybody, after the commit, that values have changed."""
        await self._cache.changed(self._kind, *ids)

    def forget(self, value_id: str) -> None:
        """Hold a value no longer, nor one that is on its way: it may have been asked for before the change."""
        self._entries.pop(value_id, None)
        self._loading.pop(value_id, None)
        self.told.set()

    def forget_all(self) -> None:
        """Hold nothing."""
        self._entries.clear()
        self._loading.clear()
        self.told.set()

    async def _fetch(self, value_id: str) -> _T | None:
        began_s = time.monotonic()
        found, redis_ms = await self._cache.copy_of(self._kind, value_id, self._copy_ms)
        if found is None:
            began_s = time.monotonic()
            found = await self._load(value_id)
            if found is not None and redis_ms is not None:
                await self._cache.keep(self._kind, value_id, found, redis_ms + self._copy_ms)
        value = None if found is None else self._read(found)
        if self._loading.get(value_id) is asyncio.current_task():
            if len(self._entries) >= ENTRIES_MAX:
                self._entries.clear()
            self._entries[value_id] = began_s + HELD_MS / 1_000, value
        return value

    def _ended(self, value_id: str, task: asyncio.Task[_T | None]) -> None:
        self.tasks.discard(task)
        if self._loading.get(value_id) is task:
            del self._loading[value_id]
        if not task.cancelled():
            # Whoever waited has it; nobody may be left to.
            task.exception()


def _name(kind: str, value_id: str) -> str:
    return f"keno:copy:{kind}:{value_id}"
