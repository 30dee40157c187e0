"""Problems are told in the language that is asked for: on the routes, on the bet lane, and in the live stream."""

import json
import uuid

import pytest
from support.gateway import JSON, ORIGIN, Gateway
from support.live import Client, connected, open_live, room_channel
from support.players import launch, play, post
from websockets.asyncio.client import connect

from gateway.problems import KINDS, PLAYER_REMEDIES
from keno.client.live import _HINT
from keno.identity.signature import HmacSecret

BETS = "/v1/bets"


def bet(**changes: object) -> dict[str, object]:
    return {
        "transaction_id": str(uuid.uuid4()),
        "player": "p-1",
        "room": str(uuid.uuid4()),
        "picks": [1, 2],
        "stake_minor": 100,
        "currency": "EUR",
    } | changes


@pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)
async def test_a_refused_bet_is_told_in_the_language_asked_for_and_in_english_otherwise(gateway: Gateway) -> None:
    casino = await gateway.casino()
    told = {
        None: ("en", "No such room"),
        "de-CH, en;q=0.5": ("de", "Kein solcher Raum"),
        "es": ("es", "No existe esa sala"),
        "fr, pt;q=0.2": ("pt", "Sala inexistente"),
        "ja": ("ja", "ルームが見つかりません"),
        "de;q=oops": ("en", "No such room"),
    }
    for header, (language, title) in told.items():
        asked = {} if header is None else {"Accept-Language": header}
        answer = await casino.send("POST", BETS, json.dumps(bet()).encode(), JSON | asked)
        assert (answer.status_code, answer.headers["content-language"]) == (404, language), header
        assert (answer.json()["code"], answer.json()["title"]) == ("room_not_found", title)


@pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)
async def test_the_refused_bets_of_a_batch_are_told_in_the_language_asked_for(gateway: Gateway) -> None:
    casino = await gateway.casino()
    body = json.dumps({"bets": [bet(picks=[1, 1]), bet(), bet(more=1)]}).encode()
    answer = await casino.send("POST", f"{BETS}/batch", body, JSON | {"Accept-Language": "de"})
    told = [each["problem"] for each in answer.json()["results"]]
    assert [(each["code"], each["title"]) for each in told] == [
        ("invalid_picks", "Ungültiger Tipp"),
        ("room_not_found", "Kein solcher Raum"),
        ("unknown_field", "Unbekanntes Feld"),
    ]
    assert [each["detail"] for each in told[::2]] == ["jede Zahl wird nur einmal getippt", "es gibt kein Feld 'more'"]


@pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)
async def test_whoever_is_not_let_in_is_told_so_in_the_language_asked_for(gateway: Gateway) -> None:
    casino = await gateway.casino()
    headers = casino.headers("POST", BETS, b"{}", key=HmacSecret(bytes(32))) | JSON | {"Accept-Language": "ja"}
    answer = await gateway.client.post(BETS, content=b"{}", headers=headers)
    assert (answer.json()["code"], answer.json()["title"]) == ("signature_invalid", "署名が正しくありません")
    for method, path, title in (("PATCH", BETS, "Método no permitido"), ("GET", "/nothing", "No existe ese recurso")):
        answer = await gateway.client.request(method, path, headers={"Accept-Language": "es"})
        assert (answer.json()["title"], answer.headers["content-language"]) == (title, "es")


async def test_a_player_is_told_in_the_language_of_the_request_or_else_of_the_session(gateway: Gateway) -> None:
    casino = await gateway.casino()
    player = await play(casino, locale="pt-BR")
    path = "/v1/player/bets/1"
    assert (await player.get(path)).json()["title"] == "Aposta inexistente"
    assert (await player.get(path, {"Accept-Language": "de"})).json()["title"] == "Keine solche Wette"
    asked = {name: value for name, value in bet().items() if name not in ("player", "currency")}
    assert (await player.post("/v1/player/bets", asked)).json()["title"] == "Sala inexistente"


async def test_a_ticket_that_was_used_is_told_of_in_the_language_asked_for(gateway: Gateway) -> None:
    ticket = (await launch(await gateway.casino()))["ticket"]
    assert (await post(gateway.client, "/v1/auth/exchange", {"ticket": ticket})).status_code == 200
    answer = await post(gateway.client, "/v1/auth/exchange", {"ticket": ticket}, {"Accept-Language": "de"})
    assert answer.json()["detail"] == "das Ticket wurde schon benutzt, ist abgelaufen oder war nie eines"


async def test_the_live_stream_tells_in_the_language_of_the_session(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room()
    player = await play(casino, locale="ja-JP")
    async with open_live(gateway.platform) as live, connected(live, token=player.access_token) as client:
        refused = await client.ask("subscribe", channels=[room_channel(uuid.uuid4())])
        assert refused["problem"]["title"] == "ルームが見つかりません"
        asked = {"transaction_id": "t-1", "room": str(room.id), "picks": [1], "stake_minor": 100}
        refused = await client.ask("bet", bet=asked)
        assert (refused["status"], refused["problem"]["title"]) == (409, "残高が足りません")
        refused = await client.ask("bet", bet=asked | {"picks": [81]})
        assert refused["problem"]["detail"] == "数字は1..80の範囲です（81ではありません）"


async def test_a_connection_is_closed_with_a_reason_in_the_language_of_the_session_or_else_of_the_handshake(
    gateway: Gateway,
) -> None:
    player = await play(await gateway.casino(), locale="ja-JP")
    async with open_live(gateway.platform) as live:
        async with connect(live.url, additional_headers={"Accept-Language": "de"}) as opened:
            client = Client(opened)
            await client.send("ping")
            assert await client.closed() == (4401, "der erste Frame ist authenticate oder spectate")
        async with connected(live, token=player.access_token) as client:
            await client.socket.send(b"binary")
            assert await client.closed() == (1003, "フレームはテキストのみです")
        async with connected(live, token=player.access_token) as client:
            live.stop.set()
            code, reason = await client.closed()
    assert code == 1012
    hint = _HINT.search(reason or "")
    assert hint
    assert reason == f"再起動: {hint[1]} ms後に再接続しafter付きで購読"


async def test_a_player_is_told_what_a_player_can_do_and_an_operator_what_its_engineer_can(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room()
    asked = {"transaction_id": "t-1", "room": str(room.id), "picks": [1], "stake_minor": 100}
    player = await play(casino)
    to_player = PLAYER_REMEDIES["insufficient_funds"]
    assert (await player.post("/v1/player/bets", asked)).json()["remedy"] == to_player
    german = await player.post("/v1/player/bets", asked, {"Accept-Language": "de"})
    assert german.json()["remedy"] == "Setzen Sie weniger, oder zahlen Sie in Ihrem Casino Geld ein."
    async with open_live(gateway.platform) as live, connected(live, token=player.access_token) as client:
        assert (await client.ask("bet", bet=asked))["problem"]["remedy"] == to_player
    operators = await casino.post(BETS, asked | {"player": "p-1", "currency": "EUR"})
    assert operators.json()["remedy"] == KINDS["insufficient_funds"].remedy
    used = await post(gateway.client, "/v1/auth/exchange", {"ticket": "x" * 56})
    assert used.json()["remedy"] == PLAYER_REMEDIES["ticket_invalid"]
    elsewhere = await player.get("/v1/player/me", {"Origin": "https://elsewhere.test"})
    assert elsewhere.json()["remedy"] == PLAYER_REMEDIES["origin_not_allowed"] != KINDS["origin_not_allowed"].remedy
    assert (await player.get("/v1/player/me", {"Origin": ORIGIN})).status_code == 200
