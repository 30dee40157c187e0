"""What the pages have in common: modules joined into one script, assets named by their hash, texts in a language.

The source of a page is English. An element with `data-text` says that text in another language, one with `data-label`
is labelled so, and a script says `t("English")`, whose other languages the page carries in `data-texts`.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from keno.texts.languages import Language

NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'"
NAMED_BY_HASH: Final = "public, max-age=31536000, immutable"

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\.\.?/[a-z0-9]+\.mjs";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ", re.MULTILINE)
_TEXT: Final = re.compile(r'(data-text="([^"]+)"[^>]*>)([^<]*)')
_LABEL: Final = re.compile(r'(data-label="([^"]+)" aria-label=")([^"]*)')
_SAID: Final = re.compile(r'\bt\(\s*("(?:[^"\\]|\\.)*")')


class Asset(NamedTuple):
    """Bytes to serve. `policy` is the Content-Security-Policy of a page, None for what a page loads."""

    body: bytes
    media_type: str
    policy: str | None = None


def joined(folder: Path, modules: Sequence[str]) -> str:
    """All modules as one, in which their names are each other's; each comes after what it imports."""
    return "".join(_EXPORT.sub("", _IMPORT.sub("", (folder / name).read_text())) for name in modules)


def named(text: str, stem: str, kind: str) -> str:
    """A name that belongs to this content alone."""
    return f"{stem}.{digest(text).hex()[:16]}.{kind}"


def digest(text: str) -> bytes:
    """SHA-256."""
    return hashlib.sha256(text.encode()).digest()


def texts_of(*sources: str) -> list[str]:
    """The English of every text in sources of pages and scripts, each once."""
    return list(dict.fromkeys(each for source in sources for each in _texts(source)))


def said_by(script: str, languages: Iterable[Language]) -> str:
    """What a script says, by language, as JSON for `data-texts`; what it says in plain English is not in there."""
    said = texts_of(script)
    carried = {
        language.tag: {english: text for english in said if (text := language.text(english, english)) != english}
        for language in languages
    }
    return html.escape(json.dumps(carried, ensure_ascii=False, separators=(",", ":")))


def in_language(page: str, language: Language) -> str:
    """A page whose texts and labels are in a language."""

    def said(found: re.Match[str]) -> str:
        english = html.unescape(found[2])
        return found[1] + html.escape(language.text(english, english))

    page = page.replace('<html lang="en">', f'<html lang="{language.tag}">', 1)
    return _LABEL.sub(said, _TEXT.sub(said, page))


def _texts(source: str) -> Iterator[str]:
    for found in (*_TEXT.finditer(source), *_LABEL.finditer(source)):
        yield html.unescape(found[2])
    for found in _SAID.finditer(source):
        yield json.loads(found[1])
