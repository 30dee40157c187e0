"""The page `/verify`, on which a browser verifies rounds by itself, and the same page as one file to keep.

The modules of `verify/` are joined into one script, which is named by its hash and cached for ever. The file to keep
has script and style inside, and a policy that names their hashes: it loads nothing and can send nothing. It is in
English; the page itself is in the language of who asks, but for what a check found and the verdict of a round, which
are said as the commands say them.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Final

from gateway.web.pages import NOTHING, Asset, digest, in_language, joined, named, said_by, texts_of
from keno.texts.languages import ENGLISH, Language

FOLDER: Final = Path(__file__).parent / "verify"
# Each after what it imports.
MODULES: Final = (
    *(
        "bytes.mjs",
        "json.mjs",
        "log.mjs",
        "shapes.mjs",
        "evidence.mjs",
        "report.mjs",
        "draw.mjs",
        "rules.mjs",
        "bets.mjs",
        "seen.mjs",
        "receipts.mjs",
    ),
    *("verify.mjs", "../texts.mjs", "checks.mjs", "page.mjs"),
)
OFFLINE_NAME: Final = "keno-verify.html"

_ONLINE: Final = """<form id="round">
<label><span data-text="or the id of a round">or the id of a round</span>
<input name="id" inputmode="numeric" pattern="[1-9][0-9]{0,18}" required size="20"></label>
<button data-text="Fetch its public evidence and verify">Fetch its public evidence and verify</button>
</form>"""
_OFFLINE: Final = f"""<a href="/verify/{OFFLINE_NAME}" download data-text="Save this page (in English)">Save this page
(in English)</a>, <span data-text="compare it with a copy from elsewhere, and use it without us.">compare it with a copy
from elsewhere, and use it without us.</span>"""


def assets() -> dict[str, Asset]:
    """What the page loads, by its path below `/verify`, and the page in one file."""
    script, style = _script(), _style()
    return {
        named(script, "verify", "js"): Asset(script.encode(), "text/javascript"),
        named(style, "verify", "css"): Asset(style.encode(), "text/css"),
        OFFLINE_NAME: _offline_page(script, style),
    }


def page(language: Language) -> Asset:
    """The page itself in a language."""
    script = _script()
    head = (
        f'<link rel="icon" href="data:,">\n<link rel="stylesheet" href="/verify/{named(_style(), "verify", "css")}">\n'
        f'<script type="module" src="/verify/{named(script, "verify", "js")}"></script>'
    )
    policy = (
        f"{NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
    )
    html = _filled(head, _ONLINE, _OFFLINE).replace("<body>", f'<body data-texts="{said_by(script, [language])}">')
    return _page(in_language(html, language), policy)


def texts() -> list[str]:
    """The English of everything that the page says."""
    return texts_of(_filled("", _ONLINE, _OFFLINE), _script())


def _offline_page(script: str, style: str) -> Asset:
    inline = f"{NOTHING}; script-src {_source(script)}; style-src {_source(style)}; img-src data:"
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{inline}">\n<link rel="icon" href="data:,">\n'
        f'<style>{style}</style>\n<script type="module">{script}</script>'
    )
    return _page(in_language(_filled(head, "", ""), ENGLISH), f"{inline}; frame-ancestors 'none'")


def _page(html: str, policy: str) -> Asset:
    return Asset(html.encode(), "text/html", policy)


def _filled(head: str, online: str, offline: str) -> str:
    html = (FOLDER / "index.html").read_text()
    for mark, text in (("head", head), ("online", online), ("offline", offline)):
        html = html.replace(f"<!-- {mark} -->", text)
    return html


def _script() -> str:
    return joined(FOLDER, MODULES)


def _style() -> str:
    return (FOLDER / "page.css").read_text()


def _source(text: str) -> str:
    """A text as a source of a Content-Security-Policy."""
    return f"'sha256-{b64encode(digest(text)).decode()}'"
