"""The numbers of the game and the picks of a bet. Pure; it does not know stakes, paytables or draws.

Keno draws `DRAWN` of `NUMBERS` numbers; a bet names 1 to `PICKS_MAX` of them. Picks travel and are hashed as a mask of
`MASK_BYTES` bytes: a big-endian 80-bit integer whose bit n-1 (counted from the least significant) stands for number n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keno import _core
from keno.errors import KenoError
from keno.phrases import said, worded

NUMBERS: Final = 80
DRAWN: Final = 20
PICKS_MAX: Final = 10
MASK_BYTES = NUMBERS // 8
_COUNTS: Final = frozenset(range(1, PICKS_MAX + 1))


class PicksError(KenoError):
    """Picks that are not 1..10 distinct integers in 1..80, or a mask that does not stand for such picks."""


def picks_mask(picks: Sequence[int]) -> bytes:
    """The mask (10 bytes) of `picks`, in any order. Raises `PicksError` unless they are 1..10 distinct ints in 1..80.

    Anything but a list or tuple of exact `int` is refused, `bool` and `str` included: a `True` that became the number 1
    would be a bet that nobody placed.
    """
    if not isinstance(picks, list | tuple):
        raise PicksError(said("picks are a list of integers, not {type}", type=type(picks).__name__))
    if not 1 <= len(picks) <= PICKS_MAX:
        raise PicksError(said("a bet has 1 to {most} picks, not {count}", most=PICKS_MAX, count=len(picks)))
    for pick in picks:
        if type(pick) is not int:
            raise PicksError(said("a pick is an integer, not {type}", type=type(pick).__name__))
        if not 1 <= pick <= NUMBERS:
            raise PicksError(said("a pick is in 1..{most}, not {pick}", most=NUMBERS, pick=pick))
    try:
        return _core.picks_mask(picks)
    except _core.CoreError as error:
        raise PicksError(worded(str(error), "a number is picked once")) from None


def picks_masks(many: Sequence[list[int]]) -> list[bytes]:
    """The mask of each of `many` lists of exact ints; raises `PicksError` where one is not of 1..10 picks."""
    if not _COUNTS.issuperset(map(len, many)):
        raise PicksError(f"a bet has 1 to {PICKS_MAX} picks")
    try:
        return list(map(_core.picks_mask, many))
    except (_core.CoreError, OverflowError) as error:
        raise PicksError(str(error)) from None


def mask_picks(mask: bytes) -> list[int]:
    """The picks, ascending, for which `mask` (10 bytes) stands. Raises `PicksError` unless they are 1..10 picks."""
    if len(mask) != MASK_BYTES:
        raise PicksError(f"a mask has {MASK_BYTES} bytes, not {len(mask)}")
    pick_count = int.from_bytes(mask, "big").bit_count()
    if not 1 <= pick_count <= PICKS_MAX:
        raise PicksError(f"a mask stands for 1 to {PICKS_MAX} picks, not {pick_count}")
    return _core.mask_picks(mask)
