"""Picks and their masks."""

from __future__ import annotations

from typing import Any

import pytest

from keno.game.numbers import PicksError, mask_picks, picks_mask


def test_number_one_is_the_lowest_bit_and_eighty_the_highest() -> None:
    assert picks_mask([1]) == bytes(9) + b"\x01"
    assert picks_mask([80]) == b"\x80" + bytes(9)
    assert picks_mask([80, 9, 1]) == b"\x80" + bytes(7) + b"\x01\x01"


def test_the_order_of_picks_does_not_change_their_mask() -> None:
    assert picks_mask([40, 3, 77]) == picks_mask((77, 40, 3))


def test_a_mask_gives_its_picks_in_ascending_order() -> None:
    assert mask_picks(picks_mask([80, 9, 1])) == [1, 9, 80]


@pytest.mark.parametrize(
    "picks",
    [
        [],
        list(range(1, 12)),
        [0],
        [81],
        [-1],
        [256 + 1],
        [2**64 + 1],
        [5, 5],
        [True],
        [1.0],
        ["1"],
        [None],
        "12",
        b"\x01\x02",
        {1, 2},
        {1: 2},
        None,
        7,
    ],
    ids=repr,
)
def test_what_is_not_one_to_ten_distinct_numbers_is_refused(picks: Any) -> None:
    with pytest.raises(PicksError):
        picks_mask(picks)


@pytest.mark.parametrize(
    "mask", [b"", bytes(10), bytes(9), bytes(10) + b"\x01", b"\xff" * 10, (2**11 - 1).to_bytes(10, "big")], ids=repr
)
def test_a_mask_that_stands_for_no_bet_is_refused(mask: bytes) -> None:
    with pytest.raises(PicksError):
        mask_picks(mask)
