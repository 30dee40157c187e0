"""Paytable documents: one canonical form, exact returns, immutable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from fractions import Fraction
from hashlib import sha256
from typing import Any

import pytest

from keno.game.paytable import MULTIPLIER_MAX, PaytableError, build, document, fraction_text, parse

ROWS: list[list[int]] = [[], *([0] * picks + [376] for picks in range(1, 11))]
Change = Callable[[dict[str, Any]], object]


def stated() -> dict[str, Any]:
    content = json.loads(document("keno-test", 1, 100, ROWS))
    assert isinstance(content, dict)
    return content


def compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def test_a_built_paytable_holds_its_document_and_is_named_by_its_hash() -> None:
    paytable = build("keno-test", 3, 100, ROWS)
    assert paytable.document == document("keno-test", 3, 100, ROWS)
    assert paytable.hash == sha256(paytable.document).digest()
    assert (paytable.name, paytable.version, paytable.scale) == ("keno-test", 3, 100)
    assert paytable.multipliers[1] == (0, 376)
    assert list(paytable.rtp[:2]) == [0, Fraction(47, 50)]
    assert parse(paytable.document) == paytable


def test_the_document_is_the_compact_json_of_the_published_format() -> None:
    data = document("keno-test", 1, 100, ROWS)
    assert data.startswith(b'{"name":"keno-test","version":1,"scale":100,"multipliers":{"1":[0,376],"2":[0,0,376],')
    assert b'"rtp":{"1":"47/50",' in data
    assert data == compact(json.loads(data))


def test_a_paytable_cannot_be_changed() -> None:
    paytable = build("keno-test", 1, 100, ROWS)
    with pytest.raises(FrozenInstanceError):
        paytable.scale = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("scale"),
        lambda d: d.update(note=""),
        lambda d: d.update(scale=0),
        lambda d: d.update(scale=1_000_001),
        lambda d: d.update(scale=True),
        lambda d: d.update(scale=100.0),
        lambda d: d.update(version=0),
        lambda d: d.update(version="1"),
        lambda d: d.update(version=10**30),
        lambda d: d.update(name=""),
        lambda d: d.update(name="Keno 94"),
        lambda d: d.update(name="k" * 33),
        lambda d: d["multipliers"].pop("10"),
        lambda d: d["multipliers"].update({"0": [0]}),
        lambda d: d["multipliers"].update({"11": [0] * 12}),
        lambda d: d["multipliers"].update({"1": [376]}),
        lambda d: d["multipliers"].update({"1": [0, 376, 0]}),
        lambda d: d["multipliers"].update({"1": [0, -376]}),
        lambda d: d["multipliers"].update({"1": [0, 376.0]}),
        lambda d: d["multipliers"].update({"1": [False, 376]}),
        lambda d: d["multipliers"].update({"1": [0, MULTIPLIER_MAX + 1]}),
        lambda d: d["rtp"].update({"1": "94/100"}),
        lambda d: d["rtp"].update({"1": "0.94"}),
        lambda d: d["rtp"].update({"1": "48/50"}),
        lambda d: d["rtp"].update({"0": "0/1"}),
        lambda d: d["rtp"].pop("5"),
    ],
)
def test_a_document_with_a_wrong_missing_or_further_value_is_refused(change: Change) -> None:
    content = stated()
    change(content)
    with pytest.raises(PaytableError):
        parse(compact(content))


def test_the_same_content_in_other_bytes_is_refused() -> None:
    data = document("keno-test", 1, 100, ROWS)
    reordered = {key: stated()[key] for key in ("version", "name", "scale", "multipliers", "rtp")}
    others = [
        data + b"\n",
        b" " + data,
        json.dumps(stated()).encode(),
        compact(reordered),
        data.replace(b'"version":1', b'"version":2,"version":1'),
        data.replace(b'"1":[0,376]', b'"1":[0,999],"1":[0,376]'),
        data.replace(b"keno-test", b"keno-\\u0074est"),
        data.replace(b"376", b"3.76e2"),
    ]
    for other in others:
        assert json.loads(other) == stated()
        with pytest.raises(PaytableError):
            parse(other)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b'{"name":' + b"9" * 5_000 + b"}", b"[" * 100_000]
)
def test_what_is_not_such_a_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(PaytableError):
        parse(data)


@pytest.mark.parametrize("digits", [5_000, 400, 25])
def test_an_integer_of_absurd_length_is_refused(digits: int) -> None:
    data = document("keno-test", 1, 100, ROWS).replace(b'"scale":100', b'"scale":' + b"1" * digits)
    with pytest.raises(PaytableError):
        parse(data)


@pytest.mark.parametrize("rows", [[], ROWS[1:], [*ROWS, [0] * 12], [[0], *ROWS[1:]]])
def test_rows_for_other_pick_counts_than_one_to_ten_are_refused(rows: list[list[int]]) -> None:
    with pytest.raises(PaytableError):
        build("keno-test", 1, 100, rows)


def test_fractions_are_written_in_lowest_terms_with_a_denominator() -> None:
    assert [fraction_text(value) for value in (Fraction(94, 100), Fraction(1), Fraction(0))] == ["47/50", "1/1", "0/1"]
