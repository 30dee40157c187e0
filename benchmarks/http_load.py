"""Load over HTTP/1.1 on loopback: requests that are written and signed already, on a few connections kept alive.

A bare asyncio protocol, so that most of the machine is left to what is measured. It reads the status, the length and
the body of an answer and understands nothing else.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from keno.identity.signature import SigningKey, sign

CONNECTIONS = 32


@dataclass
class Load:
    """What came back: requests a second, milliseconds each took, and bets that were accepted."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    accepted: int = 0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of requests did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class _Client(asyncio.Protocol):
    """One connection: the next request when the answer is complete and its time has come."""

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = bytearray()
        self._due = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = int(self._buffer[:head].lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self._buffer) < head + 4 + length:
            return
        self._run.answered(bytes(self._buffer[:head]), bytes(self._buffer[head + 4 :]), self._due)
        self._buffer.clear()
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed a connection"))

    def _next(self) -> None:
        taken = self._run.take()
        if taken is None:
            self.done.set_result(None)
            self._transport.close()
            return
        request, self._due = taken
        wait_s = self._due - time.perf_counter()
        if wait_s <= 0:
            self._send(request)
        else:
            asyncio.get_running_loop().call_later(wait_s, self._send, request)

    def _send(self, request: bytes) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(request)


class _Run:
    def __init__(self, requests: Iterable[bytes], rate: float | None, accepted: Callable[[bytes, bytes], int]) -> None:
        self._requests = iter(requests)
        self._rate = rate
        self._accepted = accepted
        self._sent = 0
        self._started = time.perf_counter()
        self.load = Load()

    def take(self) -> tuple[bytes, float] | None:
        """The next request and the instant that it is due: now, or at a fixed rate the instant it should be sent."""
        request = next(self._requests, None)
        if request is None:
            return None
        due = time.perf_counter() if self._rate is None else self._started + self._sent / self._rate
        self._sent += 1
        return request, due

    def answered(self, head: bytes, body: bytes, due: float) -> None:
        """Records an answer. A request that waited for a connection is counted from when it was due."""
        now = time.perf_counter()
        self.load.latencies_ms.append((now - due) * 1000)
        self.load.accepted += self._accepted(head, body)
        self.load.seconds = now - self._started


def signed(port: int, key_id: str, key: SigningKey, path: str, body: bytes) -> bytes:
    """A POST of JSON to a server on loopback as it goes over the wire, signed now."""
    host = f"127.0.0.1:{port}"
    headers = sign(
        key,
        key_id,
        method="POST",
        target_uri=f"http://{host}{path}",
        body=body,
        created_s=int(time.time()),
        nonce=secrets.token_urlsafe(12),
    )
    headers |= {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


async def run(
    port: int,
    requests: Iterable[bytes],
    accepted: Callable[[bytes, bytes], int],
    *,
    connections: int = CONNECTIONS,
    rate: float | None = None,
    timeout_s: float = 300.0,
) -> Load:
    """Sends all requests, as fast as answers come or so many a second; `accepted` counts the bets in head and body."""
    each = _Run(requests, rate, accepted)
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(lambda: _Client(each), "127.0.0.1", port))[1] for _ in range(connections)]
    async with asyncio.timeout(timeout_s):
        await asyncio.gather(*(client.done for client in clients))
    return each.load
