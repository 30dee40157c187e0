"""What players who are here are told of an ended round, where a server is away meanwhile."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, Mock, call

import pytest
from structlog.testing import capture_logs

from gateway.live import hub as hub_module
from gateway.live.hub import Hub
from keno.notify.service import RoundTold


async def told_of(news: AsyncMock, rounds: list[str]) -> list[str]:
    """The news that reach players of these rounds, and whatever comes of one more."""
    streams = Mock(publish=AsyncMock())
    hub = Hub(streams, Mock(), Mock(of=news))
    for each in (*rounds, "last"):
        hub._told.put_nowait(RoundTold("wallet.credited", each, 1))
    telling = asyncio.create_task(hub.tell_players())
    async with asyncio.timeout(5):
        while streams.publish.await_args != call("last"):  # noqa: ASYNC110 - a mock tells nobody
            await asyncio.sleep(0.001)
    telling.cancel()
    return [each.args[0] for each in streams.publish.await_args_list]


async def test_news_wait_for_a_server_that_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_RETRY_S", 0.0)
    away = [ConnectionRefusedError()] * 250
    news = AsyncMock(side_effect=[*away, "first", "last"])
    assert await told_of(news, ["first"]) == ["first", "last"]


async def test_news_that_nobody_can_give_are_given_up_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_RETRY_S", 0.001)
    monkeypatch.setattr(hub_module, "_NEWS_S", 0.02)

    async def of(told: RoundTold, _: list[int]) -> str:
        if told.round == "first":
            raise TimeoutError
        return told.round

    with capture_logs() as logged:
        assert await told_of(AsyncMock(side_effect=of), ["first"]) == ["last"]
    assert [(each["event"], each["round"]) for each in logged] == [("news.given_up", "first")]
