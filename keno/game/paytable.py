"""Paytables: what each number of hits pays, immutable and named by the SHA-256 of their published document.

A document is the JSON object of `docs/evidence.md` in one canonical form: compact, keys in the stated order, ASCII, no
trailing newline. `parse` accepts nothing else, so two different byte strings are never the same paytable, and no JSON
reader (duplicate keys, 1.0 for 1) can see another paytable in the bytes than we do.

This module does not judge whether a return is acceptable in a room: `keno.game.rules.check` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256

import msgspec

from keno.errors import KenoError
from keno.game.numbers import PICKS_MAX
from keno.game.odds import row_rtp
from keno.money import MINOR_MAX

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")
VERSION_MAX = 2**31 - 1
SCALE_MAX = 1_000_000
MULTIPLIER_MAX = MINOR_MAX  # a JSON integer like an amount, and read by the same readers
_PICK_COUNTS = range(1, PICKS_MAX + 1)


class PaytableError(KenoError):
    """A document that is not a paytable in canonical form, or multipliers that cannot be one."""


@dataclass(frozen=True, slots=True)
class Paytable:
    """An immutable paytable. Make one with `parse` or `build`, which validate; `document` holds everything else.

    `multipliers[p][h]` is what `h` hits of `p` picks pay, an integer in units of 1/`scale`; `rtp[p]` is the exact
    return of `p` picks per unit of stake, before any maximum win. Both are indexed by pick count 0..10; row 0 is empty
    and its return 0, because nobody picks nothing. `hash` (32 bytes) is the SHA-256 of `document`.
    """

    document: bytes
    hash: bytes = field(compare=False)
    name: str = field(compare=False)
    version: int = field(compare=False)
    scale: int = field(compare=False)
    multipliers: tuple[tuple[int, ...], ...] = field(compare=False, repr=False)
    rtp: tuple[Fraction, ...] = field(compare=False, repr=False)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The published form; the order of the fields is the order of its keys."""

    name: str
    version: int
    scale: int
    multipliers: dict[str, list[int]]
    rtp: dict[str, str]


def document(name: str, version: int, scale: int, multipliers: Sequence[Sequence[int]]) -> bytes:
    """The canonical document of a paytable, with its exact returns filled in.

    `multipliers` is indexed by pick count 0..10: row 0 empty, row p with p + 1 integers >= 0. Raises `PaytableError`.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise PaytableError(f"the name {name!r} does not match {NAME_PATTERN.pattern}")
    _require_int("version", version, 1, VERSION_MAX)
    _require_int("scale", scale, 1, SCALE_MAX)
    if len(multipliers) != PICKS_MAX + 1 or len(multipliers[0]):
        raise PaytableError(f"multipliers are {PICKS_MAX + 1} rows, indexed by pick count, the row of 0 picks empty")
    for picks in _PICK_COUNTS:
        row = multipliers[picks]
        if len(row) != picks + 1:
            raise PaytableError(
                f"the row of {picks} picks needs {picks + 1} multipliers (0..{picks} hits), not {len(row)}"
            )
        for hits, multiplier in enumerate(row):
            _require_int(f"the multiplier of {hits} hits of {picks} picks", multiplier, 0, MULTIPLIER_MAX)
    return msgspec.json.encode(
        _Document(
            name=name,
            version=version,
            scale=scale,
            multipliers={str(picks): list(multipliers[picks]) for picks in _PICK_COUNTS},
            rtp={str(picks): fraction_text(row_rtp(multipliers[picks], scale)) for picks in _PICK_COUNTS},
        )
    )


def parse(data: bytes) -> Paytable:
    """The paytable that the published bytes `data` describe. Raises `PaytableError` unless they are canonical and true:
    exactly the bytes that `document` makes of their content, stated returns included.
    """
    try:
        stated = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PaytableError(f"not a paytable document: {error}") from None
    if stated.multipliers.keys() != {str(picks) for picks in _PICK_COUNTS}:
        raise PaytableError(f"multipliers are stated for {sorted(stated.multipliers)}, expected 1..{PICKS_MAX}")
    rows = ((), *(tuple(stated.multipliers[str(picks)]) for picks in _PICK_COUNTS))
    canonical = document(stated.name, stated.version, stated.scale, rows)
    exact = (Fraction(0), *(row_rtp(rows[picks], stated.scale) for picks in _PICK_COUNTS))
    for picks in _PICK_COUNTS:
        if stated.rtp.get(str(picks)) != fraction_text(exact[picks]):
            raise PaytableError(
                f"the return of {picks} picks is {fraction_text(exact[picks])}, not {stated.rtp.get(str(picks))}"
            )
    if canonical != data:
        raise PaytableError(f"not in canonical form: {len(data)} bytes, the canonical document has {len(canonical)}")
    return Paytable(
        document=data,
        hash=sha256(data).digest(),
        name=stated.name,
        version=stated.version,
        scale=stated.scale,
        multipliers=rows,
        rtp=exact,
    )


def build(name: str, version: int, scale: int, multipliers: Sequence[Sequence[int]]) -> Paytable:
    """A new paytable from its multipliers, shaped as in `document`. Raises `PaytableError`."""
    return parse(document(name, version, scale, multipliers))


def fraction_text(value: Fraction) -> str:
    """`value` as published: numerator/denominator in lowest terms, also for whole numbers ("1/1")."""
    return f"{value.numerator}/{value.denominator}"


def _require_int(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise PaytableError(f"{what} is an integer in {low}..{high}, not {value!r}")
