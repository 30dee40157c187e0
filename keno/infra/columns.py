"""Columns of many values as one parameter of a statement each, and the SQL that takes them apart.

asyncpg asks of every element of a list whether it is a list itself, which takes longer than all else that is done with
it (decision 0052). Not here: COPY, for rows without end.
"""

from collections.abc import Collection, Iterable


def integers(values: Iterable[int]) -> str:
    """Integers, for `$n::text::bigint[]` or another array of integers."""
    return "{" + ",".join(map(str, values)) + "}"


def lines(values: Collection[str]) -> str:
    """Texts, at least one, for `texts_of("$n")`. Raises ValueError for an empty one, and one that is not one line."""
    joined = "\n".join(values)
    if "" in values or joined.count("\n") != len(values) - 1:
        raise ValueError("each text must be one line, and not empty")
    return joined


def packed(values: Collection[bytes], width: int) -> bytes:
    """Bytes, each `width` long, for `bytes_of("$n", width)`. Raises ValueError for others."""
    if not set(map(len, values)) <= {width}:
        raise ValueError(f"each value must have {width} bytes")
    return b"".join(values)


def texts_of(parameter: str) -> str:
    """SQL: the array of texts that were passed as `lines`."""
    return f"string_to_array({parameter}, E'\\n')"


def bytes_of(parameter: str, width: int) -> str:
    """SQL: the array of bytes that were `packed`."""
    value, places = f"{parameter}::bytea", f"generate_series(1, length({parameter}::bytea), {width})"
    return f"ARRAY(SELECT substring({value} FROM place FOR {width}) FROM {places} AS place)"  # noqa: S608 - our own
