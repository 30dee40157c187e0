"""The catalogs that come with the product: gettext's `.po` files, read where they lie.

An entry with a context has it as its id (`room_closed.title`), any other its English text. Not here: what of them staff
have changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from babel.messages.pofile import read_po

from keno.texts.languages import DEFAULT, LANGUAGES

FOLDER: Final = Path(__file__).parent / "locale"


class Entry(NamedTuple):
    """A text of a catalog."""

    text_id: str
    english: str
    translation: str


@cache
def shipped(language: str) -> MappingProxyType[str, str]:
    """The translations of a language by the ids of their texts; none for English."""
    return MappingProxyType({entry.text_id: entry.translation for entry in entries(language)})


def entries(language: str) -> Iterator[Entry]:
    """The entries of a language's catalog. Raises ValueError for a file that babel cannot read."""
    if language == DEFAULT or language not in LANGUAGES:
        return
    with (FOLDER / language / "LC_MESSAGES" / "keno.po").open("rb") as file:
        for message in read_po(file, locale=language, abort_invalid=True):
            if message.id and message.string and not message.fuzzy:
                english = str(message.id)
                yield Entry(message.context or english, english, str(message.string))


@cache
def english_texts() -> MappingProxyType[str, str]:
    """The English of every text by its id: each catalog has all of them, and a test sees to that."""
    return MappingProxyType({entry.text_id: entry.english for entry in entries(LANGUAGES[1])})
