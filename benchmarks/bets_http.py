"""Bets over HTTP: the bet lane in a process of its own beside the usual stack in another, on the same servers."""

import asyncio
import json
import random
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from uuid import UUID

from redis.asyncio import Redis

from benchmarks import http_load, report
from benchmarks.bets_house import House, house, ordered_id
from benchmarks.http_load import Load
from benchmarks.peers import pgbench
from benchmarks.peers.pgbench import Pgbench
from benchmarks.processes import free_port, python, running
from benchmarks.report import Row
from benchmarks.servers import ServerCpu, Servers, process_cpu_seconds
from keno.identity.service import IdentityService
from keno.identity.signature import HmacSecret
from keno.infra.cache import Cache
from keno.infra.keyfiles import load_keys
from keno.infra.postgres import create_pool
from keno.risk.rates import PER_SECOND_MAX

METHOD = (
    "HTTP: `keno run lane` against FastAPI, each one process, requests signed before the clock starts; both check the"
    " signature, spend the nonce, hold to a rate and sign the answer. Runs of one bet a request last about as long on "
    "either side, so that what else the machine does meets both alike. The peer's batch is a transaction a bet. CPU of"
    " a service is that of its process; Redis, which both ask once a request, is left out. Half load is half of what "
    "the side did without a pause in the run before."
)
PEER = "FastAPI, SQLAlchemy"
PLAYERS = 1_000
BATCH = 1_000
REQUESTS_MIN = 500
CONNECTIONS = (http_load.CONNECTIONS, 2 * http_load.CONNECTIONS)
_random = random.Random(11)


@dataclass
class Side:
    """A service that takes bets, its process, and whose books they go to."""

    books: House | Pgbench
    operator_key: tuple[str, HmacSecret]
    room: UUID
    port: int
    process: asyncio.subprocess.Process
    stores: bool = True
    """Whether bets reach the database; else it is left out."""

    def request(self, path: str, body: bytes) -> bytes:
        """A signed request as it goes over the wire."""
        return http_load.signed(self.port, *self.operator_key, path, body)

    def bet(self) -> dict[str, object]:
        """A new bet."""
        return {
            "transaction_id": ordered_id(),
            "player": str(_random.randint(1, PLAYERS)),
            "picks": _random.sample(range(1, 81), _random.randint(1, 10)),
            "stake_minor": 100 * _random.randint(1, 100),
            "currency": "EUR",
            "room": str(self.room),
        }

    def singles(self, number: int) -> list[bytes]:
        """Requests of one bet each."""
        return [self.request("/v1/bets", json.dumps(self.bet()).encode()) for _ in range(number)]

    def batches(self, number: int) -> list[bytes]:
        """Requests of BATCH bets each."""
        return [
            self.request("/v1/bets/batch", json.dumps({"bets": [self.bet() for _ in range(BATCH)]}).encode())
            for _ in range(number)
        ]

    async def measure(self, requests: list[bytes], bets: int, connections: int, rate: float | None = None) -> "Run":
        """Sends the requests; SystemExit where not all of the `bets` were accepted."""
        service_before = process_cpu_seconds(self.process.pid)
        async with ServerCpu(self.books.database.owner) as cpu:
            load = await http_load.run(self.port, requests, _accepted, connections=connections, rate=rate)
        service_us = (process_cpu_seconds(self.process.pid) - service_before) / bets * 1e6
        if load.accepted != bets:
            raise SystemExit(f"port {self.port}: {load.accepted} of {bets} bets were accepted over HTTP")
        if not self.stores:
            pass
        elif isinstance(self.books, House):
            self.books.acknowledged += bets
        else:
            self.books.placed += bets
        return Run(load, service_us, cpu.seconds / bets * 1e6)


@dataclass(frozen=True)
class Run:
    """Microseconds of processor time a bet, in the service and in the database."""

    load: Load
    service_us: float
    database_us: float

    def both_us(self) -> float:
        return self.service_us + self.database_us

    def p50_ms(self) -> float:
        return self.load.percentile_ms(0.5)

    def p99_ms(self) -> float:
        return self.load.percentile_ms(0.99)


def _accepted(head: bytes, body: bytes) -> int:
    status = head[9:12]
    if status == b"201":
        return 1
    return body.count(b'"status":201') if status == b"200" else 0


@dataclass
class Runs:
    """What one of the two did: bets a request by the number of connections, also without its database; batches; and
    bets a request at half of its load.
    """

    side: Side
    stubbed_side: Side
    batches_a_run: int
    run_s: float
    """How long a run of one bet a request lasts, but for the first."""
    singles: dict[int, list[Run]] = field(default_factory=lambda: {each: [] for each in CONNECTIONS})
    stubbed: dict[int, list[Run]] = field(default_factory=lambda: {each: [] for each in CONNECTIONS})
    batches: list[Run] = field(default_factory=list)
    paced: list[Run] = field(default_factory=list)
    _rates: dict[tuple[int, int], float] = field(default_factory=dict)
    """Requests a second of the last run, by port and connections."""

    async def run(self) -> None:
        """One run of each: of REQUESTS_MIN at first, then of as many as last `run_s` by the run before."""
        side, few, batches = self.side, CONNECTIONS[0], self.batches_a_run
        for connections in CONNECTIONS:
            await self._singles(side, self.singles[connections], connections)
        half_rate = self._rates[side.port, few] / 2
        count = max(REQUESTS_MIN, int(half_rate * self.run_s))
        self.batches.append(await side.measure(side.batches(batches), batches * BATCH, 4))
        self.paced.append(await side.measure(side.singles(count), count, few, half_rate))
        for connections in CONNECTIONS:
            await self._singles(self.stubbed_side, self.stubbed[connections], connections)

    async def _singles(self, side: Side, runs: list[Run], connections: int) -> None:
        count = max(REQUESTS_MIN, int(self._rates.get((side.port, connections), 0) * self.run_s))
        runs.append(await side.measure(side.singles(count), count, connections))
        self._rates[side.port, connections] = runs[-1].load.rate

    async def forget(self) -> None:
        """Leaves out what was run so far, which filled caches and made plans, but for how fast it was."""
        for runs in (*self.singles.values(), *self.stubbed.values(), self.batches, self.paced):
            runs.clear()
        await self.side.books.database.owner.execute("VACUUM ANALYZE")


async def rows(found: Servers, runs: int, run_s: float) -> tuple[list[Row], list[str]]:
    """The table of both endpoints, and what is wrong in anybody's books."""
    async with AsyncExitStack() as stack:
        ours = Runs(*await stack.enter_async_context(_ours(found)), batches_a_run=16, run_s=run_s)
        peer = Runs(*await stack.enter_async_context(_peer(found)), batches_a_run=4, run_s=run_s)
        for turn in range(runs + 1):
            for each in (ours, peer):
                await each.run()
                if turn == 0:
                    await each.forget()
        objections = [*await ours.side.books.objections(), *await peer.side.books.objections()]
    return _table(ours, peer), objections


def _service_us(run: Run) -> float:
    return run.service_us


def _table(ours: Runs, peer: Runs) -> list[Row]:
    table = []
    for each in CONNECTIONS:
        what, mine, theirs = f"a bet a request, {each} conn", ours.singles[each], peer.singles[each]
        rate, its_rate = (median(run.load.rate for run in runs) for runs in (mine, theirs))
        table += [
            _compared(f"{what}, service + database", mine, theirs, Run.both_us, 8),
            _compared(f"{what}, service", mine, theirs, _service_us, None),
            report.compare_rate(f"{what}, full load", "requests/s", rate, its_rate, PEER, None),
        ]
    p50, p99 = "p50 at half of its own full load", "p99 at half of its own full load"
    p99_ms = median(run.p99_ms() for run in ours.paced)
    return [
        *table,
        *(
            _compared(f"a bet a request, {each} conn, no database", runs, peer.stubbed[each], _service_us, 12)
            for each, runs in ours.stubbed.items()
        ),
        _compared("1,000 bets a request, service", ours.batches, peer.batches, _service_us, 15),
        _compared("1,000 bets a request, service + database", ours.batches, peer.batches, Run.both_us, None),
        _compared(p50, ours.paced, peer.paced, Run.p50_ms, None, "ms"),
        _compared(p99, ours.paced, peer.paced, Run.p99_ms, None, "ms"),
        report.compare_costs("p99 at half load", "ms", p99_ms, 30.0, "limit", 1.0),
    ]


def _compared(
    what: str,
    mine: list[Run],
    theirs: list[Run],
    cost: Callable[[Run], float],
    target: float | None,
    unit: str = "us of CPU/bet",
) -> Row:
    ours, its = (median(cost(run) for run in runs) for runs in (mine, theirs))
    return report.compare_costs(what, unit, ours, its, PEER, target)


@asynccontextmanager
async def _ours(found: Servers) -> AsyncIterator[tuple[Side, Side]]:
    """The lane, and one without a database."""
    key_id = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="keno-bench-") as folder:
        keys = load_keys(Path(folder), create=True)
        async with house(found, PLAYERS) as books, Redis.from_url(found.redis_url) as redis:
            async with await create_pool(books.database.app_url, connections_max=1) as pool:
                identity = IdentityService(pool, redis, keys.platform, Cache(redis, keys.platform))
                secret = HmacSecret(await identity.add_hmac_key(books.operator_id, key_id, actor="benchmark"))
                await identity.limit_rate(books.operator_id, PER_SECOND_MAX, actor="benchmark")
            environment = {
                "KENO_DATABASE_URL": books.database.app_url,
                "KENO_REDIS_URL": found.redis_url,
                "KENO_KEYS_DIR": folder,
            }
            port, other = free_port(), free_port()
            async with (
                running(python("keno", "run", "lane"), port, environment | _listening(port)) as process,
                running(python("benchmarks.stubbed_gateway"), other, environment | _listening(other)) as stub,
            ):
                side = Side(books, (key_id, secret), books.room_id, port, process)
                yield side, replace(side, port=other, process=stub, stores=False)


def _listening(port: int) -> dict[str, str]:
    return {"KENO_LANE_PORT": str(port), "KENO_PUBLIC_ORIGINS": f"http://127.0.0.1:{port}"}


@asynccontextmanager
async def _peer(found: Servers) -> AsyncIterator[tuple[Side, Side]]:
    """The peer, and one without a database."""
    key_id, secret = f"bench-{secrets.token_hex(4)}", secrets.token_bytes(32)
    async with pgbench.peer(found, PLAYERS) as books:
        port, other = free_port(), free_port()
        environment = {
            "PEER_DATABASE_URL": books.database.owner_url,
            "PEER_REDIS_URL": found.redis_url,
            "PEER_OPERATOR": str(books.operator),
            "PEER_KEY_ID": key_id,
            "PEER_SECRET": secret.hex(),
        }
        module = "benchmarks.peers.fastapi_bets"
        async with (
            running(python(module, str(port)), port, environment) as process,
            running(python(module, str(other)), other, environment | {"PEER_STUBBED": "1"}) as stub,
        ):
            side = Side(books, (key_id, HmacSecret(secret)), books.room, port, process)
            yield side, replace(side, port=other, process=stub, stores=False)
