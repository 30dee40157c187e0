"""The forms that clients read with: whatever the documents say may come is read, and nothing of it is lost."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.openapi.calls import CALLS, BetResults
from gateway.openapi.document import document
from keno.client import requests
from keno.notify import asyncapi, frames, received
from keno.shapes import BetOutcomes, Shape

ANSWERS = sorted(
    {
        call.answer
        for call in CALLS
        if isinstance(call.answer, type) and issubclass(call.answer, msgspec.Struct) and call.status < 300
    },
    key=lambda form: form.__name__,
)
ANSWER_SCHEMAS = document()["components"]["schemas"]
FRAME_SCHEMAS = asyncapi.document()["components"]["schemas"]
FEW = settings(max_examples=5, deadline=None)


@pytest.mark.parametrize("form", ANSWERS, ids=lambda form: form.__name__)
def test_every_answer_of_the_document_is_read(form: type[Shape]) -> None:
    read_as = BetOutcomes if form is BetResults else form

    @FEW
    @given(_values(ANSWER_SCHEMAS[form.__name__], ANSWER_SCHEMAS))
    def check(answer: Any) -> None:
        read = msgspec.json.decode(json.dumps(answer), type=read_as)
        assert _without_nulls(msgspec.to_builtins(read)) == _without_nulls(answer)

    check()


@pytest.mark.parametrize("form", get_args(received.Told), ids=lambda form: form.__name__)
def test_every_frame_of_the_stream_is_read(form: type[msgspec.Struct]) -> None:
    @FEW
    @given(_values(FRAME_SCHEMAS[form.__name__], FRAME_SCHEMAS))
    def check(frame: Any) -> None:
        read = received.decoder.decode(json.dumps(frame))
        assert type(read) is form

    check()


def test_clients_know_the_frames_that_the_server_sends() -> None:
    assert [form.__name__ for form in get_args(received.Told)] == [form.__name__ for form in get_args(frames.Told)]
    for ours, theirs in zip(get_args(frames.Told), get_args(received.Told), strict=True):
        assert ours.__struct_fields__ == theirs.__struct_fields__
        assert ours.__struct_config__.tag == theirs.__struct_config__.tag


@pytest.mark.parametrize("form", ANSWERS, ids=lambda form: form.__name__)
def test_a_member_that_is_new_is_passed_over(form: type[Shape]) -> None:
    assert not form.__struct_config__.forbid_unknown_fields


def test_the_forms_of_bets_for_type_checkers_are_those_of_the_document() -> None:
    for form in (requests.BetRequest, requests.PlayerBetRequest):
        schema = ANSWER_SCHEMAS[form.__name__]
        assert form.__required_keys__ == set(schema["required"])
        assert form.__required_keys__ | form.__optional_keys__ == set(schema["properties"])


def _values(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values as a schema of our documents allows them."""
    if "$ref" in schema:
        return _values(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return st.one_of([_values(each, schemas) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if schema["type"] == "object":
        return _objects(schema, schemas)
    if schema["type"] == "array":
        return st.lists(
            _values(schema["items"], schemas),
            min_size=schema.get("minItems", 0),
            max_size=schema.get("maxItems", 3),
        )
    return {
        "string": _texts(schema),
        "integer": st.integers(schema.get("minimum", -(2**40)), schema.get("maximum", 2**40)),
        "boolean": st.booleans(),
        "null": st.none(),
    }[schema["type"]]


def _objects(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(st.text(max_size=8), _values(schema["additionalProperties"], schemas), max_size=3)
    members = {name: _values(each, schemas) for name, each in schema["properties"].items()}
    required = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: members[name] for name in required},
        optional={name: each for name, each in members.items() if name not in required},
    )


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "uuid":
        return st.uuids().map(str)
    if "pattern" in schema:
        pattern = schema["pattern"].removesuffix(r"\Z").removesuffix("$") + r"\Z"
        return st.from_regex(pattern).filter(lambda text: text.isprintable())
    return st.text(st.characters(codec="utf-8"), min_size=schema.get("minLength", 0), max_size=20)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(each) for name, each in value.items() if each is not None}
