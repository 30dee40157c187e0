"""A player's client: it has come in with a ticket, and gets the next tokens before its access token expires."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from keno import shapes
from keno.client import attempts
from keno.client.errors import Refused, Unanswered
from keno.client.live import OLD_TOKEN_CODES, Live
from keno.client.requests import PlayerBetRequest

ATTEMPTS: Final = 6
_EARLY_S: Final = 60.0
"""How long before its end an access token is replaced."""

_T = TypeVar("_T")


class Player:
    """One session of a player. To be used in `async with`, from one process: refresh tokens are good once.

    All calls raise ClientError: Refused, Unanswered, UnknownAnswer.
    """

    def __init__(
        self, origin: str, http: httpx.AsyncClient, tokens: shapes.Tokens, live_url: str | None = None
    ) -> None:
        self.session = tokens.session
        self._origin = origin
        self._live_url = live_url
        self._http = http
        self._tokens = tokens
        self._renew_s = 0.0
        self._renewing = asyncio.Lock()
        self._keep(tokens)

    @classmethod
    async def enter(
        cls,
        origin: str,
        ticket: str,
        *,
        timeout_s: float = 10.0,
        live_url: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """The player of a ticket, which is good once. Raises ClientError; after Unanswered it may be used up."""
        http = httpx.AsyncClient(timeout=timeout_s, transport=transport)
        try:
            try:
                answer = await http.post(f"{origin}/v1/auth/exchange", json={"ticket": ticket})
            except httpx.RequestError as error:
                raise Unanswered(f"the ticket: {error!r}") from error
            return cls(origin, http, attempts.read(shapes.Tokens, answer), live_url)
        except BaseException:
            await http.aclose()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def access_token(self, refused: str | None = None) -> str:
        """A token that is good for a while, and another one than the server has `refused`."""
        async with self._renewing:
            if time.monotonic() > self._renew_s or self._tokens.access_token == refused:
                self._keep(await self._post(shapes.Tokens, "/v1/auth/refresh"))
        return self._tokens.access_token

    async def me(self) -> shapes.PlayerState:
        """The session, and its balance."""
        return await self._call(shapes.PlayerState, "GET", "/v1/player/me")

    async def place_bet(self, bet: PlayerBetRequest) -> shapes.PlacedBet:
        """The bet with its receipt."""
        return await self._call(shapes.PlacedBet, "POST", "/v1/player/bets", bet)

    async def bet(self, bet_id: str) -> shapes.StoredBet:
        """A bet of the player."""
        return await self._call(shapes.StoredBet, "GET", f"/v1/player/bets/{bet_id}")

    async def history(self, *, limit: int = 50) -> AsyncIterator[shapes.PlayerEntry]:
        """What moved the balance, newest first, page after page of `limit`."""
        before = ""
        while True:
            page = await self._call(shapes.History, "GET", f"/v1/player/history?limit={limit}{before}")
            for each in page.entries:
                yield each
            if page.next_before is None:
                return
            before = f"&before={page.next_before}"

    async def log_out(self) -> None:
        """End the session."""
        await self._post(shapes.Ended, "/v1/auth/logout")

    def live(self, *channels: str) -> Live:
        """The live stream for the player, following these channels. To be used in `async with`."""
        return Live(self._origin, channels, self.access_token, url=self._live_url)

    def _keep(self, tokens: shapes.Tokens) -> None:
        self._tokens = tokens
        self._renew_s = time.monotonic() + tokens.expires_in_s - _EARLY_S

    async def _post(self, form: type[_T], path: str) -> _T:
        """A call that the refresh token proves. A lost answer is asked for again with the same token."""
        asked = {"refresh_token": self._tokens.refresh_token}
        answer = await attempts.answered(
            lambda: self._http.post(self._origin + path, json=asked), ATTEMPTS, f"POST {path}"
        )
        return attempts.read(form, answer)

    async def _call(self, form: type[_T], method: str, target: str, body: Mapping[str, Any] | None = None) -> _T:
        async def ask(token: str) -> _T:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await attempts.answered(
                lambda: self._http.request(method, self._origin + target, json=body, headers=headers),
                ATTEMPTS,
                f"{method} {target}",
            )
            return attempts.read(form, answer)

        token = await self.access_token()
        try:
            return await ask(token)
        except Refused as refusal:
            if refusal.code not in OLD_TOKEN_CODES:
                raise
        return await ask(await self.access_token(token))
