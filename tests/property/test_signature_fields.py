"""The reader of signed requests in the core, against the grammar of the profile as regular expressions."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from keno._core import SignedRequest
from keno.identity.signature import COMPONENTS, HEADER_BYTES_MAX

_LABEL = r"[a-z*][a-z0-9_.*-]{0,63}"
_PARAMETER = (
    r";(?:created=(0|[1-9][0-9]{0,14})"
    r'|nonce="([ !#-\[\]-~]{1,64})"'
    r'|keyid="([A-Za-z0-9_-]{1,64})"'
    r'|alg="(ed25519|hmac-sha256)")'
)
# A group keeps its capture over the repetitions: four repetitions that set all four groups are each parameter once.
_INPUT: Final = re.compile(rf"({_LABEL})=({re.escape(COMPONENTS)}(?:{_PARAMETER}){{4}})")
# Base64 in its only canonical spelling: what the last digit has beyond the bytes is zero.
_BYTES_32: Final = r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
_BYTES_64: Final = r"[A-Za-z0-9+/]{85}[AQgw]=="
_DIGEST: Final = re.compile(f"sha-256=:{_BYTES_32}:")


def read_by_grammar(signature_input: str, signature: str, digest: str) -> str | tuple[str, str, int, str]:
    if any(
        len(each.encode()) > HEADER_BYTES_MAX or not each.isascii() for each in (signature_input, signature, digest)
    ):
        return "field"
    found = _INPUT.fullmatch(signature_input)
    if found is None:
        return "input"
    label, _, created, nonce, key_id, algorithm = found.groups()
    if None in (created, nonce, key_id, algorithm):
        return "parameters"
    raw = _BYTES_64 if algorithm == "ed25519" else _BYTES_32
    if re.fullmatch(f"{re.escape(label)}=:{raw}:", signature) is None:
        return "signature"
    return (key_id, algorithm, int(created), nonce) if _DIGEST.fullmatch(digest) else "digest"


def read(signature_input: str, signature: str, digest: str) -> str | tuple[str, str, int, str]:
    found = SignedRequest.read(signature_input, signature, digest)
    if isinstance(found, str):
        return found
    assert found.field == signature
    return found.key_id, found.algorithm, found.created_s, found.nonce


def test_a_field_has_at_most_512_bytes() -> None:
    for at in range(3):
        fields = ["", "", ""]
        fields[at] = "x" * HEADER_BYTES_MAX
        assert read(*fields) == "input"
        fields[at] += "x"
        assert read(*fields) == "field"


labels = st.from_regex(re.compile(_LABEL, re.ASCII), fullmatch=True) | st.sampled_from(
    ["sig", "", "Sig", "*", "a" * 65]
)
parameters = st.one_of(
    st.from_regex(re.compile(_PARAMETER, re.ASCII), fullmatch=True),
    st.sampled_from(
        [";created=00", ";created=", ";created=1e3", ";nonce=a", ';nonce="\\""', ';alg="rsa"', ";", ' ;tag="a"']
    ),
)
common = st.permutations([";created=1700000000", ';nonce="n;=,"', ';keyid="k_-1"', ';alg="hmac-sha256"'])
inputs = st.builds(
    lambda label, components, chosen: f"{label}={components}{''.join(chosen)}",
    labels,
    st.sampled_from([COMPONENTS, COMPONENTS, COMPONENTS, '("@method")', ""]),
    common | common | st.lists(parameters, max_size=6),
)
octets = st.sampled_from([32, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size)) | st.binary(
    max_size=70
)
texts = octets.map(lambda raw: b64encode(raw).decode())


@st.composite
def damaged(draw: st.DrawFn, whole: str) -> str:
    """The text, or the text with one character replaced, removed or inserted."""
    if not whole or draw(st.integers(0, 2)):
        return whole
    at = draw(st.integers(0, len(whole) - 1))
    new = draw(st.sampled_from(["", "=", ":", ";", '"', "A", "B", "0", " ", "\n", "\\", "\x00", "~", "é"]))
    return whole[:at] + new + whole[at + draw(st.integers(0, 1)) :]


@given(st.data(), inputs, texts, texts)
def test_the_core_reads_what_the_grammar_allows_and_nothing_else(
    data: st.DataObject, signature_input: str, signature: str, digest: str
) -> None:
    label = signature_input.partition("=")[0]
    fields = (signature_input, f"{label}=:{signature}:", f"sha-256=:{digest}:")
    damaged_fields = [data.draw(damaged(each)) for each in fields]
    assert read(*damaged_fields) == read_by_grammar(*damaged_fields)


@given(common, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.data())
def test_what_is_nearly_right_is_read_alike(
    chosen: list[str], signature: bytes, digest: bytes, data: st.DataObject
) -> None:
    whole = (
        f"sig={COMPONENTS}{''.join(chosen)}",
        *(f"{name}=:{b64encode(raw).decode()}:" for name, raw in (("sig", signature), ("sha-256", digest))),
    )
    assert not isinstance(read(*whole), str)
    fields = [data.draw(damaged(each)) for each in whole]
    assert read(*fields) == read_by_grammar(*fields)
