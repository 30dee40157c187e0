"""A client of the operator API: signs, checks what it is answered, and asks again under the same transaction id."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno import shapes
from keno.client import attempts
from keno.client.live import Live
from keno.client.player import Player
from keno.client.requests import BetRequest
from keno.client.signed_answers import AnswerChecker
from keno.identity.signature import SigningKey, sign
from keno.requests import Grouping

_T = TypeVar("_T")


class _Page(Protocol):
    @property
    def next_before(self) -> str | int | None: ...


_P = TypeVar("_P", bound=_Page)


class Client:
    """An operator's client of `origin`, spelled as the server spells it. To be used in `async with`.

    `attempts` is how often a request is sent at most; each time it is signed afresh and otherwise the same.
    `live_url` is of the live stream where it is not under the origin. All calls raise ClientError: Refused, Unanswered,
    NotTheirAnswer, UnknownAnswer.
    """

    def __init__(
        self,
        origin: str,
        key_id: str,
        key: SigningKey,
        *,
        attempts: int = 6,
        timeout_s: float = 10.0,
        live_url: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._origin = origin
        self._key_id = key_id
        self._key = key
        self._attempts = attempts
        self._live_url = live_url
        self._http = httpx.AsyncClient(timeout=timeout_s, transport=transport)
        self._checker = AnswerChecker(key_id, key, self.published_keys)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    # ---- bets ----

    async def place_bet(self, bet: BetRequest) -> shapes.PlacedBet:
        """The bet with its receipt."""
        return await self.call(shapes.PlacedBet, "POST", "/v1/bets", bet)

    async def place_bets(self, bets: Sequence[BetRequest]) -> list[shapes.BetOutcome]:
        """A result for each of up to 1,000 bets, in their order."""
        return (await self.call(shapes.BetOutcomes, "POST", "/v1/bets/batch", {"bets": list(bets)})).results

    async def bet(self, bet_id: str) -> shapes.StoredBet:
        """A bet, and its result once its round is settled."""
        return await self.call(shapes.StoredBet, "GET", f"/v1/bets/{bet_id}")

    async def bets(
        self, *, player: str | None = None, round_id: str | None = None, limit: int | None = None
    ) -> AsyncIterator[shapes.StoredBet]:
        """The bets of a player, of a round, or both, newest first, page after page of `limit`."""
        given = {"player": player, "round": round_id, "limit": limit}
        query = {name: value for name, value in given.items() if value is not None}
        async for page in self._pages(shapes.StoredBets, "/v1/bets", query):
            for each in page.bets:
                yield each

    async def limit_player(
        self, player: str, currency: str, *, round_bets_max: int | None, round_stake_max_minor: int | None
    ) -> shapes.PlayerLimitsSet:
        """What a player may bet in a round from now on; None is no limit."""
        limits = {
            "currency": currency,
            "round_bets_max": round_bets_max,
            "round_stake_max_minor": round_stake_max_minor,
        }
        return await self.call(shapes.PlayerLimitsSet, "PUT", f"/v1/players/{_part(player)}/limits", limits)

    # ---- rooms and rounds ----

    async def rooms(self) -> list[shapes.Room]:
        """The shared rooms and the operator's own."""
        return (await self.call(shapes.Rooms, "GET", "/v1/rooms")).rooms

    async def room(self, room: str) -> shapes.Room:
        """A room."""
        return await self.call(shapes.Room, "GET", f"/v1/rooms/{room}")

    async def rounds(self, room: str, *, limit: int | None = None) -> AsyncIterator[shapes.Round]:
        """The rounds of a room, newest first, page after page of `limit`."""
        query = {} if limit is None else {"limit": limit}
        async for page in self._pages(shapes.Rounds, f"/v1/rooms/{room}/rounds", query):
            for each in page.rounds:
                yield each

    async def round(self, round_id: str) -> shapes.Round:
        """A round."""
        return await self.call(shapes.Round, "GET", f"/v1/rounds/{round_id}")

    async def countersign(
        self, round_id: str, lock: str, seen_ms: int, key_id: str, key: Ed25519PrivateKey
    ) -> shapes.SeenLock:
        """Say, for the round's evidence, that the lock (in hex) was seen at `seen_ms`, signed by an active key."""
        signature = key.sign(b"keno1:seen" + bytes.fromhex(lock) + seen_ms.to_bytes(8, "big")).hex()
        seen = {"lock": lock, "seen_ms": seen_ms, "key_id": key_id, "signature": signature}
        return await self.call(shapes.SeenLock, "POST", f"/v1/rounds/{round_id}/seen", seen)

    # ---- wallets ----

    async def deposit(self, player: str, transaction_id: str, amount_minor: int, currency: str) -> shapes.MovedMoney:
        """The movement, and the balance after it."""
        return await self._move(player, "deposits", transaction_id, amount_minor, currency)

    async def withdraw(self, player: str, transaction_id: str, amount_minor: int, currency: str) -> shapes.MovedMoney:
        """The movement, and the balance after it."""
        return await self._move(player, "withdrawals", transaction_id, amount_minor, currency)

    async def roll_back(self, target_id: str, transaction_id: str) -> shapes.RolledBack:
        """The rollback of the movement `target_id`."""
        path = f"/v1/wallet-transactions/{_part(target_id)}/rollback"
        return await self.call(shapes.RolledBack, "POST", path, {"transaction_id": transaction_id})

    async def balances(self, player: str) -> list[shapes.Balance]:
        """What a player holds."""
        return (await self.call(shapes.Balances, "GET", f"/v1/wallets/{_part(player)}")).balances

    async def statement(
        self, player: str, *, currency: str | None = None, limit: int | None = None
    ) -> AsyncIterator[shapes.StatementEntry]:
        """The entries of a player's statement, newest first, page after page of `limit`."""
        query: dict[str, str | int] = {"player": player}
        query |= {} if currency is None else {"currency": currency}
        query |= {} if limit is None else {"limit": limit}
        async for page in self._pages(shapes.Statement, "/v1/wallet-transactions", query):
            for each in page.entries:
                yield each

    # ---- reports ----

    async def revenue(self, begin: date, end: date, *, group_by: Grouping = "day") -> shapes.RevenueReport:
        """What was settled from `begin` on and before `end`, as a row for each group and currency: days of UTC, or
        datetimes of whole hours that know their zone.
        """
        return await self.call(shapes.RevenueReport, "GET", _revenue(begin, end, group_by))

    async def revenue_csv(self, begin: date, end: date, *, group_by: Grouping = "day") -> str:
        """The same as CSV, with a header line."""
        accept = {"Accept": "text/csv"}
        answer = await self._answer("GET", _revenue(begin, end, group_by), b"", self._attempts, accept)
        return attempts.text(answer, "text/csv")

    # ---- sessions ----

    async def launch(self, player: str, currency: str, **more: Any) -> shapes.Launched:
        """A session with its ticket and launch URL; `more` are the other fields of the call."""
        return await self.call(shapes.Launched, "POST", "/v1/sessions", {"player": player, "currency": currency} | more)

    async def end_session(self, session_id: str) -> shapes.SessionEnded:
        """End a session or launch."""
        return await self.call(shapes.SessionEnded, "DELETE", f"/v1/sessions/{session_id}")

    async def end_sessions(self, player: str) -> shapes.PlayerSessionsEnded:
        """End all sessions of a player."""
        return await self.call(shapes.PlayerSessionsEnded, "DELETE", f"/v1/players/{_part(player)}/sessions")

    @asynccontextmanager
    async def live(self, *channels: str, ticket: str | None = None) -> AsyncIterator[Live]:
        """The live stream, for the player of a ticket or, without one, for a spectator."""
        if ticket is None:
            async with Live(self._origin, channels, url=self._live_url) as stream:
                yield stream
        else:
            async with (
                await Player.enter(self._origin, ticket, live_url=self._live_url) as player,
                player.live(*channels) as stream,
            ):
                yield stream

    # ---- keys and networks ----

    async def keys(self) -> list[shapes.Key]:
        """The operator's keys."""
        return (await self.call(shapes.Keys, "GET", "/v1/keys")).keys

    async def add_key(
        self, key_id: str, algorithm: Literal["ed25519", "hmac-sha256"], public_key: str | None = None
    ) -> shapes.AddedKey:
        """A new key: of Ed25519 by its public key in hex, or a shared secret that is shown this once.

        A secret is asked for once, as a second answer could not show it. Where the answer was lost (Unanswered), there
        may be a key whose secret nobody has: revoke this id and take another.
        """
        asked = {"key_id": key_id, "algorithm": algorithm}
        if public_key is None:
            return await self._call(shapes.AddedKey, "POST", "/v1/keys", asked, 1)
        return await self.call(shapes.AddedKey, "POST", "/v1/keys", asked | {"public_key": public_key})

    async def revoke_key(self, key_id: str) -> shapes.Key:
        """Revoke a key for good."""
        return await self.call(shapes.Key, "DELETE", f"/v1/keys/{key_id}")

    async def networks(self) -> list[str]:
        """From where the operator calls; from anywhere where there are none."""
        return (await self.call(shapes.Networks, "GET", "/v1/networks")).networks

    async def set_networks(self, networks: Sequence[str]) -> list[str]:
        """Set from where the operator calls."""
        return (await self.call(shapes.Networks, "PUT", "/v1/networks", {"networks": list(networks)})).networks

    # ---- all ----

    async def published_keys(self) -> shapes.JsonWebKeys:
        """The server's public keys."""
        published = await attempts.answered(
            lambda: self._http.get(self._origin + "/.well-known/jwks.json"), self._attempts, "the server's keys"
        )
        return attempts.read(shapes.JsonWebKeys, published)

    async def call(self, form: type[_T], method: str, target: str, body: Mapping[str, Any] | None = None) -> _T:
        """Any signed call, its answer read as `form`: `target` is path and query as they are sent."""
        return await self._call(form, method, target, body, self._attempts)

    async def _call(
        self, form: type[_T], method: str, target: str, body: Mapping[str, Any] | None, attempts_max: int
    ) -> _T:
        content = b"" if body is None else msgspec.json.encode(body)
        return attempts.read(form, await self._answer(method, target, content, attempts_max, {}))

    async def _answer(
        self, method: str, target: str, content: bytes, attempts_max: int, more: dict[str, str]
    ) -> httpx.Response:
        """An answer whose signature is right; `more` are headers that are not signed."""
        signature = ""

        async def send() -> httpx.Response:
            nonlocal signature
            headers = self._signed(method, target, content)
            signature = headers["Signature"]
            return await self._http.request(method, self._origin + target, content=content, headers=headers | more)

        answer = await attempts.answered(send, attempts_max, f"{method} {target}")
        await self._checker.check(answer, signature)
        return answer

    async def _pages(self, form: type[_P], path: str, query: Mapping[str, str | int]) -> AsyncIterator[_P]:
        asked = dict(query)
        while True:
            page = await self.call(form, "GET", f"{path}?{urlencode(asked, quote_via=quote)}" if asked else path)
            yield page
            if page.next_before is None:
                return
            asked["before"] = page.next_before

    async def _move(
        self, player: str, way: str, transaction_id: str, amount_minor: int, currency: str
    ) -> shapes.MovedMoney:
        body = {"transaction_id": transaction_id, "amount_minor": amount_minor, "currency": currency}
        return await self.call(shapes.MovedMoney, "POST", f"/v1/wallets/{_part(player)}/{way}", body)

    def _signed(self, method: str, target: str, content: bytes) -> dict[str, str]:
        signed = sign(
            self._key,
            self._key_id,
            method=method,
            target_uri=self._origin + target,
            body=content,
            created_s=int(time.time()),
            nonce=secrets.token_urlsafe(16),
        )
        return signed | ({"Content-Type": "application/json"} if content else {})


def _revenue(begin: date, end: date, group_by: Grouping) -> str:
    query = {"from": _report_time(begin), "to": _report_time(end), "group_by": group_by}
    return f"/v1/reports/revenue?{urlencode(query)}"


def _report_time(at: date) -> str:
    if not isinstance(at, datetime):
        return at.isoformat()
    if at.tzinfo is None:
        raise ValueError(f"{at} does not know its zone")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _part(text: str) -> str:
    # A player called ".." would be taken for the way up.
    return quote(text, safe="").replace(".", "%2E")
