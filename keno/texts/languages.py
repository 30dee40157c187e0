"""The languages that people are answered in, and which of them a header or a locale asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from keno.phrases import Phrase

DEFAULT: Final = "en"
LANGUAGES: Final = (DEFAULT, "de", "es", "pt", "ja")

_HEADER_CHARACTERS_MAX: Final = 512
_RANGES_MAX: Final = 32
_RANGE: Final = re.compile(
    r"[ \t]*(?P<range>\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)"
    r"(?:[ \t]*;[ \t]*q=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*",
    re.IGNORECASE,
)


class Language(NamedTuple):
    """A language with what is said otherwise in it than in the English of the source, by the id of each text.

    With `player` it is a player who is spoken to, and else the people who write clients.
    """

    tag: str
    texts: Mapping[str, str]
    player: bool = False

    def to_players(self) -> Language:
        """The same language for a player."""
        return self._replace(player=True)

    def text(self, text_id: str, english: str) -> str:
        """A text in this language."""
        return self.texts.get(text_id, english)

    def phrase(self, english: str) -> str:
        """A sentence in this language, as a plain text; its id is its template."""
        if not isinstance(english, Phrase):
            return self.texts.get(english, english)
        template = self.texts.get(english.template)
        return str(english) if template is None else template.format(**english.values)


ENGLISH: Final = Language(DEFAULT, {})


def language_of_locale(locale: str) -> str:
    """The language for a locale such as `pt-BR`; English where it is none of ours."""
    primary = locale.partition("-")[0].lower()
    return primary if primary in LANGUAGES else DEFAULT


def language_of_header(values: Sequence[str]) -> str:
    """The language for the values of Accept-Language (RFC 9110, 12.5.4; look-up as RFC 4647, 3.4 has it).

    English where none of ours is asked for, and where the header is malformed or longer than any browser's.
    """
    header = ",".join(values)
    # Before the cache, which would keep what is longer.
    return _negotiated(header) if 0 < len(header) <= _HEADER_CHARACTERS_MAX else DEFAULT


@lru_cache(1_024)
def _negotiated(header: str) -> str:
    items = [item for item in header.split(",") if item.strip(" \t")]
    if len(items) > _RANGES_MAX:
        return DEFAULT
    weights: dict[str, float] = {}
    for item in items:
        found = _RANGE.fullmatch(item)
        if found is None:
            return DEFAULT
        weights.setdefault(found["range"].lower(), float(found["weight"] or 1))
    named = {each.partition("-")[0] for each in weights}
    # The sort is stable: of equal weights the first stands first.
    for wanted, weight in sorted(weights.items(), key=lambda each: -each[1]):
        if weight == 0:
            break
        if wanted == "*":
            rest = [language for language in LANGUAGES if language not in named]
            return DEFAULT if DEFAULT in rest or not rest else rest[0]
        primary = wanted.partition("-")[0]
        if primary in LANGUAGES and weights.get(primary, 1) > 0:
            return primary
    return DEFAULT
