"""`keno run lane` as a process: it takes turns with the gateway, is killed and started again, and stops in order."""

from __future__ import annotations

import asyncio
import re
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.installation import DEPOSIT_MINOR, Installation, installed
from support.ports import free_ports

from keno.demo.players import OperatorClient


@asynccontextmanager
async def client_of(origin: str, key: Ed25519PrivateKey) -> AsyncIterator[OperatorClient]:
    client = OperatorClient(origin, "first", key)
    yield client
    await client.close()


async def listening(installation: Installation, name: str, port: int) -> None:
    """Returns once the lane can serve."""
    async with httpx.AsyncClient() as http:
        for _ in range(600):
            assert installation.processes[name].poll() is None, installation.log_tail()
            try:
                if (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(installation.log_tail())


async def sent(port: int, data: bytes) -> list[bytes]:
    """The statuses with which a lane answers bytes as they are, until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answered = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answered)


@pytest.fixture
def ports() -> tuple[int, int]:
    first, second = free_ports(2)
    return first, second


async def test_two_lanes_take_bets_of_one_installation_and_a_killed_one_answers_again(ports: tuple[int, int]) -> None:
    with installed() as installation:
        origins = ",".join([installation.origin, *(f"http://127.0.0.1:{port}" for port in ports)])
        installation.start("up", KENO_PUBLIC_ORIGINS=origins, KENO_LANE_PORT=str(ports[0]))
        await installation.ready()
        installation.start("run", "lane", KENO_PUBLIC_ORIGINS=origins, KENO_LANE_PORT=str(ports[1]))
        await listening(installation, "run lane", ports[1])
        await listening(installation, "up", ports[0])
        key = installation.add_operator()
        assert installation.keno("operator", "limit", "house", "--bets-per-second", "50").returncode == 0
        assert installation.keno("operator", "limit", "house").returncode == 2
        room = installation.add_room()
        bet = {"player": "p-1", "room": room, "picks": [1, 2], "stake_minor": 100, "currency": "EUR"}
        async with client_of(installation.origin, key) as gateway:
            deposit = {"transaction_id": "d", "amount_minor": DEPOSIT_MINOR, "currency": "EUR"}
            assert (await gateway.call("POST", "/v1/wallets/p-1/deposits", deposit)).status_code == 201
        said = {}
        for port in (*ports, ports[1]):
            async with client_of(f"http://127.0.0.1:{port}", key) as lane:
                for _ in range(100):
                    answer = await lane.call("POST", "/v1/bets", bet | {"transaction_id": str(uuid.uuid4())})
                    if answer.status_code == 201:
                        break
                    await asyncio.sleep(0.2)
                assert answer.status_code == 201, answer.text
                assert answer.headers["ratelimit-policy"] == '"bets";q=1000;w=20'
                said[port] = answer.json()
        async with client_of(f"http://127.0.0.1:{ports[1]}", key) as lane:
            assert installation.end("run lane", signal.SIGKILL) == -signal.SIGKILL
            with pytest.raises(httpx.TransportError):
                await lane.call("POST", "/v1/bets", bet | {"transaction_id": "never"})
            installation.start("run", "lane", KENO_PUBLIC_ORIGINS=origins, KENO_LANE_PORT=str(ports[1]))
            await listening(installation, "run lane", ports[1])
            # The loop of the process is not that of the tests.
            ask = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
            assert await sent(ports[1], ask * 100 + b"nonsense\r\n\r\n" + ask) == [b"200"] * 100 + [b"400"]
            unsigned = b"POST /v1/bets HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
            assert await sent(ports[1], ask + unsigned % 65_537) == [b"200", b"413"]
            closing = ask.replace(b"Host", b"Connection: close\r\nHost")
            assert await sent(ports[1], unsigned % 2 + b"{}" + closing) == [b"421", b"200"]
            again = bet | {"transaction_id": said[ports[1]]["transaction_id"]}
            repeated = await lane.call("POST", "/v1/bets", again)
        assert (repeated.json(), repeated.headers["idempotent-replayed"]) == (said[ports[1]], "true")
        assert installation.end("run lane", signal.SIGTERM) == 0
        assert installation.end("up", signal.SIGTERM) == 0
