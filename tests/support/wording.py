"""Every text that people can be answered with, found in the source: what a catalog must have."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from gateway.auth import limits
from gateway.problems import KINDS, PLAYER_REMEDIES
from gateway.rest.wallet import REFUSALS
from gateway.web import playing, verifying
from keno import requests
from keno.identity import signature

ROOT = Path(__file__).parents[2]
# What is raised or called with a detail, and which argument that is.
_DETAILED = {
    "problem": 1,
    "answered": 1,
    "ProblemError": 1,
    "RequestError": 1,
    "SignatureError": 1,
    "AuthenticationError": 1,
    "TokenError": 1,
    "SessionError": 1,
    "KeyExistsError": 0,
    "KeyNotFoundError": 0,
    "KeyLimitError": 0,
    "LastKeyError": 0,
    "AddressNotAllowedError": 0,
    "LoginError": 0,
    "NetworkError": 0,
    "StaffSessionError": 0,
    "ArchivedError": 0,
    "close": 1,
}
_MAKERS = {"said": 0, "worded": 1}
# Names under which a detail is handed on that was made elsewhere, where this finds it.
_HANDED_ON = {
    "detail",
    "otherwise",
    "error.detail",
    "phrase_of(error)",
    "_reworded(sentence)",
    "_broken(str(error))",
    "template",
}
_HANDING_ON = ("phrases.py", "problems.py")


@cache
def needed() -> dict[str, str]:
    """The English of every text by its id."""
    texts = {f"{code}.title": kind.title for code, kind in KINDS.items()}
    texts |= {f"{code}.remedy": kind.remedy for code, kind in KINDS.items()}
    texts |= {f"{code}.player": remedy for code, remedy in PLAYER_REMEDIES.items()}
    tables = [detail for _, detail, _ in REFUSALS.values()]
    tables += [*limits._TOO_MANY.values(), *signature._MALFORMED.values()]
    tables += [template for _, template in requests._VALUES]
    return texts | {each: each for each in (*tables, *_phrases(), *playing.texts(), *verifying.texts())}


def _phrases() -> Iterator[str]:
    for folder in ("gateway", "keno"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "client" in path.with_suffix("").parts:
                continue  # it answers nobody, and its errors have names of ours
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                yield from _phrases_of(node, tree, path)


def _phrases_of(node: ast.AST, tree: ast.AST, path: Path) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in _MAKERS:
        yield from _constants(node.args[_MAKERS[name]], tree, path)
    elif name in _DETAILED and len(node.args) > _DETAILED[name]:
        yield from _constants(node.args[_DETAILED[name]], tree, path)


def _constants(value: ast.expr, tree: ast.AST, path: Path) -> Iterator[str]:
    """The texts that an expression stands for; AssertionError for one made where no catalog could have it."""
    match value:
        case ast.Constant(value=str(text)):
            yield from [text] if text else []
        case ast.IfExp():
            yield from _constants(value.body, tree, path)
            yield from _constants(value.orelse, tree, path)
        case ast.Call() if ast.unparse(value.func) in _MAKERS:
            pass
        case ast.Name(id=name) if assigned := _assigned(name, tree):
            for each in assigned:
                yield from _constants(each, tree, path)
        case _:
            handed_on = ast.unparse(value) in _HANDED_ON or path.name in ("phrases.py", "problems.py")
            table = isinstance(value, ast.Subscript) or ast.unparse(value) in ("template",)
            assert handed_on or table, f"{path}:{value.lineno}: {ast.unparse(value)} can't be said in another language"


def _assigned(name: str, tree: ast.AST) -> list[ast.expr]:
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [name]
    ]


def close_reasons() -> list[str]:
    """The English of every reason for which the live stream closes a connection."""
    sources = [(ROOT / "gateway" / "live" / name).read_text() for name in ("connection.py", "server.py")]
    return re.findall(r'(?:\bclose\(Close\.\w+, (?:said\()?|reason = said\()"([^"]+)"', "".join(sources))


def placeholders(text: str) -> list[str]:
    """What a template has to be given, with how it is shown, in one order."""
    found = string.Formatter().parse(text)
    return sorted(f"{name}!{conversion}:{form}" for _, name, form, conversion in found if name is not None)


def numbers(text: str) -> list[str]:
    """The numbers in a text outside of its placeholders."""
    return sorted(re.findall(r"[0-9]+", re.sub(r"\{[^}]*\}", "", text)))
