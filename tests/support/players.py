"""Players in their sessions: launched by a casino, with a client that sends their access token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from support.gateway import JSON, Casino


@dataclass
class Player:
    """A player's client: the tokens it holds, and what it sends with them."""

    client: httpx.AsyncClient
    access_token: str
    refresh_token: str
    session: dict[str, Any]

    async def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.client.get(path, headers=self._headers() | (headers or {}))

    async def post(self, path: str, value: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.client.post(path, content=json.dumps(value), headers=self._headers() | JSON | (headers or {}))

    async def refresh(self) -> httpx.Response:
        """One refresh; its tokens are held from then on."""
        answer = await post(self.client, "/v1/auth/refresh", {"refresh_token": self.refresh_token})
        if answer.status_code == 200:
            self.access_token, self.refresh_token = answer.json()["access_token"], answer.json()["refresh_token"]
        return answer

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


async def post(
    client: httpx.AsyncClient, path: str, value: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """A request without a token."""
    return await client.post(path, content=json.dumps(value), headers=JSON | (headers or {}))


async def launch(casino: Casino, player: str = "p-1", **changes: Any) -> dict[str, Any]:
    """What a casino is answered when it launches a player in EUR."""
    answer = await casino.post("/v1/sessions", {"player": player, "currency": "EUR"} | changes)
    assert answer.status_code == 201, answer.text
    launched: dict[str, Any] = answer.json()
    return launched


async def play(casino: Casino, player: str = "p-1", **changes: Any) -> Player:
    """A launched player whose client has its tokens."""
    return await enter(casino.client, (await launch(casino, player, **changes))["ticket"])


async def enter(client: httpx.AsyncClient, ticket: str) -> Player:
    """The client that exchanged this ticket."""
    answer = await post(client, "/v1/auth/exchange", {"ticket": ticket})
    assert answer.status_code == 200, answer.text
    held = answer.json()
    return Player(client, held["access_token"], held["refresh_token"], held["session"])


def problem(response: httpx.Response) -> tuple[int, str]:
    """The status and code of an answer that must be a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]
