"""Simulated players. They bet through the operator's signed API, over HTTP, and nothing else."""

import asyncio
import random
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno.game.numbers import NUMBERS, PICKS_MAX
from keno.identity.signature import sign

_THINK_S = (0.3, 2.5)
_BALANCE_LOW_MINOR = 10_000
_DEPOSIT_MINOR = 100_000
_STAKES_MINOR = (100, 100, 200, 500, 1_000)


class OperatorClient:
    """The operator's side of the API: signs each request with its Ed25519 key."""

    def __init__(self, origin: str, key_id: str, private_key: Ed25519PrivateKey) -> None:
        self._origin = origin
        self._key_id = key_id
        self._private_key = private_key
        self._http = httpx.AsyncClient(timeout=10)

    async def call(self, method: str, path: str, content: dict[str, Any] | None = None) -> httpx.Response:
        """Sends a signed request with a JSON body, or none."""
        body = b"" if content is None else msgspec.json.encode(content)
        url = self._origin + path
        headers = sign(
            self._private_key,
            self._key_id,
            method=method,
            target_uri=url,
            body=body,
            created_s=int(time.time()),
            nonce=secrets.token_urlsafe(16),
        )
        if content is not None:
            headers["content-type"] = "application/json"
        return await self._http.request(method, url, content=body, headers=headers)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


class Crowd:
    """Players who bet in a room until they are stopped. `answers` counts the HTTP answers by status and problem
    code.
    """

    def __init__(self, client: OperatorClient, room_id: UUID, currency: str, references: Sequence[str]) -> None:
        self._client = client
        self._room_id = room_id
        self._currency = currency
        self._references = references
        self._taste = random.Random()  # noqa: S311 - which numbers a player likes
        self.answers: Counter[str] = Counter()

    async def play(self, stop: asyncio.Event) -> None:
        """Plays until `stop`."""
        async with asyncio.TaskGroup() as group:
            for reference in self._references:
                group.create_task(self._play(reference, stop))

    async def _play(self, reference: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._fund(reference)
            for _ in range(10):
                await self._bet(reference)
                if await _stopped(stop, self._taste.uniform(*_THINK_S)):
                    return

    async def _fund(self, reference: str) -> None:
        answer = await self._client.call("GET", f"/v1/wallets/{reference}")
        balances = answer.json().get("balances", []) if answer.status_code == httpx.codes.OK else []
        held = sum(each["balance_minor"] for each in balances if each["currency"] == self._currency)
        if held < _BALANCE_LOW_MINOR:
            self._count(
                await self._client.call(
                    "POST",
                    f"/v1/wallets/{reference}/deposits",
                    {"transaction_id": str(uuid.uuid4()), "amount_minor": _DEPOSIT_MINOR, "currency": self._currency},
                )
            )

    async def _bet(self, reference: str) -> None:
        picks = self._taste.sample(range(1, NUMBERS + 1), self._taste.randint(1, PICKS_MAX))
        self._count(
            await self._client.call(
                "POST",
                "/v1/bets",
                {
                    "transaction_id": str(uuid.uuid4()),
                    "player": reference,
                    "room": str(self._room_id),
                    "picks": picks,
                    "stake_minor": self._taste.choice(_STAKES_MINOR),
                    "currency": self._currency,
                },
            )
        )

    def _count(self, answer: httpx.Response) -> None:
        code = "" if answer.is_success else " " + answer.json().get("code", "")
        self.answers[f"{answer.status_code}{code}"] += 1


async def _stopped(stop: asyncio.Event, within_s: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), within_s)
    except TimeoutError:
        return False
    return True
