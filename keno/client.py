"""A client of the operator API: signs, checks what it is answered, and asks again under the same transaction id.

Needs httpx (`pip install keno[client]`) and nothing of the server but the rules of signatures. Answers are JSON values
as `/openapi.json` describes them. Not here: the live stream, which is for players.

    ClientError
    +-- Refused           a problem: it says its code, and nothing was stored
    +-- Unanswered        no answer, or only failures of the server: it is not known whether it was done
    +-- NotTheirAnswer    an answer that is not signed as the server signs
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import secrets
import time
from base64 import b64encode, urlsafe_b64decode
from binascii import a2b_base64
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keno.errors import KenoError
from keno.identity.signature import HmacSecret, SigningKey, sign

_COMPONENTS: Final = '("@status" "content-digest" "signature";req)'
_ANSWER_INPUT: Final = re.compile(
    rf'keno=({re.escape(_COMPONENTS)};created=([0-9]+);keyid="([A-Za-z0-9_-]+)";alg="(ed25519|hmac-sha256)")'
)
_ANSWER_SIGNATURE: Final = re.compile(r"keno=:([A-Za-z0-9+/]+={0,2}):")
_CLOCK_S: Final = 60
_PAUSE_S: Final = 0.2
_PAUSE_MAX_S: Final = 10.0


class ClientError(KenoError):
    """Base of what this client raises."""


class Refused(ClientError):  # noqa: N818 - named for what happened
    """The server's problem (RFC 9457), as `problem`; decide by `code`."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.problem = problem
        self.code: str = problem["code"]


class Unanswered(ClientError):  # noqa: N818 - named for what happened
    """No answer to all attempts. Do the same again under the same transaction id."""


class NotTheirAnswer(ClientError):  # noqa: N818 - named for what happened
    """An answer whose signature is wanting or wrong: it proves nothing."""


class Client:
    """An operator's client of `origin`, spelled as the server spells it. To be used in `async with`.

    `attempts` is how often a request is sent at most; each time it is signed afresh and otherwise the same.
    """

    def __init__(
        self,
        origin: str,
        key_id: str,
        key: SigningKey,
        *,
        attempts: int = 6,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._origin = origin
        self._key_id = key_id
        self._key = key
        self._attempts = attempts
        self._http = httpx.AsyncClient(timeout=timeout_s, transport=transport)
        self._their_keys: dict[str, Ed25519PublicKey] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def place_bet(self, bet: Mapping[str, Any]) -> dict[str, Any]:
        """The bet with its receipt. Raises Refused."""
        return await self.call("POST", "/v1/bets", bet)

    async def place_bets(self, bets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A result for each of up to 1,000 bets, in their order: `status`, and `bet` or `problem`."""
        answer = await self.call("POST", "/v1/bets/batch", {"bets": list(bets)})
        return list(answer["results"])

    async def deposit(self, player: str, transaction_id: str, amount_minor: int, currency: str) -> dict[str, Any]:
        """The movement, and the balance after it. Raises Refused."""
        return await self._move(player, "deposits", transaction_id, amount_minor, currency)

    async def withdraw(self, player: str, transaction_id: str, amount_minor: int, currency: str) -> dict[str, Any]:
        """The movement, and the balance after it. Raises Refused."""
        return await self._move(player, "withdrawals", transaction_id, amount_minor, currency)

    async def roll_back(self, target_id: str, transaction_id: str) -> dict[str, Any]:
        """The rollback of the movement `target_id`. Raises Refused."""
        path = f"/v1/wallet-transactions/{quote(target_id, safe='')}/rollback"
        return await self.call("POST", path, {"transaction_id": transaction_id})

    async def launch(self, player: str, currency: str, **more: Any) -> dict[str, Any]:
        """A session with its ticket and launch URL; `more` are the other fields of the call. Raises Refused."""
        return await self.call("POST", "/v1/sessions", {"player": player, "currency": currency} | more)

    async def statement(self, player: str, **query: str | int) -> AsyncIterator[dict[str, Any]]:
        """The entries of a player's statement, newest first, page after page."""
        async for entry in self.pages("/v1/wallet-transactions", "entries", {"player": player} | query):
            yield entry

    async def rounds(self, room: str) -> AsyncIterator[dict[str, Any]]:
        """The rounds of a room, newest first, page after page."""
        async for each in self.pages(f"/v1/rooms/{room}/rounds", "rounds", {}):
            yield each

    async def pages(self, path: str, member: str, query: Mapping[str, str | int]) -> AsyncIterator[dict[str, Any]]:
        """What stands under `member` on each page of a call, by its cursor."""
        asked = dict(query)
        while True:
            page = await self.call("GET", f"{path}?{urlencode(asked, quote_via=quote)}" if asked else path)
            for each in page[member]:
                yield each
            if page["next_before"] is None:
                return
            asked["before"] = page["next_before"]

    async def call(self, method: str, target: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Any signed call: `target` is path and query as they are sent. Raises ClientError."""
        content = b"" if body is None else json.dumps(body).encode()
        reason = ""
        for attempt in range(self._attempts):
            try:
                answer, signature = await self._send(method, target, content)
            except httpx.TransportError as error:
                reason, wait_s = repr(error), _PAUSE_S * 2**attempt
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    await self._check(answer, signature)
                    return _value(answer)
                reason = answer.text
                wait_s = float(answer.headers.get("retry-after", _PAUSE_S * 2**attempt))
            if attempt + 1 < self._attempts:
                await asyncio.sleep(min(wait_s, _PAUSE_MAX_S))
        raise Unanswered(f"{self._attempts} attempts at {method} {target}: {reason}")

    async def _move(
        self, player: str, way: str, transaction_id: str, amount_minor: int, currency: str
    ) -> dict[str, Any]:
        body = {"transaction_id": transaction_id, "amount_minor": amount_minor, "currency": currency}
        return await self.call("POST", f"/v1/wallets/{quote(player, safe='')}/{way}", body)

    async def _send(self, method: str, target: str, content: bytes) -> tuple[httpx.Response, str]:
        signed = sign(
            self._key,
            self._key_id,
            method=method,
            target_uri=self._origin + target,
            body=content,
            created_s=int(time.time()),
            nonce=secrets.token_urlsafe(16),
        )
        headers = signed | ({"Content-Type": "application/json"} if content else {})
        answer = await self._http.request(method, self._origin + target, content=content, headers=headers)
        return answer, signed["Signature"]

    async def _check(self, answer: httpx.Response, request_signature: str) -> None:
        """Raises NotTheirAnswer. A request that was not signed well is refused without a signature."""
        if answer.status_code in (400, 401, 408, 413, 421) and "signature" not in answer.headers:
            return
        found = _ANSWER_INPUT.fullmatch(answer.headers.get("signature-input", ""))
        signature = _ANSWER_SIGNATURE.fullmatch(answer.headers.get("signature", ""))
        digest = f"sha-256=:{b64encode(sha256(answer.content).digest()).decode()}:"
        if found is None or signature is None or answer.headers.get("content-digest") != digest:
            raise NotTheirAnswer("the answer has no signature of the profile over its bytes")
        params, created_s, key_id, algorithm = found.groups()
        if abs(time.time() - int(created_s)) > _CLOCK_S or (algorithm == "ed25519") == isinstance(
            self._key, HmacSecret
        ):
            raise NotTheirAnswer("the answer was signed at another time, or with another kind of key")
        base = (
            f'"@status": {answer.status_code}\n"content-digest": {digest}\n"signature";req: {request_signature}\n'
            f'"@signature-params": {params}'
        ).encode()
        if not await self._is_theirs(key_id, a2b_base64(signature[1]), base):
            raise NotTheirAnswer("the signature of the answer is wrong")

    async def _is_theirs(self, key_id: str, signature: bytes, base: bytes) -> bool:
        if isinstance(self._key, HmacSecret):
            return key_id == self._key_id and hmac.compare_digest(
                hmac.digest(self._key.secret, base, "sha256"), signature
            )
        if key_id not in self._their_keys:
            await self._learn_keys()
        if key_id not in self._their_keys:
            return False
        try:
            self._their_keys[key_id].verify(signature, base)
        except InvalidSignature:
            return False
        return True

    async def _learn_keys(self) -> None:
        published = (await self._http.get(self._origin + "/.well-known/jwks.json")).raise_for_status().json()
        for each in published["keys"]:
            raw = urlsafe_b64decode(each["x"] + "=" * (-len(each["x"]) % 4))
            self._their_keys[each["kid"]] = Ed25519PublicKey.from_public_bytes(raw)


def _value(answer: httpx.Response) -> dict[str, Any]:
    value: dict[str, Any] = answer.json()
    if answer.status_code >= 400:
        raise Refused(value)
    return value
