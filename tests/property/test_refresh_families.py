"""Refresh tokens against a model of the family that was written without them, under any interleaving of their holders.

The model knows the whole tree of tokens: who was given for whom, and which were used. The service knows one id.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from keno.identity import refresh
from keno.identity.refresh import RefreshToken
from keno.identity.sessions import SessionError, SessionService
from keno.identity.signing_keys import SigningKeys
from keno.infra.cache import Cache

NOW_MS = 1_700_000_000_000


@pytest.fixture
def service(pool: asyncpg.Pool, redis: Redis) -> SessionService:
    signing_keys, cache = SigningKeys(pool, bytes(32)), Cache(redis, bytes(32))
    return SessionService(pool, redis, signing_keys, bytes(32), "https://keno.test", cache)


async def entered(service: SessionService) -> str:
    """The first refresh token of a new session."""
    launched = await service.launch(UUID(int=1), 1, "p-1", "EUR", None, "en", NOW_MS)
    return (await service.exchange(launched.ticket, NOW_MS)).refresh_token


class Family:
    """What must become of each use of a token: the tree of tokens, and the path through it that was used."""

    def __init__(self) -> None:
        self.parents: list[int | None] = [None]
        self.path: list[int] = []
        self.ended = False

    def use(self, token: int) -> str:
        """`good` with one more token in the tree, or why not."""
        if self.ended:
            return "session_ended"
        fresh = self.parents[token] == (self.path[-1] if self.path else None)
        again = bool(self.path) and token == self.path[-1]
        if not fresh and not again:
            self.ended = True
            return "refresh_token_reused"
        if fresh:
            self.path.append(token)
        self.parents.append(token)
        return "good"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.integers(0, 3), min_size=1, max_size=14))
async def test_a_family_ends_with_the_first_use_that_only_a_copy_explains(
    service: SessionService, choices: list[int]
) -> None:
    family, held = Family(), [await entered(service)]
    for choice in choices:
        # The newest tokens are those that matter, the older ones come up now and then.
        token = max(0, len(held) - 1 - choice)
        expected = family.use(token)
        try:
            held.append((await service.refresh(held[token], NOW_MS)).refresh_token)
            seen = "good"
        except SessionError as error:
            seen = error.code
        assert seen == expected


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(copies=st.integers(2, 12))
async def test_of_successors_used_at_once_one_is_taken_and_the_session_ends(
    service: SessionService, copies: int
) -> None:
    first = await entered(service)
    siblings = [(await service.refresh(first, NOW_MS)).refresh_token for _ in range(copies)]
    answers = await asyncio.gather(*(service.refresh(each, NOW_MS) for each in siblings), return_exceptions=True)
    codes = sorted(each.code if isinstance(each, SessionError) else "good" for each in answers)
    assert codes == ["good", "refresh_token_reused"] + ["session_ended"] * (copies - 2)


ids = st.binary(min_size=16, max_size=16)


@given(key=ids, other=ids, token=st.builds(RefreshToken, ids, ids, ids))
def test_a_sealed_token_opens_with_its_key_only(key: bytes, other: bytes, token: RefreshToken) -> None:
    sealed = refresh.seal(key, token)
    assert refresh.unseal(key, sealed) == token
    assert (refresh.unseal(other, sealed) == token) == (key == other)


@given(token=st.builds(RefreshToken, ids, ids, ids), at=st.integers(0, 95), character=st.characters(max_codepoint=255))
def test_a_token_with_any_character_changed_is_none(token: RefreshToken, at: int, character: str) -> None:
    sealed = refresh.seal(bytes(32), token)
    changed = sealed[:at] + character + sealed[at + 1 :]
    assert (refresh.unseal(bytes(32), changed) is None) == (changed != sealed)
