"""JSON Schemas as every reader of them understands them, from those that msgspec makes of our types."""

from __future__ import annotations

from typing import Any


def portable(schema: Any) -> Any:
    r"""The schema with patterns of ECMA 262: their end is `$`, where Python's `\Z` is the stricter one."""
    if isinstance(schema, list):
        return [portable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: portable(value) for name, value in schema.items()}
    if isinstance(pattern := made.get("pattern"), str):
        made["pattern"] = pattern.removesuffix(r"\Z") + ("$" if pattern.endswith(r"\Z") else "")
    return made
