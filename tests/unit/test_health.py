"""What Kubernetes and Prometheus are told of a worker."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import Gauge

from keno.errors import ConfigError
from workers import health, runner


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    with health.serving("127.0.0.1", 0) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client


async def test_a_process_is_ready_while_every_check_is(http: httpx.AsyncClient) -> None:
    leads = True
    assert (await http.get("/readyz")).status_code == 200
    with health.check("scheduler", lambda: leads):
        assert (await http.get("/readyz")).status_code == 200
        leads = False
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "scheduler\n")
        assert (await http.get("/healthz")).status_code == 200, "it lives, and restarting it would help nobody"
    assert (await http.get("/readyz")).status_code == 200


async def test_a_worker_whose_step_failed_is_unready_until_it_works_again(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PAUSE_MIN_S", 0.001)
    stop = asyncio.Event()
    seen: list[int] = []

    async def step() -> float:
        seen.append((await http.get("/readyz")).status_code)
        if len(seen) == 1:
            raise ConnectionRefusedError
        if len(seen) == 3:
            stop.set()
        return 0

    await runner.run("settler", step, stop)
    assert seen == [200, 503, 200]


async def test_measurements_are_served_beside(http: httpx.AsyncClient) -> None:
    Gauge("keno_test_gauge", "Of a test.").set(7)
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert "keno_test_gauge 7.0" in answer.text
    assert (await http.get("/")).status_code == 404


async def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with (
        health.serving("127.0.0.1", 0) as port,
        pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"),
        health.serving("127.0.0.1", port),
    ):
        pass
