"""Launch, tickets, tokens and their end, with sessions in Redis and keys in PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from support.databases import Database
from support.gateway import JSON, ORIGIN, PLAYER_ORIGIN, Casino, Gateway, open_gateway
from support.players import Player, enter, launch, play, post, problem

from keno.identity import sessions
from keno.identity.sessions import SessionService, SessionStoreError
from keno.infra.cache import Cache
from keno.infra.redis import create_redis

ME = "/v1/player/me"


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    return await gateway.casino()


async def test_a_launched_player_enters_with_the_ticket_and_is_who_the_operator_said(
    gateway: Gateway, casino: Casino
) -> None:
    room = await gateway.room()
    launched = await launch(casino, "Zoë", room=str(room.id), locale="pt-BR")
    ticket = launched["ticket"]
    assert launched["launch_url"] == f"{ORIGIN}/play#ticket={ticket}"
    player = await enter(gateway.client, ticket)
    expected = {
        "session_id": launched["session_id"],
        "player": "Zoë",
        "currency": "EUR",
        "room": str(room.id),
        "locale": "pt-BR",
    }
    assert player.session == expected
    assert {name: launched[name] for name in expected} == expected
    assert (await player.get(ME)).json() == expected | {"balance_minor": 0}


async def test_a_launch_makes_the_player_and_its_account_once_and_a_ticket_each_time(
    gateway: Gateway, casino: Casino
) -> None:
    tickets = {(await launch(casino))["ticket"] for _ in range(3)}
    assert len(tickets) == 3
    assert (await casino.get("/v1/wallets/p-1")).json()["balances"] == [{"currency": "EUR", "balance_minor": 0}]
    stored = await gateway.stored()
    assert (stored["players"], stored["wallet_transactions"]) == (1, 0)


async def test_the_limits_of_a_launch_hold_as_if_they_had_been_put(gateway: Gateway, casino: Casino) -> None:
    await launch(casino, limits={"round_bets_max": 3, "round_stake_max_minor": None})
    row = "SELECT round_bets_max, round_stake_max_minor FROM accounts WHERE kind = 'player'"
    assert tuple(await gateway.owner_pool.fetchrow(row)) == (3, None)
    await launch(casino)
    assert tuple(await gateway.owner_pool.fetchrow(row)) == (3, None)


@pytest.mark.parametrize(
    ("status", "code", "changes"),
    [
        (422, "invalid_request", {"player": ""}),
        (422, "invalid_request", {"player": 7}),
        (422, "invalid_request", {"locale": "english"}),
        (422, "invalid_request", {"locale": "en\n"}),
        (422, "invalid_request", {"room": "lobby"}),
        (404, "room_not_found", {"room": "00000000-0000-4000-8000-000000000000"}),
        (422, "currency_not_offered", {"currency": "USD"}),
        (422, "unknown_field", {"balance": 1}),
        (422, "missing_field", {"limits": {"round_bets_max": 1}}),
        (422, "invalid_request", {"limits": {"round_bets_max": -1, "round_stake_max_minor": None}}),
    ],
)
async def test_a_launch_that_cannot_be_leaves_nothing_behind(
    gateway: Gateway, casino: Casino, redis: Redis, status: int, code: str, changes: dict[str, Any]
) -> None:
    stored = await gateway.stored()
    answer = await casino.post("/v1/sessions", {"player": "p-1", "currency": "EUR"} | changes)
    assert problem(answer) == (status, code)
    assert await gateway.stored() == stored
    assert [key async for key in redis.scan_iter("keno:session:*")] == []


async def test_a_room_of_another_operator_does_not_exist_and_a_closed_one_is_closed(
    gateway: Gateway, casino: Casino
) -> None:
    foreign = await gateway.room(operator_id=(await gateway.casino()).operator.id)
    body = {"player": "p-1", "currency": "EUR", "room": str(foreign.id)}
    assert problem(await casino.post("/v1/sessions", body)) == (404, "room_not_found")
    own = await gateway.room()
    await gateway.platform.rooms.close(own.name, actor="test")
    assert problem(await casino.post("/v1/sessions", body | {"room": str(own.id)})) == (409, "room_closed")


async def test_a_blocked_player_is_not_launched(gateway: Gateway, casino: Casino) -> None:
    await launch(casino)
    await gateway.owner_pool.execute("UPDATE players SET status = 'blocked'")
    body = {"player": "p-1", "currency": "EUR"}
    assert problem(await casino.post("/v1/sessions", body)) == (403, "player_blocked")


async def test_a_ticket_opens_its_session_once(gateway: Gateway, casino: Casino) -> None:
    ticket = (await launch(casino))["ticket"]
    answers = await asyncio.gather(*(post(gateway.client, "/v1/auth/exchange", {"ticket": ticket}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9
    assert problem(await post(gateway.client, "/v1/auth/exchange", {"ticket": ticket})) == (401, "ticket_invalid")
    opened = next(answer for answer in answers if answer.status_code == 200)
    player = Player(gateway.client, opened.json()["access_token"], opened.json()["refresh_token"], {})
    assert (await player.get(ME)).status_code == 200


async def test_a_ticket_is_kept_only_as_its_hash_and_not_for_long(casino: Casino, redis: Redis) -> None:
    launched = await launch(casino)
    name = f"keno:session:{launched['session_id']}"
    kept = b"".join((await redis.hgetall(name)).values())  # type: ignore[misc]
    assert launched["ticket"].encode()[-32:] not in kept
    assert 0 < await redis.pttl(name) <= sessions.TICKET_MS


async def test_a_ticket_that_is_changed_or_expired_opens_nothing(
    gateway: Gateway, casino: Casino, redis: Redis
) -> None:
    launched = await launch(casino)
    ticket = launched["ticket"]
    for wrong in ("", ticket[:-1], ticket[:-1] + ("A" if ticket[-1] != "A" else "B"), ticket + "=", "ü" * 56):
        answer = await post(gateway.client, "/v1/auth/exchange", {"ticket": wrong})
        assert problem(answer) == (401, "ticket_invalid"), wrong
        assert answer.headers["www-authenticate"] == 'Bearer realm="keno"'
    await redis.delete(f"keno:session:{launched['session_id']}")
    assert problem(await post(gateway.client, "/v1/auth/exchange", {"ticket": ticket})) == (401, "ticket_invalid")


async def test_tokens_are_refreshed_again_and_again(casino: Casino) -> None:
    player = await play(casino)
    for _ in range(5):
        before = player.refresh_token
        assert (await player.refresh()).status_code == 200
        assert player.refresh_token != before
        assert (await player.get(ME)).status_code == 200


async def test_a_refresh_whose_answer_got_lost_can_be_made_again(casino: Casino) -> None:
    player = await play(casino)
    for _ in range(3):
        lost = await post(player.client, "/v1/auth/refresh", {"refresh_token": player.refresh_token})
        assert lost.status_code == 200
    assert (await player.refresh()).status_code == 200
    assert (await player.refresh()).status_code == 200


async def test_a_refresh_token_whose_successor_was_used_ends_the_session_for_both(casino: Casino) -> None:
    player = await play(casino)
    stolen = player.refresh_token
    await player.refresh()
    await player.refresh()
    answer = await post(player.client, "/v1/auth/refresh", {"refresh_token": stolen})
    assert problem(answer) == (401, "refresh_token_reused")
    assert problem(await player.get(ME)) == (401, "session_ended")
    assert problem(await player.refresh()) == (401, "session_ended")


async def test_a_thief_who_follows_a_step_behind_is_found_out_with_the_next_step(casino: Casino) -> None:
    player = await play(casino)
    thief = Player(player.client, player.access_token, player.refresh_token, {})
    assert (await player.refresh()).status_code == 200
    assert (await thief.refresh()).status_code == 200
    assert (await player.refresh()).status_code == 200
    assert problem(await thief.refresh()) == (401, "refresh_token_reused")
    assert problem(await player.get(ME)) == (401, "session_ended")


async def test_a_logout_ends_the_session_at_once_and_can_be_repeated(casino: Casino) -> None:
    player, other = await play(casino), await play(casino)
    for _ in range(2):
        answer = await post(player.client, "/v1/auth/logout", {"refresh_token": player.refresh_token})
        assert (answer.status_code, answer.json()) == (200, {"ended": True})
    assert problem(await player.get(ME)) == (401, "session_ended")
    assert problem(await player.refresh()) == (401, "session_ended")
    assert (await other.get(ME)).status_code == 200
    answer = await post(player.client, "/v1/auth/logout", {"refresh_token": "x"})
    assert problem(answer) == (401, "refresh_token_invalid")


async def test_an_operator_ends_its_own_sessions_and_launches_and_no_others(gateway: Gateway, casino: Casino) -> None:
    player, waiting, foreign = await play(casino), await launch(casino), await play(await gateway.casino())
    for session_id in (foreign.session["session_id"], "0" * 32, "x"):
        path = f"/v1/sessions/{session_id}"
        assert problem(await casino.send("DELETE", path)) == (404, "session_not_found")
    for session_id in (player.session["session_id"], waiting["session_id"]):
        assert (await casino.send("DELETE", f"/v1/sessions/{session_id}")).status_code == 200
    assert problem(await player.get(ME)) == (401, "session_ended")
    answer = await post(gateway.client, "/v1/auth/exchange", {"ticket": waiting["ticket"]})
    assert problem(answer) == (401, "ticket_invalid")
    assert (await foreign.get(ME)).status_code == 200


async def test_an_operator_ends_all_sessions_of_a_player_and_those_launched_later_live(
    gateway: Gateway, casino: Casino, redis: Redis
) -> None:
    foreign = await play(await gateway.casino())
    for _ in range(2):
        players, waiting, other = (
            [await play(casino), await play(casino)],
            await launch(casino),
            await play(casino, "p-2"),
        )
        ended = await casino.send("DELETE", "/v1/players/p-1/sessions")
        assert (ended.status_code, ended.json()) == (200, {"player": "p-1", "ended": True})
        for player in players:
            assert problem(await player.get(ME)) == (401, "session_ended")
            assert problem(await player.refresh()) == (401, "session_ended")
        answer = await post(gateway.client, "/v1/auth/exchange", {"ticket": waiting["ticket"]})
        assert problem(answer) == (401, "session_ended")
        for player in (other, foreign):
            assert (await player.get(ME)).status_code == 200
    later = await play(casino)
    (cut,) = [key async for key in redis.scan_iter("keno:player-cut:*")]
    assert await redis.pttl(cut) > sessions.TICKET_MS + sessions.SESSION_MAX_MS
    await redis.delete(cut)
    assert (await later.get(ME)).status_code == 200
    await casino.send("DELETE", "/v1/players/p-1/sessions")
    assert problem(await later.get(ME)) == (401, "session_ended")
    assert problem(await casino.send("DELETE", "/v1/players/nobody/sessions")) == (404, "player_not_found")


async def test_a_session_ends_when_it_is_not_used_and_after_its_longest_time(
    gateway: Gateway, casino: Casino, redis: Redis
) -> None:
    service, now_ms = gateway.platform.sessions, 1_700_000_000_000
    issued = await service.exchange((await launch(casino))["ticket"], now_ms)
    name = f"keno:session:{issued.session.id}"
    ends_ms = now_ms + sessions.SESSION_MAX_MS
    issued = await service.refresh(issued.refresh_token, ends_ms - 1_000)
    assert 0 < await redis.pttl(name) <= 1_000
    with pytest.raises(sessions.SessionError, match="session_ended"):
        await service.refresh(issued.refresh_token, ends_ms)
    assert await redis.exists(name) == 0


async def test_the_players_of_a_suspended_operator_are_refused(gateway: Gateway, casino: Casino) -> None:
    player = await play(casino)
    await gateway.owner_pool.execute("UPDATE operators SET status = 'suspended' WHERE id = $1", casino.operator.id)
    assert problem(await player.get(ME)) == (403, "operator_suspended")


async def test_what_one_gateway_ended_is_ended_on_the_others(
    gateway: Gateway, casino: Casino, database: Database, redis_url: str, tmp_path: Path
) -> None:
    player = await play(casino)
    async with open_gateway(database, gateway.owner_pool, redis_url, tmp_path) as second:
        there = Player(second.client, player.access_token, player.refresh_token, {})
        assert (await there.get(ME)).status_code == 200
        assert (await there.refresh()).status_code == 200
        assert (await there.refresh()).status_code == 200
        assert problem(await player.refresh()) == (401, "refresh_token_reused")
        assert problem(await there.get(ME)) == (401, "session_ended")


async def test_without_redis_nobody_is_let_in(gateway: Gateway, casino: Casino, tmp_path: Path) -> None:
    player, platform = await play(casino), gateway.platform
    away = create_redis(f"unix://{tmp_path}/nobody")
    service = SessionService(platform.pool, away, platform.signing_keys, bytes(32), ORIGIN, Cache(away, bytes(32)))
    now_ms = 1_700_000_000_000
    with pytest.raises(SessionStoreError):
        await service.launch(casino.operator.id, 1, "p-1", "EUR", None, "en", now_ms)
    with pytest.raises(SessionStoreError):
        await service.exchange((await launch(casino))["ticket"], now_ms)
    platform.sessions._redis = away  # type: ignore[misc]
    answer = await player.get(ME)
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert problem(await player.refresh()) == (503, "unavailable")
    await away.aclose()


async def test_bodies_around_a_session_are_read_strictly(gateway: Gateway) -> None:
    for path, field in [("/v1/auth/exchange", "ticket"), ("/v1/auth/refresh", "refresh_token")]:
        for body, status, code in [
            (b"{", 400, "malformed_json"),
            (b"{}", 422, "missing_field"),
            (f'{{"{field}":1}}'.encode(), 422, "invalid_request"),
            (f'{{"{field}":"a","{field}":"b"}}'.encode(), 400, "duplicate_field"),
            (f'{{"{field}":"a","more":"b"}}'.encode(), 422, "unknown_field"),
            (f'{{"{field}":"{"a" * 200}"}}'.encode(), 422, "invalid_request"),
        ]:
            answer = await gateway.client.post(path, content=body, headers=JSON)
            assert problem(answer) == (status, code), (path, body)
        assert problem(await gateway.client.post(path, content=b"{}")) == (415, "unsupported_media_type")


async def test_only_our_pages_and_those_allowed_may_call_for_players(gateway: Gateway, casino: Casino) -> None:
    player = await play(casino)
    for origin in (ORIGIN, PLAYER_ORIGIN):
        assert (await player.get(ME, {"Origin": origin})).status_code == 200
    for origin in ("https://evil.test", "null", PLAYER_ORIGIN + ".evil.test", ORIGIN.upper()):
        answer = await player.get(ME, {"Origin": origin})
        assert problem(answer) == (403, "origin_not_allowed"), origin
        assert "access-control-allow-origin" not in answer.headers
        answer = await post(gateway.client, "/v1/auth/exchange", {"ticket": "x"}, {"Origin": origin})
        assert problem(answer) == (403, "origin_not_allowed"), origin
    assert problem(await player.get(ME, {"Host": "evil.test"})) == (421, "unknown_origin")


async def test_a_browser_is_told_what_an_allowed_page_may_do(gateway: Gateway) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = await gateway.client.options("/v1/player/bets", headers=asked | {"Origin": PLAYER_ORIGIN})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == PLAYER_ORIGIN
    assert "access-control-allow-credentials" not in preflight.headers
    refused = await gateway.client.options("/v1/player/bets", headers=asked | {"Origin": "https://evil.test"})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


async def test_the_launch_url_is_an_absolute_one(casino: Casino) -> None:
    url = urlsplit((await launch(casino))["launch_url"])
    assert (url.scheme, url.netloc, url.path, url.query) == ("http", "keno.test", "/play", "")


async def test_a_launch_is_not_for_those_who_cannot_sign(gateway: Gateway, casino: Casino) -> None:
    player = await play(casino)
    assert problem(await player.post("/v1/sessions", {"player": "p-2", "currency": "EUR"})) == (
        401,
        "signature_missing",
    )
