"""Columns that travel as one value come out of PostgreSQL as they went in."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keno.infra import columns

_settings = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_line = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
@_settings
async def test_integers(pool: asyncpg.Pool, values: list[int]) -> None:
    assert await pool.fetchval("SELECT $1::text::bigint[]", columns.integers(values)) == values


@given(st.lists(_line, min_size=1))
@_settings
async def test_lines(pool: asyncpg.Pool, values: list[str]) -> None:
    assert await pool.fetchval(f"SELECT {columns.texts_of('$1')}", columns.lines(values)) == values


@given(st.integers(1, 40).flatmap(lambda width: st.lists(st.binary(min_size=width, max_size=width), min_size=1)))
@_settings
async def test_packed(pool: asyncpg.Pool, values: list[bytes]) -> None:
    width = len(values[0])
    assert await pool.fetchval(f"SELECT {columns.bytes_of('$1', width)}", columns.packed(values, width)) == values


async def test_nothing_packed_is_nothing(pool: asyncpg.Pool) -> None:
    assert await pool.fetchval(f"SELECT {columns.bytes_of('$1', 32)}", columns.packed([], 32)) == []


@pytest.mark.parametrize("values", [[], [""], ["a", ""], ["a\nb"], ["a", "\n"]], ids=repr)
def test_texts_that_would_come_out_as_others_are_refused(values: list[str]) -> None:
    with pytest.raises(ValueError, match="one line"):
        columns.lines(values)


@pytest.mark.parametrize("values", [[b"12", b"1"], [b"1", b"123"], [b"", b"1234"]], ids=repr)
def test_bytes_of_other_widths_are_refused_even_where_their_sum_is_right(values: list[bytes]) -> None:
    with pytest.raises(ValueError, match="2 bytes"):
        columns.packed(values, 2)
