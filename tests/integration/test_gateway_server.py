"""The gateway behind its real server: sockets, chunked bodies, stopping, and the table of problems in the guide."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from support.databases import Database
from support.gateway import JSON, Casino, Gateway, open_gateway
from support.ports import free_port
from support.serving import HOST, served

from gateway import failing
from gateway.answers import Answer
from gateway.app import create_app
from gateway.auth import guard
from gateway.problems import KINDS, OUTCOME_CODES, problem, problem_of
from gateway.server import serve
from keno.bets.outcome import Outcome
from keno.errors import ConfigError, KenoError
from keno.texts.languages import Language

GUIDE = Path(__file__).parents[2] / "docs" / "operator-api.md"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def gateway(
    database: Database, owner_pool: asyncpg.Pool, redis_url: str, tmp_path: Path, port: int
) -> AsyncIterator[Gateway]:
    async with open_gateway(database, owner_pool, redis_url, tmp_path, f"http://{HOST}:{port}") as opened:
        yield opened


@pytest.fixture
async def server(gateway: Gateway, port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with served(create_app(gateway.platform), port) as (client, _):
        yield client


async def test_a_signed_bet_goes_over_a_real_socket(gateway: Gateway, server: httpx.AsyncClient, port: int) -> None:
    made, room = await gateway.casino(ed25519=True), await gateway.room()
    casino = Casino(made.operator, made.key_id, made.key, server, f"http://{HOST}:{port}")
    deposit = {"transaction_id": "d-1", "amount_minor": 100, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p%2D1/deposits", deposit)).status_code == 201
    bet = {
        "transaction_id": "t-1",
        "player": "p-1",
        "room": str(room.id),
        "picks": [1],
        "stake_minor": 100,
        "currency": "EUR",
    }
    body = json.dumps(bet).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    headers = JSON | casino.headers("POST", "/v1/bets", body)
    placed = await server.post("/v1/bets", content=chunks(), headers=headers)
    assert placed.status_code == 201, placed.text
    assert (await casino.get(f"/v1/rooms/{room.id}/rounds?limit=%31")).status_code == 200


async def test_an_endless_body_is_cut_off_at_the_limit(server: httpx.AsyncClient, port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(65):
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()
    status = await reader.readline()
    assert status.split()[1] == b"413"
    writer.close()


async def test_a_body_whose_announced_length_is_too_large_is_not_waited_for(
    server: httpx.AsyncClient, port: int
) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 65537\r\n\r\n".encode())
    status = await reader.readline()
    assert status.split()[1] == b"413"
    writer.close()


async def test_a_body_that_does_not_arrive_is_not_waited_for_without_end(
    server: httpx.AsyncClient, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_READ_S", 0.05)
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 10\r\n\r\n{{".encode())
    status = await reader.readline()
    assert status.split()[1] == b"408"
    writer.close()


@pytest.mark.parametrize("rest", [b"Content-Length: 10\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"])
async def test_a_body_that_breaks_off_is_not_logged_as_a_failure_of_ours(
    server: httpx.AsyncClient, port: int, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    answered, failures = asyncio.Event(), []

    def answer(error: KenoError, language: Language) -> Answer:
        answered.set()
        return problem_of(error, language)

    monkeypatch.setattr(failing, "problem_of", answer)
    monkeypatch.setattr(failing, "log_failure", lambda error, *_: failures.append(error))
    _, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"POST /v1/bets HTTP/1.1\r\nHost: {HOST}:{port}\r\n".encode() + rest)
    await writer.drain()
    writer.close()
    async with asyncio.timeout(30):
        await answered.wait()
    assert failures == []


async def test_two_host_headers_are_refused(server: httpx.AsyncClient, port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    host = f"Host: {HOST}:{port}\r\n"
    writer.write(f"GET /v1/rooms HTTP/1.1\r\n{host}{host}\r\n".encode())
    status = await reader.readline()
    assert status.split()[1] in {b"400", b"421"}
    writer.close()


async def test_a_port_in_use_is_an_error_of_the_configuration(
    gateway: Gateway, server: httpx.AsyncClient, port: int
) -> None:
    with pytest.raises(ConfigError, match=f"{HOST}:{port}"):
        await serve(create_app(gateway.platform), HOST, port, asyncio.Event())


async def test_stopping_ends_the_server_and_frees_its_port(gateway: Gateway, port: int) -> None:
    for _ in range(2):
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(create_app(gateway.platform), HOST, port, stop))
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
            while True:
                try:
                    answer = await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
            assert answer.status_code == 200
            stop.set()
            await serving


async def test_cancelling_stops_the_server_too(gateway: Gateway, port: int) -> None:
    serving = asyncio.create_task(serve(create_app(gateway.platform), HOST, port, asyncio.Event()))
    await asyncio.sleep(0.1)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


def test_the_guide_has_exactly_the_problems_of_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+?) \| (.+) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {code: (int(status), title, remedy) for code, status, title, remedy in rows} == dict(KINDS)
    assert len(rows) == len(KINDS)


def test_every_outcome_that_is_no_bet_has_a_problem() -> None:
    assert set(OUTCOME_CODES) == set(Outcome) - {Outcome.ACCEPTED, Outcome.DUPLICATE}
    for code, _ in OUTCOME_CODES.values():
        assert problem(code).status == KINDS[code].status


def test_no_problem_that_a_client_causes_is_a_server_error() -> None:
    assert {code for code, kind in KINDS.items() if kind.status >= 500} == {"overloaded", "unavailable", "internal"}
