"""Sessions of players: launched with a ticket, opened by it, kept alive by refresh tokens, ended.

A session is one hash in Redis and lives nowhere else: what ends it ends it for every gateway with its next question.
Each change is one script, so two gateways can't both take a ticket or a refresh token. Fails closed: where Redis does
not answer, nobody is let in. Redis must run without evicting keys; one that loses its memory ends all sessions.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final, Literal, NamedTuple, cast
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from keno.errors import KenoError
from keno.identity import refresh, store, tokens
from keno.identity.operators import OPERATOR_STATUS
from keno.identity.refresh import ID_BYTES, NO_TOKEN, RefreshToken
from keno.identity.signing_keys import SigningKeys
from keno.infra.cache import Cache

TICKET_MS: Final = 2 * 60_000
"""How long a ticket waits for the player's client."""
SESSION_IDLE_MS: Final = 2 * 3_600_000
"""How long a session lives on without a refresh."""
SESSION_MAX_MS: Final = 12 * 3_600_000
"""When it ends however it is used; the operator launches the player anew."""
assert tokens.ACCESS_TOKEN_S * 1000 < SESSION_IDLE_MS < SESSION_MAX_MS  # noqa: S101 - a client refreshes in between

_ENDED: Final = "keno:sessions:ended"

_CUT_MS: Final = TICKET_MS + SESSION_MAX_MS + 60_000
"""Longer than a session can be older than its cut, however the clocks of gateways differ."""

_TICKET_SECRET_BYTES: Final = 26
# A multiple of three bytes has one spelling in base64.
assert (ID_BYTES + _TICKET_SECRET_BYTES) % 3 == 0  # noqa: S101
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{56}")

# Each has the session as its only key, so that they run on a cluster too. Times are the caller's, in ms.
_OPEN: Final = """
local ticket = redis.call('HGET', KEYS[1], 'ticket')
if ticket ~= ARGV[1] then return false end
redis.call('HDEL', KEYS[1], 'ticket')
redis.call('HSET', KEYS[1], 'used', ARGV[2], 'ends_ms', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return redis.call('HGET', KEYS[1], 'session')
"""
_REFRESH: Final = """
local used, ends_ms, session = unpack(redis.call('HMGET', KEYS[1], 'used', 'ends_ms', 'session'))
if not used then return {'ended'} end
local left_ms = tonumber(ends_ms) - tonumber(ARGV[3])
if left_ms <= 0 then
    redis.call('DEL', KEYS[1])
    return {'ended'}
end
if ARGV[1] ~= used then
    if ARGV[2] ~= used then
        redis.call('DEL', KEYS[1])
        redis.call('PUBLISH', 'keno:sessions:ended', string.sub(KEYS[1], -32))
        return {'reused'}
    end
    redis.call('HSET', KEYS[1], 'used', ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], math.min(left_ms, tonumber(ARGV[4])))
return {'good', session}
"""
_END: Final = """
local session = redis.call('HGET', KEYS[1], 'session')
if session and (ARGV[1] == '' or cjson.decode(session)['operator_id'] == ARGV[1]) then
    redis.call('PUBLISH', 'keno:sessions:ended', string.sub(KEYS[1], -32))
    return redis.call('DEL', KEYS[1])
end
return 0
"""

SessionCode = Literal["ticket_invalid", "refresh_token_invalid", "refresh_token_reused", "session_ended"]


class SessionError(KenoError):
    """A ticket or a token that opens nothing, or of a session that is over. `code` is stable."""

    def __init__(self, code: SessionCode | Literal["operator_suspended"], detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class SessionStoreError(KenoError):
    """Redis could not say what became of a session."""


class Session(msgspec.Struct, frozen=True):
    """Who plays, and how. `id` is 32 digits of hex; `player` is the operator's reference, `player_id` our own."""

    id: str
    operator_id: UUID
    player_id: int
    player: str
    currency: str
    room: UUID | None
    locale: str
    cut: str
    """The last cut of the player's sessions before the launch, see `SessionService.end_all`; empty for none."""


class Launch(NamedTuple):
    """A session that waits for its player. Nothing can be bet before the ticket was exchanged."""

    session: Session
    ticket: str
    ticket_expires_ms: int


class Tokens(NamedTuple):
    """What a player's client holds from now on."""

    session: Session
    access_token: str
    refresh_token: str


class SessionService:
    """Sessions of players. `issuer` names us in their tokens; `refresh_key` (32 bytes) seals refresh tokens."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        redis: Redis,
        signing_keys: SigningKeys,
        refresh_key: bytes,
        issuer: str,
        cache: Cache,
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._signing_keys = signing_keys
        self._refresh_key = refresh_key
        self._issuer = issuer
        self._statuses = cache.kept(OPERATOR_STATUS, self._load_status, bytes.decode)

    async def launch(
        self,
        operator_id: UUID,
        player_id: int,
        player: str,
        currency: str,
        room: UUID | None,
        locale: str,
        now_ms: int,
    ) -> Launch:
        """A session with a ticket, which is good once and for TICKET_MS. Raises SessionStoreError."""
        session_id, secret = secrets.token_bytes(ID_BYTES), secrets.token_bytes(_TICKET_SECRET_BYTES)
        cut = await self._cut(player_id)
        session = Session(session_id.hex(), operator_id, player_id, player, currency, room, locale, cut)
        name = _name(session.id)
        async with self._redis.pipeline(transaction=True) as pipeline:
            fields = {"session": msgspec.json.encode(session), "ticket": _digest(secret)}
            pipeline.hset(name, mapping=cast("dict[Any, Any]", fields))
            pipeline.pexpire(name, TICKET_MS)
            await _answer(pipeline.execute())
        ticket = base64.urlsafe_b64encode(session_id + secret).decode("ascii")
        return Launch(session, ticket, now_ms + TICKET_MS)

    async def exchange(self, ticket: str, now_ms: int) -> Tokens:
        """The session's first tokens for its ticket.

        Raises SessionError `ticket_invalid` and `session_ended`, SessionStoreError.
        """
        refused = SessionError("ticket_invalid", "the ticket was used before, has expired, or never was one")
        if _TICKET.fullmatch(ticket) is None:
            raise refused
        raw = base64.urlsafe_b64decode(ticket)
        session_id, secret = raw[:ID_BYTES], raw[ID_BYTES:]
        arguments = (_digest(secret), NO_TOKEN, now_ms + SESSION_MAX_MS, SESSION_IDLE_MS)
        # The key is asked for first: a ticket that was used up must not fail for the want of one.
        await self._signing_keys.current("player-token", now_ms)
        found = await self._run(_OPEN, session_id.hex(), *arguments)
        if found is None:
            raise refused
        return await self._tokens(_session(found), NO_TOKEN, now_ms)

    async def refresh(self, refresh_token: str, now_ms: int) -> Tokens:
        """The next tokens for a refresh token; see `keno.identity.refresh` for when a session ends by it.

        Raises SessionError `refresh_token_invalid`, `refresh_token_reused`, `session_ended`, SessionStoreError.
        """
        token = self._unsealed(refresh_token)
        found = await self._run(_REFRESH, token.session.hex(), token.id, token.parent, now_ms, SESSION_IDLE_MS)
        match found:
            case [b"good", session]:
                return await self._tokens(_session(session), token.id, now_ms)
            case [b"reused"]:
                raise SessionError("refresh_token_reused", "a later token was used before: the session is ended")
            case _:
                raise SessionError("session_ended", "the session is over")

    async def authenticate(self, access_token: str, now_ms: int) -> Session:
        """The living session of an access token.

        Raises `tokens.TokenError`, SessionError `session_ended` and `operator_suspended`, SessionStoreError.
        """
        keys = await self._signing_keys.verifying("player-token", now_ms)
        claims = tokens.verify(access_token, keys, issuer=self._issuer, now_s=now_ms // 1000)
        return await self.living(claims.sid, int(claims.sub), now_ms)

    async def living(self, session_id: str, player_id: int, now_ms: int) -> Session:
        """The session of these ids whose ticket was used. Raises as `authenticate`, but for the token."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(_name(session_id), ["session", "used"])
            pipeline.get(_cut_name(player_id))
            (found, used), cut = await _answer(pipeline.execute())
        if found is None or used is None:
            raise SessionError("session_ended", "the session is over")
        session = _session(found)
        _require_uncut(session, cut)
        if await self._statuses.find(str(session.operator_id)) != "active":
            raise SessionError("operator_suspended", "the operator of this player is suspended")
        return session

    async def log_out(self, refresh_token: str) -> None:
        """End the session of a refresh token, if it still lives.

        Raises SessionError `refresh_token_invalid`, SessionStoreError.
        """
        await self._run(_END, self._unsealed(refresh_token).session.hex(), "")

    async def end(self, operator_id: UUID, session_id: str) -> bool:
        """End a session or its launch; False where the operator has none of this id. Raises SessionStoreError."""
        return bool(await self._run(_END, session_id, str(operator_id)))

    async def end_all(self, operator_id: UUID, player: str) -> bool:
        """End every session and launch of a player; False where the operator has no such player.

        A cut is a random mark of the player: a session that was launched under another one is over. It is forgotten
        once no session can be older. Raises SessionStoreError.
        """
        player_id = await store.player_id(self._pool, operator_id, player)
        if player_id is None:
            return False
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_cut_name(player_id), secrets.token_hex(ID_BYTES), px=_CUT_MS)
            pipeline.publish(_ENDED, f"player:{player_id}")
            await _answer(pipeline.execute())
        return True

    async def listen_for_ends(self) -> AsyncIterator[str | None]:
        """What is ended, as it is: the id of a session, or `player:ID` for those that the player has had until now;
        and None each second without any. What runs out is not told.

        Raises SessionStoreError when the connection is lost: then some may have been missed.
        """
        async with self._redis.pubsub() as ends:
            await _answer(ends.subscribe(_ENDED))
            while True:
                message = await _answer(ends.get_message(ignore_subscribe_messages=True, timeout=1.0))
                # Whoever else can publish must not end this with bytes that are no text.
                yield message["data"].decode(errors="replace") if message else None

    async def ended_of(self, sessions: Sequence[Session]) -> set[str]:
        """The ids of those of these sessions that live no longer. Raises SessionStoreError."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for each in sessions:
                pipeline.exists(_name(each.id))
                pipeline.get(_cut_name(each.player_id))
            found = await _answer(pipeline.execute())
        told = zip(sessions, found[::2], found[1::2], strict=True)
        return {each.id for each, lives, cut in told if not lives or _is_cut(each, cut)}

    async def _tokens(self, session: Session, used: bytes, now_ms: int) -> Tokens:
        _require_uncut(session, await _answer(self._redis.get(_cut_name(session.player_id))))
        signing = await self._signing_keys.current("player-token", now_ms)
        session_id = bytes.fromhex(session.id)
        access_token = tokens.issue(
            *signing,
            issuer=self._issuer,
            player_id=session.player_id,
            operator_id=session.operator_id,
            session_id=session_id,
            now_s=now_ms // 1000,
        )
        successor = RefreshToken(session_id, secrets.token_bytes(ID_BYTES), used)
        return Tokens(session, access_token, refresh.seal(self._refresh_key, successor))

    def _unsealed(self, refresh_token: str) -> RefreshToken:
        token = refresh.unseal(self._refresh_key, refresh_token)
        if token is None:
            raise SessionError("refresh_token_invalid", "this is no refresh token of ours")
        return token

    async def _load_status(self, operator_id: str) -> bytes | None:
        status = await store.operator_status(self._pool, UUID(operator_id))
        return None if status is None else status.encode()

    async def _run(self, script: str, session_id: str, *arguments: str | bytes | int) -> Any:
        return await _answer(self._redis.eval(script, 1, _name(session_id), *arguments))

    async def _cut(self, player_id: int) -> str:
        found = await _answer(self._redis.get(_cut_name(player_id)))
        return "" if found is None else str(found, "ascii")


async def _answer(command: Awaitable[Any]) -> Any:
    try:
        return await command
    except (RedisError, OSError) as error:
        raise SessionStoreError("the session store does not answer") from error


def _session(stored: bytes) -> Session:
    return msgspec.json.decode(stored, type=Session)


def _name(session_id: str) -> str:
    return f"keno:session:{session_id}"


def _cut_name(player_id: int) -> str:
    return f"keno:player-cut:{player_id}"


def _is_cut(session: Session, cut: bytes | None) -> bool:
    return cut is not None and cut.decode("ascii") != session.cut


def _require_uncut(session: Session, cut: bytes | None) -> None:
    if _is_cut(session, cut):
        raise SessionError("session_ended", "the sessions of this player were ended")


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
