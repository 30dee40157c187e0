"""Properties of the compiled core against references of a few lines: RFC 9162, HMAC and integer arithmetic."""

import hashlib
import hmac
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keno import _core

hashes = st.binary(min_size=32, max_size=32)
numbers = st.integers(1, 80)
draws = st.lists(numbers, min_size=20, max_size=20, unique=True)
SCALES = st.sampled_from([1, 2, 3, 7, 100, 1000, 1024, 10**9 + 7, 2**63 - 1])


def reference_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + reference_root(leaves[:split]) + reference_root(leaves[split:])).digest()


def reference_draw(seed: bytes, x: bytes, beacon: bytes) -> list[int]:
    drawn: list[int] = []
    j = 0
    while True:
        for byte in hmac.digest(seed, b"keno1:draw" + x + beacon + j.to_bytes(4, "big"), "sha256"):
            if byte < 240 and byte % 80 + 1 not in drawn:
                drawn.append(byte % 80 + 1)
            if len(drawn) == 20:
                return drawn
        j += 1


@given(st.lists(st.tuples(hashes, hashes, hashes), max_size=9))
def test_draws_are_those_of_the_specification_alone_and_in_bulk(rounds: list[tuple[bytes, bytes, bytes]]) -> None:
    expected = [bytes(reference_draw(*values)) for values in rounds]
    assert [_core.draw(*values) for values in rounds] == expected
    columns = (b"".join(values[at] for values in rounds) for at in range(3))
    assert _core.draw_many(*columns) == b"".join(expected)


@given(st.lists(st.binary(min_size=5, max_size=5), max_size=70))
def test_roots_are_those_of_rfc_9162(leaves: list[bytes]) -> None:
    assert _core.leaves_root(b"".join(leaves), 5) == reference_root(leaves)


@given(st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=70, unique=True), st.data())
def test_a_path_proves_its_own_leaf_at_its_own_place_only(leaves: list[bytes], data: st.DataObject) -> None:
    column, size = b"".join(leaves), len(leaves)
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    root, path = _core.leaves_root(column, 3), _core.leaves_path(column, 3, index)
    leaf, other_leaf = (_core.leaf_hashes(leaves[at], 3) for at in (index, other))
    assert _core.merkle_verify(root, leaf, index, size, path)
    assert _core.merkle_verify(root, leaf, other, size, path) == (other == index)
    assert _core.merkle_verify(root, other_leaf, index, size, path) == (other == index)
    assert not _core.merkle_verify(root, leaf, index, size, [*path, leaf])
    assert not _core.merkle_verify(leaf[::-1], leaf, index, size, path)


@given(st.sets(numbers))
def test_a_mask_holds_exactly_its_numbers(picks: set[int]) -> None:
    mask = _core.picks_mask(list(picks))
    assert int.from_bytes(mask, "big") == sum(1 << n - 1 for n in picks)
    assert _core.mask_picks(mask) == sorted(picks)


@st.composite
def bets(draw: st.DrawFn) -> tuple[list[int], int]:
    picks = draw(st.lists(numbers, min_size=1, max_size=10, unique=True))
    return picks, draw(st.one_of(st.integers(1, 100_000), st.integers(1, 2**63 - 1)))


@settings(max_examples=150)
@given(st.lists(bets(), min_size=1, max_size=20), st.integers(0, 10**6), SCALES, st.integers(1, 2**63 - 1), draws)
def test_settlement_is_exact_integer_arithmetic(
    placed: list[tuple[list[int], int]], factor: int, scale: int, win_max: int, drawn: list[int]
) -> None:
    placed = (placed * 300)[:300]  # more than one block of the kernel, and a rest
    rows: list[list[int]] = [[]] + [[factor * h for h in range(p + 1)] for p in range(1, 11)]
    hits = [len(set(picks) & set(drawn)) for picks, _ in placed]
    wins = [stake * rows[len(picks)][h] // scale for (picks, stake), h in zip(placed, hits, strict=True)]
    payouts = [min(win, win_max) for win in wins]
    cuts = [win - payout for win, payout in zip(wins, payouts, strict=True)]
    columns = (
        b"".join(_core.picks_mask(picks) for picks, _ in placed),
        array("q", [stake for _, stake in placed]),
        bytes(len(placed)),
        [_core.Terms(rows, scale, win_max)],
        bytes(drawn),
    )
    overflow = next((index for index, cut in enumerate(cuts) if cut >= 2**63), None)
    if overflow is not None:
        with pytest.raises(_core.CoreError, match=f"^bet {overflow}: "):
            _core.settle(*columns)
        return
    settled = _core.settle(*columns)
    assert list(settled.hits) == hits
    assert array("q", settled.payouts).tolist() == payouts
    assert array("q", settled.cuts).tolist() == cuts
