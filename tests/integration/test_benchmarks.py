"""The benchmarks that need servers still run, in their smallest form, and find outcomes equal and books balanced."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from benchmarks import bets_house, events, live, rounds, settlement, settlement_case, verify
from benchmarks.rounds import Case
from benchmarks.servers import Servers


async def test_settlement_gives_what_its_peers_give(services: Servers) -> None:
    async with settlement_case.open_case(services, [1_000], players=200) as case:
        rows = await settlement.rows_of(case, case.rounds[0], runs=1)
    assert {row.what for row in rows if row.peer_name == "one statement"} == {
        "settlement of 1,000 bets",
        "settlement of 1,000 bets, server CPU",
    }


async def test_rounds_balance_on_both_sides(services: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PLAYERS", 200)
    monkeypatch.setattr(rounds, "PEER_ROUNDS", {3: 8})
    rows = await rounds.case_rows(services, Case(rooms=4, bets=3, waves=2, shards=2), runs=1)
    assert [row.what for row in rows] == ["rounds, 3 bets, 4 rooms", *["CPU, 3 bets, 4 rooms"] * 2]


async def test_the_bare_rows_of_rounds_pass_the_guards(services: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PLAYERS", 200)
    monkeypatch.setattr(rounds, "CASES", [Case(rooms=4, bets=0, waves=2, shards=2)])
    row = await rounds.bare_row(services, runs=1)
    assert row.what == "CPU, 0 bets, 4 rooms"


async def test_acceptance_stores_what_it_was_given(services: Servers) -> None:
    async with bets_house.house(services, 200) as house:
        measured = await house.run(house.bets(300), 100, 2)
        assert measured.bets == 300
        assert await house.objections() == []


async def test_frames_of_the_live_stream_all_arrive(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, live._ours(redis_url, redis) as ours:
        await ours.connect(20)
        await ours.run(1)
        assert {reader.received for reader in ours.readers} == {13}
        await ours.leave()


def test_events_all_arrive(services: Servers, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVENTS_A_RUN", events.BATCH_EVENTS_MAX)
    monkeypatch.setattr(events, "PEER_EVENTS_A_RUN", 50)
    monkeypatch.setattr(events, "RUNS", 1)
    with (
        asyncio.Runner() as runner,
        events.entered(runner, events.opened(runner, services, broker, consumed=True)) as bench,
    ):
        rows = events.rows(bench, "outbox to inbox", 20)
    assert rows[-1].what == "outbox to inbox, 20 rooms"


def test_all_evidence_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "ROUNDS", 8)
    monkeypatch.setattr(verify, "RUNS", 1)
    assert verify.measured(tmp_path / "rounds.jsonl", 2, public=False).what.startswith("verify 8 auditor bundles")
