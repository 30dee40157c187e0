"""The client of drand among endpoints that are honest, lie, stall or flood; and the local beacon it speaks to."""

import json
import threading
from contextlib import ExitStack

import httpx
import pytest
import structlog.testing
from support.beacons import ALWAYS, CHAIN, SECRET, answer_of, endpoint, honest, signature_of

from gateway.beacon import serving
from keno.errors import ConfigError
from keno.fairness.beacon import QUICKNET
from keno.fairness.beacons.drand import DrandClient
from keno.fairness.beacons.local import LocalBeacon

ROUND = 12_345


def said(**changes: object) -> tuple[int, bytes]:
    return 200, json.dumps(answer_of(ROUND) | changes).encode()


LIES = {
    "another round's signature": (said(signature=signature_of(ROUND + 1).hex()), "wrong signature"),
    "a changed signature": (said(signature="00" * 48), "wrong signature"),
    "a short signature": (said(signature=signature_of(ROUND).hex()[:-2]), "wrong signature"),
    "another round": ((200, json.dumps(answer_of(ROUND + 1)).encode()), "another round"),
    "no hex": (said(signature="zz"), "malformed"),
    "no JSON": ((200, b"<html>"), "malformed"),
    "no object": ((200, b"[]"), "malformed"),
    "a round in words": (said(round="12345"), "malformed"),
    "no UTF-8": ((200, b"\xff"), "malformed"),
    "a flood": ((200, b" " * 1_000_000), "malformed"),
}
FAILURES = {
    "a redirect": ((302, b""), "refused"),
    "an error": ((500, b""), "refused"),
}


@pytest.mark.parametrize("name", [*LIES, *FAILURES])
async def test_an_endpoint_that_lies_or_fails_is_reported_and_passed_over(name: str) -> None:
    content, fault = (LIES | FAILURES)[name]
    with endpoint(lambda path: content) as bad, endpoint() as good, structlog.testing.capture_logs() as logs:
        async with DrandClient(CHAIN, [bad.url, good.url], hedge_s=5) as client:
            assert await client.fetch(ROUND) == signature_of(ROUND)
            assert await client.fetch(ROUND + 5) == signature_of(ROUND + 5)
    reports = [(each["endpoint"], each["fault"]) for each in logs if each["event"] == "beacon.endpoint_fault"]
    assert reports[0] == (bad.url, fault)
    # One that lied is asked last from then on, one that merely failed is not.
    assert len(bad.asked) == (1 if name in LIES else 2)


async def test_an_endpoint_that_stalls_is_not_waited_for() -> None:
    released = threading.Event()

    def stall(path: str) -> tuple[int, bytes]:
        released.wait(20)
        return honest(path)

    with endpoint(stall) as slow, endpoint() as good:
        async with DrandClient(CHAIN, [slow.url, good.url], timeout_s=15, hedge_s=0.05) as client:
            assert await client.fetch(ROUND) == signature_of(ROUND)
        released.set()


async def test_where_all_stall_the_client_gives_up() -> None:
    released = threading.Event()
    with endpoint(lambda path: (200, str(released.wait(20)).encode())) as slow:
        async with DrandClient(CHAIN, [slow.url], timeout_s=0.1) as client:
            assert await client.fetch(ROUND) is None
        released.set()


async def test_a_round_that_is_not_there_yet_is_no_fault() -> None:
    with endpoint(lambda path: (404, b"{}")) as early, structlog.testing.capture_logs() as logs:
        async with DrandClient(CHAIN, [early.url]) as client:
            assert await client.fetch(ROUND) is None
    assert logs == []


async def test_nobody_to_ask_and_nobody_there_give_nothing() -> None:
    with endpoint() as gone:
        url = gone.url
    async with DrandClient(CHAIN, [url]) as client:
        assert await client.fetch(ROUND) is None
    async with DrandClient(CHAIN, []) as client:
        assert await client.fetch(ROUND) is None


async def test_of_endpoints_that_contradict_each_other_the_true_one_is_believed() -> None:
    answers = [said(signature=signature_of(ROUND + off).hex()) for off in (3, 2, 1, 0)]
    with ExitStack() as stack:
        opened = [stack.enter_context(endpoint(lambda path, answer=answer: answer)) for answer in answers]
        async with DrandClient(CHAIN, [each.url for each in opened], hedge_s=0) as client:
            assert await client.fetch(ROUND) == signature_of(ROUND)


async def test_an_endpoint_of_another_chain_is_found_out() -> None:
    with endpoint() as local:
        async with DrandClient(CHAIN, [local.url]) as client:
            assert await client.serves_the_chain(local.url)
            latest = await client.latest(local.url)
            assert latest is not None
            assert latest.signature == signature_of(latest.beacon_round)
        async with DrandClient(QUICKNET, [local.url]) as client:
            assert not await client.serves_the_chain(local.url)
            assert await client.fetch(ROUND) is None


# ---- the local beacon ----


async def test_the_local_beacon_speaks_drands_http_and_says_that_it_is_not_public() -> None:
    now_ms = CHAIN.due_ms(ROUND)
    with serving(LocalBeacon(SECRET, lambda: now_ms), "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}"
        async with DrandClient(CHAIN, [url]) as client, httpx.AsyncClient(base_url=url) as http:
            assert await client.fetch(ROUND) == signature_of(ROUND)
            assert await client.fetch(ROUND + 1) is None, "it is not published yet"
            assert await client.serves_the_chain(url)
            latest = await client.latest(url)
            assert latest is not None
            assert latest.beacon_round == ROUND
            base = f"/{CHAIN.hash.hex()}"
            info = await http.get(f"{base}/info")
            assert "not-public" in info.json()["metadata"]["beaconID"]
            assert info.headers["x-keno-beacon"] == "local, not public"
            for path in ("/", base, f"{base}/public/0", f"{base}/public/-1", f"{base}/public/{'9' * 30}", "/ab/info"):
                assert (await http.get(path)).status_code == httpx.codes.NOT_FOUND


def test_a_local_beacon_cannot_listen_where_another_does() -> None:
    with serving(ALWAYS, "127.0.0.1", 0) as port, pytest.raises(ConfigError), serving(ALWAYS, "127.0.0.1", port):
        pass
