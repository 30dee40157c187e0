"""Sentences for people that may be said in another language: their English, its template, and the values in it. Pure.

A catalog has its translations by the template; a plain text is its own template. Not here: catalogs and languages, see
`keno.texts`.
"""

from __future__ import annotations

from collections.abc import Mapping


class Phrase(str):
    """A sentence in English that remembers how it was made. `values` are what the template's names stand for."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]


def said(template: str, /, **values: object) -> Phrase:
    """The sentence that `template`, as of str.format, makes of the values."""
    return worded(template.format(**values), template, **values)


def worded(english: str, template: str, /, **values: object) -> Phrase:
    """A sentence whose English is somebody else's: in other languages it is said as `template` says it."""
    phrase = Phrase(english)
    phrase.template, phrase.values = template, values
    return phrase


def phrase_of(error: Exception) -> str:
    """What an error was made with; str() would forget how it was made."""
    return error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
