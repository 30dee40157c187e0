"""Texts by language, for everything that answers people."""

from __future__ import annotations

from collections.abc import Sequence

from keno.texts.catalog import shipped
from keno.texts.languages import LANGUAGES, Language, language_of_header, language_of_locale


class Texts:
    """The languages of a process."""

    def __init__(self) -> None:
        self._languages = {tag: Language(tag, shipped(tag)) for tag in LANGUAGES}

    def for_header(self, values: Sequence[str]) -> Language:
        """The language that a request's values of Accept-Language ask for."""
        return self._languages[language_of_header(values)]

    def for_locale(self, locale: str) -> Language:
        """The language of a session."""
        return self._languages[language_of_locale(locale)]
