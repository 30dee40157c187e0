"""The page `/play`, to which a launched player is sent: a client of the player API that knows no rule of the game."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from gateway.web.pages import NOTHING, Asset, in_language, joined, named, said_by, texts_of
from keno.texts.languages import Language

FOLDER: Final = Path(__file__).parent / "play"
# Each after what it imports.
MODULES: Final = (
    "money.mjs", "../texts.mjs", "game.mjs", "past.mjs", "session.mjs", "stream.mjs", "terms.mjs", "page.mjs",
)  # fmt: skip


def assets() -> dict[str, Asset]:
    """What the page loads, by its path below `/play`."""
    script, style = _script(), _style()
    return {
        named(script, "play", "js"): Asset(script.encode(), "text/javascript"),
        named(style, "play", "css"): Asset(style.encode(), "text/css"),
    }


def page(
    language: Language, languages: Iterable[Language], origins: Sequence[str], framers: Sequence[str], live_url: str
) -> Asset:
    """The page in a language; it carries the others, because the session's is known only later.

    `origins` are ours, `framers` those whose pages may show it in a frame. `live_url` is where the live stream is,
    empty where it is at our own origin.
    """
    script = _script()
    head = (
        f'<link rel="icon" href="data:,">\n<link rel="stylesheet" href="/play/{named(_style(), "play", "css")}">\n'
        f'<script type="module" src="/play/{named(script, "play", "js")}"></script>'
    )
    # Not every browser takes 'self' to be our sockets too.
    sockets = [live_url] if live_url else [origin.replace("http", "ws", 1) for origin in origins]
    frames = " ".join(("'self'", *framers))
    policy = (
        f"{NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self' {' '.join(sockets)}; img-src data:; "
        f"frame-ancestors {frames}"
    )
    carried = said_by(script + _markup(), languages)
    body = f'<body data-texts="{carried}" data-live="{html.escape(live_url)}">'
    filled = _markup().replace("<!-- head -->", head).replace("<body>", body)
    return Asset(in_language(filled, language).encode(), "text/html", policy)


def texts() -> list[str]:
    """The English of everything that the page says."""
    return texts_of(_markup(), _script())


def _markup() -> str:
    return (FOLDER / "index.html").read_text()


def _script() -> str:
    return joined(FOLDER, MODULES)


def _style() -> str:
    return (FOLDER / "play.css").read_text()
