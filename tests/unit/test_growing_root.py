"""A root that grows is the root over all leaves at once, however they come."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest

from keno import verifier
from keno.fairness.growing_root import GrowingRoot

HASHES = [sha256(bytes([n])).digest() for n in range(70)]


@pytest.mark.parametrize("run_leaves", [1, 2, 4, 16, 64, 128])
@pytest.mark.parametrize("cuts", [(0, 70), (0, 1, 2, 3, 70), (0, 5, 16, 33, 64, 70), tuple(range(71))])
def test_the_root_is_that_of_all_leaves_wherever_they_are_cut(run_leaves: int, cuts: tuple[int, ...]) -> None:
    growing = GrowingRoot(run_leaves)
    assert growing.root() == sha256(b"").digest()
    for start, end in pairwise(cuts):
        growing.add(b"".join(HASHES[start:end]))
        assert growing.root() == verifier.root_of_hashes(HASHES[:end])


@pytest.mark.parametrize("run_leaves", [-2, 0, 3, 6])
def test_a_run_that_is_no_power_of_two_is_refused(run_leaves: int) -> None:
    with pytest.raises(ValueError, match="a power of two"):
        GrowingRoot(run_leaves)
