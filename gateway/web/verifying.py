"""The page `/verify`, on which a browser verifies rounds by itself, and the same page as one file to keep.

The modules of `verify/` are joined into one script, which is named by its hash and cached for ever. The file to keep
has script and style inside, and a policy that names their hashes: it loads nothing and can send nothing.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from pathlib import Path
from typing import Final, NamedTuple

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
    *("verify.mjs", "page.mjs"),
)
OFFLINE_NAME: Final = "keno-verify.html"

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./[a-z]+\.mjs";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ", re.MULTILINE)
_NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'"
_ONLINE: Final = """<form id="round">
<label>or the id of a round <input name="id" inputmode="numeric" pattern="[1-9][0-9]{0,18}" required size="20"></label>
<button>Fetch its public evidence and verify</button>
</form>"""
_OFFLINE: Final = f"""<a href="/verify/{OFFLINE_NAME}" download>Save this page</a>, compare it with a copy
from elsewhere, and use it without us. """


class Asset(NamedTuple):
    """Bytes to serve. `policy` is the Content-Security-Policy of a page, None for what a page loads."""

    body: bytes
    media_type: str
    policy: str | None = None


def assets() -> dict[str, Asset]:
    """Everything by its path below `/verify`: the page itself by "", what it loads, and the page in one file."""
    script = _script()
    style = (FOLDER / "page.css").read_text()
    script_name = f"verify.{_digest(script).hex()[:16]}.js"
    style_name = f"verify.{_digest(style).hex()[:16]}.css"
    head = (
        f'<link rel="icon" href="data:,">\n<link rel="stylesheet" href="/verify/{style_name}">\n'
        f'<script type="module" src="/verify/{script_name}"></script>'
    )
    policy = (
        f"{_NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
    )
    return {
        "": _page(_filled(head, _ONLINE, _OFFLINE), policy),
        script_name: Asset(script.encode(), "text/javascript"),
        style_name: Asset(style.encode(), "text/css"),
        OFFLINE_NAME: _offline_page(script, style),
    }


def _offline_page(script: str, style: str) -> Asset:
    inline = f"{_NOTHING}; script-src {_source(script)}; style-src {_source(style)}; img-src data:"
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{inline}">\n<link rel="icon" href="data:,">\n'
        f'<style>{style}</style>\n<script type="module">{script}</script>'
    )
    return _page(_filled(head, "", ""), f"{inline}; frame-ancestors 'none'")


def _page(html: str, policy: str) -> Asset:
    return Asset(html.encode(), "text/html", policy)


def _filled(head: str, online: str, offline: str) -> str:
    html = (FOLDER / "index.html").read_text()
    for mark, text in (("head", head), ("online", online), ("offline", offline)):
        html = html.replace(f"<!-- {mark} -->", text)
    return html


def _script() -> str:
    """All modules as one, in which their names are each other's."""
    return "".join(_EXPORT.sub("", _IMPORT.sub("", (FOLDER / name).read_text())) for name in MODULES)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _source(text: str) -> str:
    """A text as a source of a Content-Security-Policy."""
    return f"'sha256-{b64encode(_digest(text)).decode()}'"
