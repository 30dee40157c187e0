"""The revenue report over the REST API: an operator's own figures, as JSON and CSV, and every way of asking wrongly."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from support.answers import check_answer
from support.gateway import ORIGIN, Casino, Gateway
from support.players import problem

from keno.client import Client, Refused, Unanswered
from keno.infra.bus import Event
from keno.rounds.room_store import Room

REPORT = "/v1/reports/revenue"
FIELDS = ["currency", "rounds", "bets", "turnover_minor", "payout_minor", "ggr_minor", "rtp", "rtp_expected"]


def around_now(group_by: str = "day") -> str:
    today = datetime.now(UTC).date()
    days = today - timedelta(days=1), today + timedelta(days=2)
    return f"{REPORT}?from={days[0]}&to={days[1]}&group_by={group_by}"


async def bet(casino: Casino, room: Room, *picks: int, stake_minor: int = 100) -> int:
    """A bet of a player of the operator; the id of its round."""
    deposit = {"transaction_id": f"d-{casino.key_id}", "amount_minor": 1_000_000, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    asked = {"player": "p-1", "room": str(room.id), "picks": picks, "stake_minor": stake_minor, "currency": "EUR"}
    placed = await casino.post("/v1/bets", asked | {"transaction_id": f"t-{stake_minor}"})
    assert placed.status_code == 201, placed.text
    return int(placed.json()["round"]["id"])


async def counted(gateway: Gateway, *round_ids: int) -> None:
    """Plays rounds to their end, and counts them."""
    for round_id in round_ids:
        await gateway.play_until(round_id, "settled")
    rows = await gateway.owner_pool.fetch("SELECT * FROM outbox WHERE routing_key = 'round.settled' ORDER BY id")
    await gateway.platform.reporting.record_round(
        *(
            Event(row["event_id"], row["routing_key"], row["aggregate"], row["created_ms"], row["payload"].encode())
            for row in rows
        )
    )


async def test_a_report_has_the_operators_own_rounds_and_nobody_elses_of_the_same_room(gateway: Gateway) -> None:
    one, other, none = await gateway.casino(), await gateway.casino(), await gateway.casino()
    shared = await gateway.room(period_ms=2_000, lock_lead_ms=500)
    private = await gateway.room(period_ms=2_000, lock_lead_ms=500, operator_id=other.operator.id)
    rounds = await asyncio.gather(
        bet(one, shared, *range(1, 4), stake_minor=200), bet(other, shared, 7), bet(other, private, 7, stake_minor=300)
    )
    assert (await one.get(around_now())).json()["rows"] == [], "nothing is settled"
    await counted(gateway, *rounds)
    paid = dict(
        await gateway.owner_pool.fetch(
            "SELECT b.operator_id, sum(p.payout_minor)::bigint FROM payouts AS p JOIN bets AS b ON b.id = p.bet_id "
            "GROUP BY 1"
        )  # type: ignore[arg-type]
    )
    for casino, rooms in ((one, {shared.id: 200}), (other, {shared.id: 100, private.id: 300}), (none, {})):
        by_room = (await casino.get(around_now("room"))).json()
        assert {row["room"]: row["turnover_minor"] for row in by_room["rows"]} == {
            str(room): minor for room, minor in rooms.items()
        }
        (total,) = (await casino.get(around_now("currency"))).json()["rows"] or [None]
        if total is not None:
            turnover, payout = sum(rooms.values()), paid.get(casino.operator.id, 0)
            assert (total["currency"], total["rounds"], total["bets"]) == ("EUR", len(rooms), len(rooms))
            assert (total["turnover_minor"], total["payout_minor"]) == (turnover, payout)
            assert total["ggr_minor"] == turnover - payout
            assert float(total["rtp"]) == pytest.approx(payout / turnover, abs=1e-6)
    of_singles = (await other.get(around_now("currency"))).json()["rows"][0]
    assert of_singles["rtp_expected"] == "0.940000"


async def test_a_csv_says_what_the_json_says_and_is_signed_like_it(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room(period_ms=2_000, lock_lead_ms=500)
    await gateway.owner_pool.execute("UPDATE rooms SET name = $1", "=cmd|'/C calc'!A0")
    await counted(gateway, await bet(casino, room, 7))
    for group_by, group in (("day", "period"), ("hour", "period"), ("room", "room"), ("currency", None)):
        target = around_now(group_by)
        told = await casino.get(target)
        assert told.headers["content-type"] == "application/json"
        assert told.json()["group_by"] == group_by
        answer = await casino.send("GET", target, b"", {"Accept": "text/csv"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        check_answer(answer, casino.key_id, casino.key, {"keys": []})
        read = csv.DictReader(io.StringIO(answer.text))
        assert read.fieldnames == [*([group] if group else []), *FIELDS, "as_of_ms"]
        rows = list(read)
        assert [int(row.pop("as_of_ms")) >= told.json()["as_of_ms"] for row in rows] == [True]
        assert rows == [{name: str(value) for name, value in row.items()} for row in told.json()["rows"]]
        assert "calc" not in answer.text + told.text


async def test_a_row_of_days_and_hours_begins_where_it_says(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room(period_ms=2_000, lock_lead_ms=500)
    round_id = await bet(casino, room, 7)
    await counted(gateway, round_id)
    ended_ms = await gateway.owner_pool.fetchval("SELECT ended_ms FROM rounds WHERE id = $1", round_id)
    ended = datetime.fromtimestamp(ended_ms / 1000, UTC)
    hour, day = f"{ended:%Y-%m-%dT%H:00:00Z}", f"{ended:%Y-%m-%d}"
    next_hour = f"{ended + timedelta(hours=1):%Y-%m-%dT%H:00:00Z}"
    for group_by, period in (("hour", hour), ("day", day)):
        rows = (await casino.get(f"{REPORT}?from={hour}&to={next_hour}&group_by={group_by}")).json()["rows"]
        assert [(row["period"], row["bets"]) for row in rows] == [(period, 1)]
    assert (await casino.get(f"{REPORT}?from={day}&to={hour}")).json()["rows"] == [] or ended.hour == 0
    after = f"{ended + timedelta(hours=2):%Y-%m-%dT%H:00:00Z}"
    assert (await casino.get(f"{REPORT}?from={next_hour}&to={after}")).json()["rows"] == []


WRONG: list[tuple[str, tuple[int, str], str]] = [
    ("", (422, "invalid_query"), "from"),
    ("from=2026-11-01", (422, "invalid_query"), "to"),
    ("to=2026-11-01", (422, "invalid_query"), "from"),
    ("from=2026-11-01&to=2026-11-02&from=2026-11-01", (422, "invalid_query"), "from"),
    ("from=2026-11-01&to=2026-11-02&room=x", (422, "invalid_query"), "room"),
    ("from=2026-11-01&to=2026-11-02&group_by=player", (422, "invalid_query"), "group_by"),
    ("from=2026-11-01&to=2026-11-02&group_by=", (422, "invalid_query"), "group_by"),
    ("from=&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=yesterday&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-11-1&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=20261101&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-13-01&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-11-01T13:30:00Z&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-11-01T13:00:00&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-11-01T13:00:00%2B01:00&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-11-01&to=2026-11-02T24:00:00Z", (422, "invalid_query"), "to"),
    ("from=2026-11-01&to=2026-11-02%0A", (422, "invalid_query"), "to"),
    ("from=1761955200000&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=%D9%A2%D9%A0%D9%A2%D9%A6-11-01&to=2026-11-02", (422, "invalid_query"), "from"),
    ("from=2026-02-29&to=2026-03-01", (422, "invalid_period"), "from"),
    ("from=0000-01-01&to=2026-03-01", (422, "invalid_period"), "from"),
    ("from=2026-11-02&to=2026-11-02", (422, "invalid_period"), "to"),
    ("from=2026-11-02&to=2026-11-01", (422, "invalid_period"), "to"),
    ("from=2026-01-01&to=2026-04-04", (422, "invalid_period"), "to"),
    ("from=2026-01-01&to=2026-02-02&group_by=hour", (422, "invalid_period"), "to"),
    ("from=0001-01-01&to=9999-12-31", (422, "invalid_period"), "to"),
]


async def test_what_cannot_be_reported_is_refused_by_the_field_that_is_to_blame(gateway: Gateway) -> None:
    casino = await gateway.casino()
    for query, refusal, field in WRONG:
        for headers in ({}, {"Accept": "text/csv"}):
            answer = await casino.send("GET", f"{REPORT}?{query}" if query else REPORT, b"", headers)
            assert (problem(answer), answer.json()["field"]) == (refusal, field), (query, answer.text)
    told = await casino.send("GET", f"{REPORT}?{WRONG[-3][0]}", b"", {"Accept-Language": "de"})
    assert told.json()["detail"] == "to liegt mehr als 92 Tage nach from, zu lang für group_by=day"


async def test_the_ends_of_what_can_be_asked_for_are_empty_reports(gateway: Gateway) -> None:
    casino = await gateway.casino()
    for query in (
        "from=0001-01-01&to=0001-01-02",
        "from=9999-12-30&to=9999-12-31T23:00:00Z",
        "from=2026-01-01&to=2026-04-03&group_by=room",
        "from=2026-01-01&to=2026-02-01&group_by=hour",
    ):
        answer = await casino.get(f"{REPORT}?{query}")
        assert (answer.status_code, answer.json()["rows"]) == (200, []), answer.text
    answer = await casino.send("GET", around_now(), b"", {"Accept": "text/csv"})
    assert answer.text == ",".join(["period", *FIELDS, "as_of_ms"]) + "\r\n"


async def test_the_client_asks_by_days_and_by_hours_of_any_zone(gateway: Gateway) -> None:
    casino, room = await gateway.casino(ed25519=True), await gateway.room(period_ms=2_000, lock_lead_ms=500)
    await counted(gateway, await bet(casino, room, 7))
    today = datetime.now(UTC).date()
    days = today - timedelta(days=1), today + timedelta(days=2)
    async with Client(ORIGIN, casino.key_id, casino.key, transport=gateway.client._transport, attempts=1) as client:
        report = await client.revenue(*days)
        assert [(row.currency, row.bets, row.turnover_minor, row.rtp_expected) for row in report.rows] == [
            ("EUR", 1, 100, "0.940000")
        ]
        assert (report.group_by, report.to_ms - report.from_ms) == ("day", 3 * 24 * 3_600_000)
        by_room = await client.revenue(*days, group_by="room")
        assert [row.room for row in by_room.rows] == [room.id]
        in_tokyo = datetime(2026, 11, 1, 9, tzinfo=timezone(timedelta(hours=9)))
        hours = await client.revenue(in_tokyo, in_tokyo + timedelta(hours=1), group_by="hour")
        assert hours.from_ms == int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
        text = await client.revenue_csv(*days, group_by="currency")
        assert text.splitlines()[0].startswith("currency,rounds,bets,turnover_minor")
        assert text.splitlines()[1].startswith("EUR,1,1,100,")
        for wrong in (client.revenue, client.revenue_csv):
            with pytest.raises(Refused, match="invalid_period"):
                await wrong(days[1], days[0])
            with pytest.raises(Refused, match="invalid_query"):
                await wrong(in_tokyo + timedelta(minutes=1), days[1])
            with pytest.raises(ValueError, match="does not know its zone"):
                await wrong(datetime(2026, 11, 1), days[1])  # noqa: DTZ001 - that is the point


async def test_a_csv_of_something_on_the_way_is_no_report(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    casino = await gateway.casino()
    async with Client(ORIGIN, casino.key_id, casino.key, transport=gateway.client._transport, attempts=1) as client:

        async def page(*_: Any) -> Any:
            return await casino.get(around_now())

        monkeypatch.setattr(client, "_answer", page)
        with pytest.raises(Unanswered, match="no text/csv"):
            await client.revenue_csv(datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1))
