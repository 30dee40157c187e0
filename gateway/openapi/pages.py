"""The documents as pages for people: plain HTML made of the documents themselves, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:var(--soft);padding:.6rem;overflow-x:auto}
nav a{margin-right:1rem}details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
.method{display:inline-block;min-width:4.5rem;font-weight:700}
"""
_NAVIGATION: Final = (
    '<nav><a href="/docs">Calls</a><a href="/docs/live">Live stream</a><a href="/docs/events">Events</a>'
    '<a href="/openapi.json">openapi.json</a><a href="/asyncapi-live.json">asyncapi-live.json</a>'
    '<a href="/asyncapi-events.json">asyncapi-events.json</a></nav>'
)
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of these pages."""


def openapi_page(document: dict[str, Any]) -> bytes:
    """All calls by their tags, then all schemas."""
    info = document["info"]
    parts = [_prose(info["description"])]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>")
        for path, methods in document["paths"].items():
            parts += [_call(document, path, *each) for each in methods.items() if tag["name"] in each[1]["tags"]]
    parts += ["<h2>Schemas</h2>", *_schemas(document)]
    return _page(info["title"], parts)


def asyncapi_page(document: dict[str, Any]) -> bytes:
    """All messages by their operations, then all schemas."""
    info = document["info"]
    parts = [_prose(info["description"])]
    for name, operation in document["operations"].items():
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        way = "you send" if operation["action"] == "receive" else "you get"
        parts.append(f"<h2 id='{escape(name)}'>{escape(channel['address'])}: {way}</h2>")
        messages = operation.get("messages") or channel["messages"].values()
        parts += [_message(document, each["$ref"].rpartition("/")[2]) for each in messages]
    parts += ["<h2>Schemas</h2>", *_schemas(document)]
    return _page(info["title"], parts)


def _page(title: str, parts: Iterable[str]) -> bytes:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head>'
        f"<body>{_NAVIGATION}<h1>{escape(title)}</h1>\n{body}</body></html>\n"
    ).encode()


def _prose(text: str) -> str:
    return "".join(f"<p>{_marked(paragraph)}</p>" for paragraph in text.split("\n\n"))


def _marked(text: str) -> str:
    """Text with what stands in backquotes as code."""
    return "".join(
        f"<code>{escape(each)}</code>" if place % 2 else escape(each) for place, each in enumerate(text.split("`"))
    )


def _call(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{each['in']}</td>"
        f"<td>{_marked(each['description'])} <code>{_short(each['schema'])}</code></td></tr>"
        for each in operation.get("parameters", ())
    ]
    parts = [f"<table>{''.join(rows)}</table>"] if rows else []
    access = " and ".join(name for each in operation["security"] for name in each) or "nothing"
    parts.append(f"<p>Proof: {escape(access)}.</p>")
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        parts.append(f"<p>Body: {_linked(content['schema'])}</p>")
    named = document["components"]["responses"]
    answers = "".join(
        _answer(status, named[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer)
        for status, answer in operation["responses"].items()
    )
    parts.append(f"<table><tr><th>status<th>answer</tr>{answers}</table>")
    head = f'<span class="method">{method.upper()}</span><code>{escape(path)}</code> {escape(operation["summary"])}'
    return f'<details id="{escape(operation["operationId"])}"><summary>{head}</summary>{"".join(parts)}</details>'


def _answer(status: str, answer: dict[str, Any]) -> str:
    kinds = " ".join(_linked(each["schema"]) for each in answer.get("content", {}).values() if status < "4")
    headers = ", ".join(f"<code>{escape(name)}</code>" for name in answer.get("headers", ()))
    return (
        f"<tr><td>{status}</td><td>{_marked(answer['description'])} {kinds}"
        f"{'<br>Headers: ' + headers if headers else ''}</td></tr>"
    )


def _message(document: dict[str, Any], name: str) -> str:
    message = document["components"]["messages"][name]
    return (
        f"<details><summary><code>{escape(message['name'])}</code> {escape(message['summary'])}</summary>"
        f"{_body(message['payload'])}</details>"
    )


def _schemas(document: dict[str, Any]) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        does = escape(schema.get("description", ""))
        head = f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code> {does}</summary>'
        yield f"{head}{_body(schema)}</details>"


def _body(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"<p>{_linked(schema)}</p>"
    if "properties" not in schema:
        return f"<pre>{_short(schema)}</pre>"
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{'required' if name in required else 'optional'}</td>"
        f"<td>{_linked(each)}</td></tr>"
        for name, each in schema["properties"].items()
    )
    rest = {name: each for name, each in schema.items() if name in ("oneOf", "additionalProperties")}
    return f"<table>{rows}</table><pre>{_short(rest)}</pre>" if rest else f"<table>{rows}</table>"


def _linked(schema: dict[str, Any]) -> str:
    """A schema in a line, with a link where it is one of the named ones."""
    for each in (schema, *schema.get("anyOf", ()), schema.get("items") or {}):
        if "$ref" in each:
            name = escape(each["$ref"].rpartition("/")[2])
            whole = "" if each is schema else f" <code>{_short(schema)}</code>"
            return f'<a href="#schema-{name}"><code>{name}</code></a>{whole}'
    return f"<code>{_short(schema)}</code>"


def _short(value: Any) -> str:
    """A schema as people read it in a line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{name}: {_plain(each)}" for name, each in value.items() if name not in ("title", "default"))
        return escape(inner)
    return escape(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value).rpartition("/")[2] if isinstance(value, str) and value.startswith("#/") else str(value)
