"""The OpenAPI document: what is published is what the code says, and the pages show all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.openapi import pages
from gateway.openapi.__main__ import documents
from gateway.openapi.calls import CALLS
from gateway.openapi.document import codes_of, document
from gateway.problems import KINDS
from keno.notify import asyncapi, asyncapi_events

_PARAMETER = re.compile(r"\{\w+\}")
_ASYNCAPI_3 = Path(__file__).parents[1] / "npm_client/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
_FOLDER = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi-live.json", "asyncapi-events.json"])
def test_the_published_documents_are_those_of_the_code(name: str) -> None:
    """`python -m gateway.openapi docs` writes them."""
    assert (_FOLDER / name).read_bytes() == documents()[name]


@pytest.mark.parametrize("name", ["asyncapi-live.json", "asyncapi-events.json"])
def test_documents_of_messages_are_valid_by_the_schema_of_asyncapi_3(name: str) -> None:
    described = json.loads((_FOLDER / name).read_bytes())
    asyncapi_3 = jsonschema_rs.validator_for(json.loads(_ASYNCAPI_3.read_bytes()))
    assert described["asyncapi"] == "3.0.0"
    assert [str(error) for error in asyncapi_3.iter_errors(described)] == []
    del described["info"]["title"]
    assert not asyncapi_3.is_valid(described)


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi-live.json", "asyncapi-events.json"])
def test_patterns_of_the_documents_end_as_every_reader_of_json_schema_knows(name: str) -> None:
    assert rb"\\Z" not in (_FOLDER / name).read_bytes()


def test_every_reference_of_the_document_leads_somewhere() -> None:
    described = document()
    for reference in _references(described):
        place: Any = described
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_every_problem_belongs_to_a_call_but_those_of_calls_that_are_not_there() -> None:
    said = {code for call in CALLS for code in codes_of(call)}
    assert set(KINDS) - said <= {"method_not_allowed"}


def test_names_of_calls_are_unique_and_calls_are_too() -> None:
    assert len({call.name for call in CALLS}) == len({(call.method, call.path) for call in CALLS}) == len(CALLS)


def test_the_guides_have_every_call_of_operators_and_players() -> None:
    guides = (_FOLDER / "operator-api.md").read_text() + (_FOLDER / "player-api.md").read_text()
    told = {_PARAMETER.sub("{}", call) for call in re.findall(r"(?:GET|POST|PUT|DELETE) [/\w.{}-]+", guides)}
    assert {f"{call.method} {_PARAMETER.sub('{}', call.path)}" for call in CALLS} <= told


def test_pages_have_all_calls_and_frames_and_nothing_of_other_hosts() -> None:
    page = pages.openapi_page(document()).decode()
    assert all(f'id="{call.name}"' in page for call in CALLS)
    live = pages.asyncapi_page(asyncapi.document()).decode()
    events = pages.asyncapi_page(asyncapi_events.document()).decode()
    assert "round.opened" in live
    assert all(key in events for key in asyncapi_events.EVENTS)
    for each in (page, live, events):
        assert not re.search(r"<script|<link|<img|(?:src|href)=\"(?:https?:)?//", each)


def test_text_of_a_document_is_not_markup_on_its_page() -> None:
    described = document()
    described["info"]["description"] = "<script>alert(1)</script> `<b>`"
    described["tags"][0]["name"] = "<i>"
    page = pages.openapi_page(described).decode()
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _references(each)]
    if not isinstance(value, dict):
        return []
    inner = [found for each in value.values() for found in _references(each)]
    return [value["$ref"], *inner] if isinstance(value.get("$ref"), str) else inner
