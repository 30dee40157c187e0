"""Fan-out of the live stream: one frame of 500 bytes to many connections, and what readers that stall cost the others.

The server is a process of its own with the real hub, connections and Redis; rooms and players are stubbed, which a
broadcast never asks. Clients are raw sockets in this process. Every frame carries when it was published, so that the
latency is from the publication to the read by the client. Processor time is the server's own.

    python -m benchmarks.live [--connections 1000 10000] [--frames 20] [--stalled 1000]
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
import sys
import time
import uuid
from types import SimpleNamespace
from typing import Any

from redis.asyncio import Redis

from benchmarks.servers import found_or_started
from gateway.live.server import serve_live
from keno.infra.redis import create_redis
from keno.notify.streams import Publication, Streams

_HOST = "127.0.0.1"
_FRAME_BYTES = 500
_PAUSE_S = 0.5
# Enough to fill what may wait for a reader that stalls, with the frames of a measurement.
_BURST = 50
_ROOM = "room:00000000-0000-4000-8000-000000000001"
_MASK = b"\0\0\0\0"


class _Rooms:
    async def room(self, room_id: object) -> Any:
        return SimpleNamespace(operator_id=None)

    async def rounds(self, room_id: object, limit: int) -> list[Any]:
        return []


class _Sessions:
    async def listen_for_ends(self) -> Any:
        while True:
            await asyncio.sleep(1)
            yield None

    async def ended_of(self, sessions: object) -> set[str]:
        return set()


async def _serve(redis_url: str, port: int) -> None:
    config = SimpleNamespace(
        public_origins=(), player_origins=(), host=_HOST, live_port=port, proxies_count=0,
        live_connections_max=100_000, live_address_connections_max=100_000,
    )  # fmt: skip
    redis = create_redis(redis_url)
    platform: Any = SimpleNamespace(
        config=config, streams=Streams(redis), rooms=_Rooms(), player_news=None, sessions=_Sessions(), bets=None
    )
    await serve_live(platform, asyncio.Event())


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
            *(loop.create_connection(lambda: _Reader(latencies), _HOST, port) for _ in range(min(100, count - start)))
        )
        readers += [protocol for _, protocol in made]
        await asyncio.gather(*(protocol.ready for _, protocol in made))
    return readers


async def _broadcast(streams: Streams, readers: list[_Reader], frames: int, burst: int = 1) -> None:
    expected = readers[0].received + frames * burst
    for _ in range(frames):
        stamp = b'{"type":"bench","at":%.6f,"pad":"' % time.perf_counter()
        body = stamp + b"x" * (_FRAME_BYTES - len(stamp) - 2) + b'"}'
        await streams.publish([Publication(_ROOM, uuid.uuid4().hex, body) for _ in range(burst)])
        await asyncio.sleep(_PAUSE_S)
    async with asyncio.timeout(60):
        while any(reader.received < expected for reader in readers):  # noqa: ASYNC110 - counts, not events
            await asyncio.sleep(0.05)


async def _measure(redis_url: str, count: int, frames: int, stalled: int) -> None:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.live", "--serve", redis_url, str(port)])  # noqa: ASYNC220, S603
    redis = create_redis(redis_url)
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((_HOST, port)).close()
                break
            await asyncio.sleep(0.05)
        latencies: list[float] = []
        _, empty_mb = _used(server.pid)
        readers = await _connect(port, count, latencies)
        _, full_mb = _used(server.pid)
        streams = Streams(redis)
        before_s, _ = _used(server.pid)
        await _broadcast(streams, readers, frames)
        after_s, _ = _used(server.pid)
        await asyncio.sleep(frames * _PAUSE_S)
        idle_s = _used(server.pid)[0] - after_s
        cpu_us = (after_s - before_s - idle_s) / (frames * count) * 1e6
        _tell(count, latencies, f"{cpu_us:.1f} us a delivered frame, {(full_mb - empty_mb) * 1024 / count:.1f} KB each")
        if stalled:
            latencies.clear()
            await _broadcast(streams, readers, frames, _BURST)
            _tell(count, latencies, f"bursts of {_BURST}")
            for reader in await _connect(port, stalled, []):
                reader.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                reader.transport.pause_reading()
            latencies.clear()
            start_mb = _used(server.pid)[1]
            await _broadcast(streams, readers, frames, _BURST)
            grown_mb = _used(server.pid)[1] - start_mb
            _tell(count, latencies, f"the same beside {stalled} stalled readers: server grew by {grown_mb:.1f} MB")
    finally:
        server.terminate()
        server.wait()
        await _clean(redis)


async def _clean(redis: Redis) -> None:
    stream = f"keno:live:channel:{_ROOM}"
    await redis.delete(stream, f"{stream}:ids", f"{stream}:base")
    await redis.aclose()


def _tell(count: int, latencies: list[float], what: str) -> None:
    p99_ms = statistics.quantiles(latencies, n=100)[98] * 1000
    print(f"{count:6} connections: {what}; p50 {statistics.median(latencies) * 1000:.1f} ms, p99 {p99_ms:.1f} ms")


async def _main(counts: list[int], frames: int, stalled: int) -> None:
    async with found_or_started() as servers:
        for count in counts:
            await _measure(servers.redis_url, count, frames, stalled if count == counts[0] else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1_000, 9_000])
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--stalled", type=int, default=1_000)
    parser.add_argument("--serve", nargs=2)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(_serve(asked.serve[0], int(asked.serve[1])))
    else:
        asyncio.run(_main(asked.connections, asked.frames, asked.stalled))
