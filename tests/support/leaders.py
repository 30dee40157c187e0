"""Three schedulers that share the shards of an installation, faults that end or stop them, and what is known of it."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
from redis.asyncio import Redis

from keno.game.profiles import shipped_paytable
from keno.infra.embedded import EmbeddedServers
from keno.infra.keyfiles import load_keys
from keno.infra.migrate import migrate
from keno.infra.postgres import create_pool
from keno.rounds.service import RoomService
from support.installation import Installation, installed
from support.nursery import Nursling
from support.ports import free_ports
from support.rounds import room_rules

SCHEDULERS = ("scheduler one", "scheduler two", "scheduler three")
SHARDS = 4
ROOMS = 8
PAUSE_S = (3.5, 6.0)
"""Beyond a lease, so that one that is paused mostly wakes up replaced."""
_START_S = 20
"""The most that a process needs to start."""
_BEFORE = 3
_WITNESS = Path(__file__).with_name("witness.sql")


@dataclass(frozen=True)
class Orphan:
    """A shard whose leader was ended or stopped at `at_s`, Unix time; `after` are the faults right before."""

    fault: str
    shard: int
    epoch: int
    at_s: float
    after: tuple[str, ...]


@dataclass
class Arena:
    """The installation, whose servers are its own, and the faults it has seen."""

    installation: Installation
    servers: EmbeddedServers
    taste: random.Random
    processes: dict[str, Nursling] = field(default_factory=dict)
    health_ports: dict[str, int] = field(
        default_factory=lambda: dict(zip(SCHEDULERS, free_ports(len(SCHEDULERS)), strict=True))
    )
    orphans: list[Orphan] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    database_outages_s: list[tuple[float, float]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    _pauses: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, name: str) -> None:
        """Starts one of SCHEDULERS, or the worker of this name."""
        environment = self.installation.environment()
        if name in SCHEDULERS:
            environment["KENO_HEALTH_PORT"] = str(self.health_ports[name])
        self.processes[name] = Nursling(
            ["run", "worker", "scheduler" if name in SCHEDULERS else name], environment, self.installation.log
        )

    def end(self, name: str, number: signal.Signals) -> int:
        self.processes[name].send_signal(number)
        return self.processes[name].wait()

    async def until_ready(self, scheduler: str) -> None:
        """Returns once Kubernetes would go on with the next of a rolling restart."""
        async with httpx.AsyncClient() as http:
            for _ in range(600):
                with suppress(httpx.TransportError):
                    url = f"http://127.0.0.1:{self.health_ports[scheduler]}/readyz"
                    if (await http.get(url)).is_success:
                        return
                await asyncio.sleep(0.05)
        raise AssertionError(f"{scheduler} is not ready: {self.installation.log_tail()}")

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.servers.database_url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        async with Redis.from_url(self.servers.redis_url) as client:
            yield client

    async def leaders(self) -> dict[int, tuple[int, str | None]]:
        """The epoch of each shard, and the scheduler that holds it."""
        names = {str(process.pid): name for name, process in self.processes.items()}
        async with self.owner() as owner:
            rows = await owner.fetch("SELECT shard, epoch, split_part(holder, ':', 2) AS pid FROM leases")
        return {row["shard"]: (row["epoch"], names.get(row["pid"] or "")) for row in rows}

    async def until_led(self) -> None:
        """Returns once each shard has a leader that is not down."""
        for _ in range(600):
            holders = [holder for _, holder in (await self.leaders()).values()]
            if len(holders) == SHARDS and all(holder in SCHEDULERS and holder not in self.down for holder in holders):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{await self.leaders()}: {self.installation.log_tail()}")

    async def choose(self) -> str:
        """A scheduler that leads, once there is one beside which another is alive."""
        for _ in range(600):
            self.supervise()
            leading = {holder for _, holder in (await self.leaders()).values()} & set(SCHEDULERS) - self.down
            if leading and len(await self._alive() - self.down) > 1:
                return self.taste.choice(sorted(leading))
            await asyncio.sleep(0.1)
        raise AssertionError(f"nobody leads: {self.installation.log_tail()}")

    async def _alive(self) -> set[str]:
        names = {str(process.pid): name for name, process in self.processes.items()}
        async with self.owner() as owner:
            beating = (
                "SELECT split_part(holder, ':', 2) FROM schedulers WHERE beat > clock_timestamp() - interval '2 s'"
            )
            return {names[pid] for (pid,) in await owner.fetch(beating) if pid in names}

    async def note_orphans(self, fault: str, scheduler: str) -> None:
        """Notes what a scheduler leads, right before it does not any more."""
        led = await self.leaders()
        self.orphans += [
            Orphan(fault, shard, epoch, time.time(), tuple(self.faults[-_BEFORE:]))
            for shard, (epoch, holder) in led.items()
            if holder == scheduler
        ]

    # ---- faults ----

    async def kill(self) -> None:
        scheduler = await self.choose()
        await self.note_orphans("kill", scheduler)
        self.end(scheduler, signal.SIGKILL)
        self.start(scheduler)

    async def pause(self) -> None:
        if len(self.down) == len(SCHEDULERS) - 1:
            await self.kill()
            return
        scheduler = await self.choose()
        await self.note_orphans("pause", scheduler)
        self.down.add(scheduler)
        process = self.processes[scheduler]
        process.send_signal(signal.SIGSTOP)

        async def wake() -> None:
            await asyncio.sleep(self.taste.uniform(*PAUSE_S))
            process.send_signal(signal.SIGCONT)
            self.down.discard(scheduler)

        self._pauses.add(asyncio.create_task(wake()))

    async def terminate(self) -> None:
        scheduler = await self.choose()
        await self.note_orphans("hand-over", scheduler)
        status = await asyncio.to_thread(self.end, scheduler, signal.SIGTERM)
        assert status == 0, f"{status}: {self.installation.log_tail()}"
        self.start(scheduler)

    async def stall(self) -> None:
        """Kills a leader of whose transaction a session is left behind, in which nothing happens any more."""
        scheduler = await self.choose()
        led = [(shard, epoch) for shard, (epoch, holder) in (await self.leaders()).items() if holder == scheduler]
        if not led:
            return
        url = self.servers.database_url_as("keno_app")
        pool = await create_pool(url, connections_max=1, idle_in_transaction_timeout_ms=2_000)
        session = await pool.acquire()
        await session.transaction().start()
        await session.fetchval("SELECT lease_held($1, $2)", *led[0])
        await self.note_orphans("kill, transaction left open", scheduler)
        self.end(scheduler, signal.SIGKILL)
        self.start(scheduler)
        await asyncio.sleep(3)
        pool.terminate()

    async def empty_redis(self) -> None:
        async with self.redis() as redis:
            await redis.flushall()

    async def stop_redis(self) -> None:
        """And a leader meanwhile."""
        async with self.redis() as redis:
            await redis.shutdown(nosave=True)
        try:
            await asyncio.sleep(self.taste.uniform(0.5, 2))
            scheduler = await self.choose()
            await self.note_orphans("kill, Redis down", scheduler)
            self.end(scheduler, signal.SIGKILL)
            self.start(scheduler)
            await asyncio.sleep(self.taste.uniform(2, 4))
        finally:
            await (await EmbeddedServers.start(self.installation.data_dir)).stop()

    async def hang_redis(self) -> None:
        async with self.redis() as redis:
            pid = (await redis.info("server"))["process_id"]
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self.taste.uniform(1, 4))
        os.kill(pid, signal.SIGCONT)

    async def step_redis_forward(self) -> None:
        """All that was to expire soon expires at once."""
        async with self.redis() as redis:
            for key in await redis.keys("{keno:lease}:*"):
                await redis.pexpire(key, 1)

    async def step_redis_back(self) -> None:
        """Nothing that was to expire expires any more, until it is renewed."""
        async with self.redis() as redis:
            for key in await redis.keys("{keno:lease}:*"):
                await redis.persist(key)

    async def crash_postgres(self) -> None:
        began_s = time.time()
        # What `pg_ctl stop -m immediate` sends.
        pid = int((self.installation.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        await asyncio.sleep(0.5)
        await (await EmbeddedServers.start(self.installation.data_dir)).stop()
        self.database_outages_s.append((began_s, time.time()))

    async def finish(self) -> None:
        """Waits for the paused to wake up, and for all shards to be led."""
        await asyncio.gather(*self._pauses)
        self.supervise()
        await self.until_led()

    def supervise(self) -> None:
        """Starts again what ended because PostgreSQL crashed while it started; fails where another has ended."""
        for name, process in list(self.processes.items()):
            if process.poll() is None:
                continue
            began_s = process.started_s
            excused = any(crash - _START_S < began_s < back for crash, back in self.database_outages_s)
            assert excused, f"{name} ended: {self.installation.log_tail()}"
            self.start(name)

    # ---- what came of it ----

    async def failovers(self) -> list[tuple[float, Orphan, bool]]:
        """How many seconds each orphan had no leader, and whether PostgreSQL was down in a part of them.

        One that was paused, and woke up before another had taken its shard, leads on.
        """
        async with self.owner() as owner:
            taken = await owner.fetch("SELECT shard, epoch, extract(epoch FROM at)::float8 AS at_s FROM taken_leases")
            written = await owner.fetch("SELECT shard, epoch, extract(epoch FROM at)::float8 AS at_s FROM led_writes")
        found = []
        for orphan in self.orphans:
            led_s = [row["at_s"] for row in taken if row["shard"] == orphan.shard and row["epoch"] > orphan.epoch]
            led_s += [
                row["at_s"]
                for row in written
                if row["shard"] == orphan.shard
                and row["epoch"] == orphan.epoch
                and row["at_s"] > orphan.at_s + PAUSE_S[0]
            ]
            until_s = min(led_s)
            outage = any(orphan.at_s < end and until_s > begin for begin, end in self.database_outages_s)
            found.append((until_s - orphan.at_s, orphan, outage))
        return found


FAULTS: dict[str, tuple[int, Callable[[Arena], Awaitable[None]]]] = {
    "kill": (40, Arena.kill),
    "pause": (30, Arena.pause),
    "hand-over": (8, Arena.terminate),
    "kill, transaction left open": (5, Arena.stall),
    "Redis is emptied": (5, Arena.empty_redis),
    "kill, Redis down": (3, Arena.stop_redis),
    "Redis hangs": (2, Arena.hang_redis),
    "the clock of Redis steps forward": (3, Arena.step_redis_forward),
    "the clock of Redis steps back": (2, Arena.step_redis_back),
    "PostgreSQL crashes": (2, Arena.crash_postgres),
}
"""How often of a hundred, and what happens."""


def chosen_faults(taste: random.Random, count: int) -> list[str]:
    """First every kind once in some order, then by their weights."""
    once = taste.sample(list(FAULTS), len(FAULTS))
    more = taste.choices(list(FAULTS), [weight for weight, _ in FAULTS.values()], k=max(0, count - len(once)))
    return [*once, *more][:count]


async def _add_rooms(database_url: str) -> None:
    async with await create_pool(database_url) as pool:
        rooms = RoomService(pool, SHARDS)
        for number in range(ROOMS):
            await rooms.add(
                f"room {number}",
                period_ms=2_000,
                lock_lead_ms=500,
                room_rules=room_rules(),
                paytables=[shipped_paytable("94")],
                actor="a test",
            )


@asynccontextmanager
async def opened_arena(seed: int, **more: str) -> AsyncIterator[Arena]:
    """Rooms over all shards, three schedulers that lead them, a vault and a settler."""
    with installed(KENO_SHARDS=str(SHARDS), KENO_EPOCH_ROUNDS="64", **more) as installation:
        servers = await EmbeddedServers.start(installation.data_dir)
        arena = Arena(installation, servers, random.Random(seed))
        try:
            await migrate(servers.database_url)
            load_keys(installation.data_dir / "keys", create=True)
            async with arena.owner() as owner:
                await owner.execute(_WITNESS.read_text())
            for worker in ("vault", "settler"):
                arena.start(worker)
            for scheduler in SCHEDULERS:
                arena.start(scheduler)
            await asyncio.gather(*(arena.until_ready(scheduler) for scheduler in SCHEDULERS))
            await _add_rooms(servers.database_url_as("keno_app"))
            await arena.until_led()
            yield arena
        finally:
            for process in arena.processes.values():
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGKILL)
                process.wait()
            await servers.stop()
