"""Writes the documents into a folder: `python -m gateway.openapi docs`. Tests hold those in docs/ against the code."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from gateway.openapi import document
from keno.notify import asyncapi, asyncapi_events


def documents() -> dict[str, bytes]:
    """The documents by the names of their files."""
    live, events = (
        msgspec.json.format(msgspec.json.encode(each), indent=1) + b"\n"
        for each in (asyncapi.document(), asyncapi_events.document())
    )
    return {"openapi.json": document.encoded(), "asyncapi-live.json": live, "asyncapi-events.json": events}


if __name__ == "__main__":
    for name, content in documents().items():
        (Path(sys.argv[1]) / name).write_bytes(content)
