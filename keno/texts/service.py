"""Texts by language, for everything that answers people: those of the catalogs, and over them what staff changed."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import asyncpg
import msgspec
import structlog

from keno.errors import KenoError
from keno.infra.cache import HELD_MS, Cache
from keno.reporting.store import log_admin_action
from keno.texts import store
from keno.texts.catalog import english_texts, shipped
from keno.texts.languages import LANGUAGES, Language, language_of_header, language_of_locale

CHARACTERS_MAX: Final = 2_000
_ALL: Final = "all"
_Changed = list[tuple[str, str, str]]
_decoder = msgspec.msgpack.Decoder(_Changed)
_log = structlog.get_logger("keno.texts")


class TextError(KenoError):
    """A text cannot be changed as asked; the message says what would be right."""


class Text(NamedTuple):
    """A text as it is said in a language."""

    language: str
    text_id: str
    content: str
    changed: bool


class Texts:
    """The languages of a process."""

    def __init__(self, pool: asyncpg.Pool, cache: Cache) -> None:
        self._pool = pool
        self._kept = cache.kept("texts", self._load, _decoder.decode)
        self._changed: _Changed = []
        self._languages: Mapping[str, Language] = {}
        self._following: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """From now on follow what staff change, in the running event loop, until `close`."""
        self._said()
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="texts")

    async def close(self) -> None:
        """Follow no longer."""
        following, self._following = self._following, None
        while following is not None and not following.done():
            # A cancellation that meets an answer of Redis can get lost in its client.
            following.cancel()
            await asyncio.wait({following}, timeout=1.0)

    def for_header(self, values: Sequence[str]) -> Language:
        """The language that a request's values of Accept-Language ask for."""
        return self._said()[language_of_header(values)]

    def for_locale(self, locale: str) -> Language:
        """The language of a session."""
        return self._said()[language_of_locale(locale)]

    def _said(self) -> Mapping[str, Language]:
        """The languages, each the same object until a text changes: pages are kept as long as theirs is."""
        self._languages = self._languages or _languages([])
        return self._languages

    async def listed(self, language: str | None = None) -> list[Text]:
        """All texts, or those of a language, by language and id."""
        languages = LANGUAGES if language is None else (_checked_language(language),)
        changed = {(tag, text_id): content for tag, text_id, content in await store.changed_texts(self._pool)}
        listed = []
        for tag in languages:
            for text_id, english in sorted(english_texts().items()):
                content = changed.get((tag, text_id), shipped(tag).get(text_id, english))
                listed.append(Text(tag, text_id, content, (tag, text_id) in changed))
        return listed

    async def set(self, language: str, text_id: str, content: str, *, actor: str) -> None:
        """Say a text otherwise; every process follows within a second. Raises TextError."""
        _check(_checked_language(language), text_id, content)
        await self._change(language, text_id, content, actor)

    async def reset(self, language: str, text_id: str, *, actor: str) -> None:
        """Say a text as the catalog does, whether it was changed or not. Raises TextError."""
        _checked_english(text_id)
        await self._change(_checked_language(language), text_id, None, actor)

    async def _change(self, language: str, text_id: str, content: str | None, actor: str) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await store.hold_texts(conn)
            before = await store.changed_text(conn, language, text_id)
            if before == content:
                return
            await store.set_text(conn, language, text_id, content)
            states = [None if each is None else {"text": each} for each in (before, content)]
            await log_admin_action(
                conn, actor, "text.set" if content else "text.reset", f"{language} {text_id}", *states
            )
        await self._kept.changed(_ALL)

    async def _load(self, _: str) -> bytes:
        return msgspec.msgpack.encode(await store.changed_texts(self._pool))

    async def _follow(self) -> None:
        while True:
            self._kept.told.clear()
            try:
                changed = await self._kept.find(_ALL) or []
                if changed != self._changed:
                    self._languages, self._changed = _languages(changed), changed
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failure:
                _log.warning("texts.unread", failure=repr(failure))
            try:
                async with asyncio.timeout(HELD_MS / 1_000):
                    await self._kept.told.wait()
            except TimeoutError:
                # It is held here, not there as well: together they would be older than a change may stay unseen.
                self._kept.forget(_ALL)


def _languages(changed: _Changed) -> Mapping[str, Language]:
    texts = {tag: dict(shipped(tag)) for tag in LANGUAGES}
    for tag, text_id, content in changed:
        if tag in texts:
            texts[tag][text_id] = content
    return {tag: Language(tag, texts[tag]) for tag in LANGUAGES}


def _checked_language(language: str) -> str:
    if language not in LANGUAGES:
        raise TextError(f"there is no language {language}: it is one of {', '.join(LANGUAGES)}")
    return language


def _checked_english(text_id: str) -> str:
    english = english_texts().get(text_id)
    if english is None:
        raise TextError(f"there is no text {text_id!r}; see keno text list")
    return english


def _check(language: str, text_id: str, content: str) -> None:
    english = _checked_english(text_id)
    if not 1 <= len(content) <= CHARACTERS_MAX or not content.strip() or not content.isprintable():
        raise TextError(f"a text is a line of 1 to {CHARACTERS_MAX} printable characters")
    try:
        given = _placeholders(content)
    except ValueError as error:
        raise TextError(f"the text has braces that are no placeholder: {error}") from None
    if given != _placeholders(english):
        wanted = ", ".join(sorted(_placeholders(english))) or "none"
        raise TextError(f"the text {text_id!r} in {language} needs the placeholders of the English: {wanted}")


def _placeholders(text: str) -> set[str]:
    shown = set()
    for _, name, form, conversion in string.Formatter().parse(text):
        if name is not None:
            shown.add("{" + name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "") + "}")
    return shown
