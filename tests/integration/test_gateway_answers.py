"""What goes with an answer on both lanes: our signature, and how the operator's rate stands."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from support.answers import check_answer
from support.gateway import JSON, Casino, Gateway

from keno.identity.operators import OperatorNotFoundError
from keno.identity.service import IdentityError
from keno.risk import failures
from keno.risk.failures import FAILURES_MAX

pytestmark = pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)


async def jwks(gateway: Gateway) -> Any:
    published = await gateway.client.get("/.well-known/jwks.json")
    assert (published.status_code, published.headers["cache-control"]) == (200, "public, max-age=60")
    return published.json()


@pytest.mark.parametrize("ed25519", [False, True], ids=["hmac-sha256", "ed25519"])
async def test_every_answer_to_a_signed_request_is_signed(gateway: Gateway, ed25519: bool) -> None:
    casino, keys = await gateway.casino(ed25519=ed25519), await jwks(gateway)
    deposit = {"transaction_id": "d-1", "amount_minor": 100, "currency": "EUR"}
    answers = [
        await casino.post("/v1/wallets/p-1/deposits", deposit),
        await casino.post("/v1/wallets/p-1/deposits", deposit | {"amount_minor": 200}),
        await casino.get("/v1/wallets/p-1"),
        await casino.get("/v1/wallet-transactions?player=p-1"),
        await casino.get("/v1/rooms/nowhere"),
        await casino.post("/v1/bets", {"player": "p-1"}),
        await casino.post("/v1/bets/batch", {"bets": [{}]}),
        await casino.send("POST", "/v1/bets", b"{}", {"Content-Type": "text/plain"}),
    ]
    assert [answer.status_code for answer in answers] == [201, 409, 200, 200, 404, 422, 200, 415]
    for answer in answers:
        check_answer(answer, casino.key_id, casino.key, keys)


async def test_an_answer_that_was_changed_or_is_another_requests_does_not_verify(gateway: Gateway) -> None:
    casino = await gateway.casino()
    first, second = [await casino.post("/v1/bets", {}) for _ in range(2)]
    check_answer(first, casino.key_id, casino.key, {})
    swapped = httpx.Response(first.status_code, headers=first.headers, content=first.content, request=second.request)
    changed = httpx.Response(201, headers=first.headers, content=first.content, request=first.request)
    other = httpx.Response(422, headers=first.headers, content=first.content + b" ", request=first.request)
    for forged in (swapped, changed, other):
        with pytest.raises(HTTPMessageSignaturesException):
            check_answer(forged, casino.key_id, casino.key, {})


async def test_who_cannot_sign_gets_no_signature(gateway: Gateway) -> None:
    casino = await gateway.casino()
    for answer in (await gateway.client.post("/v1/bets"), await casino.send("POST", "/v1/bets", nonce="n", key_id="x")):
        assert answer.status_code == 401
        assert "signature" not in answer.headers
        assert "ratelimit" not in answer.headers


async def test_a_request_costs_its_bets_and_says_what_is_left(gateway: Gateway) -> None:
    casino = await gateway.casino()
    await gateway.platform.identity.limit_rate(casino.operator.id, 1, actor="test")
    first = await casino.post("/v1/bets", {})
    assert first.headers["ratelimit-policy"] == '"bets";q=1000;w=1000'
    assert first.headers["ratelimit"] == '"bets";r=999;t=1'
    batch = await casino.post("/v1/bets/batch", {"bets": [{}] * 900})
    assert batch.status_code == 200
    left = int(batch.headers["ratelimit"].partition("r=")[2].partition(";")[0])
    assert 99 <= left <= 105
    stored = await gateway.stored()
    refused = await casino.post("/v1/bets/batch", {"bets": [{}] * 500})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 380 <= int(refused.headers["retry-after"]) <= 401
    check_answer(refused, casino.key_id, casino.key, {})
    assert (await casino.get("/v1/rooms")).status_code == 200
    assert await gateway.stored() == stored


async def test_operators_do_not_share_a_rate(gateway: Gateway) -> None:
    one, other = await gateway.casino(), await gateway.casino()
    await gateway.platform.identity.limit_rate(one.operator.id, 1, actor="test")
    assert (await one.post("/v1/bets/batch", {"bets": [{}] * 1_000})).status_code == 200
    assert (await one.post("/v1/bets", {})).status_code == 429
    assert (await other.post("/v1/bets", {})).status_code == 422


async def test_a_replayed_request_takes_nothing(gateway: Gateway) -> None:
    casino = await gateway.casino()
    await gateway.platform.identity.limit_rate(casino.operator.id, 1, actor="test")
    headers = JSON | casino.headers("POST", "/v1/bets", b"{}")
    for _ in range(5):
        await gateway.client.post("/v1/bets", content=b"{}", headers=headers)
    assert (await casino.post("/v1/bets", {})).headers["ratelimit"].startswith('"bets";r=998')


async def test_rates_are_checked_and_changes_are_in_the_audit_trail(gateway: Gateway) -> None:
    casino, identity = await gateway.casino(), gateway.platform.identity
    for per_second in (0, -1, 1_000_001):
        with pytest.raises(IdentityError):
            await identity.limit_rate(casino.operator.id, per_second, actor="test")
    with pytest.raises(OperatorNotFoundError):
        await identity.limit_rate((await gateway.room()).id, 1, actor="test")
    await identity.limit_rate(casino.operator.id, 5, actor="alice")
    row = await gateway.owner_pool.fetchrow("SELECT actor, before, after FROM admin_actions ORDER BY id DESC LIMIT 1")
    assert tuple(row.values()) == ("alice", '{"bets_per_s_max": 10000}', '{"bets_per_s_max": 5}')


async def test_an_address_that_sends_forgeries_is_refused_before_its_signatures_are_looked_at(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slowly they are sent, none is forgotten meanwhile.
    monkeypatch.setattr(failures, "_MS_A_FAILURE", 60_000)
    casino = await gateway.casino(ed25519=True)
    body = b"{}"
    for _ in range(FAILURES_MAX + 20):
        answer = await gateway.client.post("/v1/bets", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await casino.post("/v1/bets", {})).status_code == 429


async def test_well_signed_requests_never_count_as_failures(gateway: Gateway) -> None:
    casino: Casino = await gateway.casino()
    statuses = {(await casino.post("/v1/bets", {})).status_code for _ in range(FAILURES_MAX + 20)}
    assert statuses == {422}
