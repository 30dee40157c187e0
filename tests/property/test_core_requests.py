"""What the core reads of requests, against a dictionary and the Python package of BLAKE3."""

import blake3
from hypothesis import given
from hypothesis import strategies as st

from keno._core import HeaderFields, fingerprints

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Signature", b"signature-input", b"Expect", b"\xffx"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=12)
LINES = st.binary(max_size=3_000).map(lambda line: line.replace(b"\n", b""))


@given(st.lists(LINES, max_size=8), LINES)
def test_each_line_has_the_fingerprint_that_blake3_gives_it(lines: list[bytes], rest: bytes) -> None:
    text = b"".join(line + b"\n" for line in lines) + rest
    assert fingerprints(text) == [blake3.blake3(line).digest(length=16) for line in lines]


@given(FIELDS, FIELDS, st.integers(0, 12))
def test_fields_are_those_of_one_request_in_their_order(
    first: list[tuple[bytes, bytes]], second: list[tuple[bytes, bytes]], fields_max: int
) -> None:
    collected = HeaderFields(fields_max)
    taken = []
    for request in (first, second):
        for name, value in request:
            collected.add(name, value)
        taken.append(collected.take())
    for request, fields in zip((first, second), taken, strict=True):
        kept: dict[str, list[str]] = {}
        for name, value in request[:fields_max]:
            kept.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        for name in ("host", "signature", "signature-input", "expect", "cookie"):
            assert fields.values(name) == fields.values(name.upper()) == kept.get(name, [])
        assert fields.size_bytes == sum(len(name) + len(value) for name, value in request)
        assert fields.overflowed == (len(request) > fields_max)
