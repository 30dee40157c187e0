"""The log's tree is that of RFC 9162, whatever its size: compared with the RFC's own definition and with pymerkle."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from support.transparency import mth, path, proof, tile

from keno.fairness.log import tree
from keno.fairness.log.growing_tree import GrowingTree

SIZES = st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 511, 512, 513, 767, 768, 769, 1000]))


def leaves_of(size: int) -> list[bytes]:
    return [b"entry %d" % n for n in range(size)]


class Stored:
    """Hashes by level, as the database keeps them."""

    def __init__(self) -> None:
        self.levels: list[list[bytes]] = [[] for _ in range(tree.LEVELS_MAX)]

    def append(self, leaves: Sequence[bytes]) -> None:
        hashes = [tree.leaf_hash(leaf) for leaf in leaves]
        for level, index, digest in list(tree.new_nodes(len(self.levels[0]), hashes, self.read)):
            assert index == len(self.levels[level])
            self.levels[level].append(digest)
        self.levels[0] += hashes

    def read(self, level: int, first: int, count: int) -> Sequence[bytes]:
        found = self.levels[level][first : first + count]
        assert len(found) == count, "only what is stored is asked for"
        return found


def stored(size: int) -> Stored:
    made = Stored()
    made.append(leaves_of(size))
    return made


@given(SIZES, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_root_and_proofs_are_those_of_the_definition(size: int, taste: random.Random) -> None:
    leaves, read = leaves_of(size), stored(size).read
    assert tree.root(size, read) == mth(leaves)
    index, first = taste.randrange(size), taste.randint(1, size)
    assert tree.inclusion_path(index, size, read) == path(index, leaves)
    assert tree.consistency_path(first, size, read) == proof(first, leaves)
    assert tree.root(first, read) == mth(leaves[:first])


@given(SIZES, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_pymerkle_comes_to_the_same_root(size: int, taste: random.Random) -> None:
    theirs = InmemoryTree(algorithm="sha256")
    theirs.append_entries(leaves_of(size))
    read = stored(size).read
    assert tree.root(size, read) == theirs.get_root(size)
    some = taste.randint(1, size)
    assert tree.root(some, read) == theirs.get_root(some)


@given(st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=30, deadline=None)
def test_how_entries_are_batched_makes_no_difference(batches: list[int]) -> None:
    in_batches, leaves = Stored(), leaves_of(sum(batches))
    for batch in batches:
        before = len(in_batches.levels[0])
        in_batches.append(leaves[before : before + batch])
    assert in_batches.levels == stored(len(leaves)).levels


@given(SIZES, st.data())
@settings(max_examples=40, deadline=None)
def test_a_tree_that_goes_on_from_a_prefix_comes_to_the_same_root_and_stored_hashes(
    size: int, data: st.DataObject
) -> None:
    leaves, expected = leaves_of(size), stored(size)
    growing, levels = GrowingTree(), stored(0).levels
    stop = data.draw(st.integers(0, size))
    for place, leaf in enumerate(leaves):
        if place == stop:
            assert growing.root() == mth(leaves[:place])
            growing = GrowingTree(growing.size, growing.hashes)
        for level, index, digest in growing.add(tree.leaf_hash(leaf)):
            assert index == len(levels[level])
            levels[level].append(digest)
    assert (growing.size, growing.root()) == (size, mth(leaves))
    assert levels[1:] == expected.levels[1:]


def test_a_tree_is_not_gone_on_from_with_too_few_or_too_many_hashes() -> None:
    for count in (1, 3):
        with pytest.raises(ValueError, match="2 perfect subtrees"):
            GrowingTree(5, bytes(32 * count))


def test_the_stored_hashes_are_the_tiles_of_the_specification() -> None:
    size = 70_000 // 128
    leaves, made = leaves_of(size), stored(size)
    for level in (0, 1):
        for index in range((size >> 8 * level) // 256 + 1):
            kept = made.levels[level][256 * index : 256 * index + 256]
            assert b"".join(kept) == tile(level, index, leaves)
    assert [tree.partial_width(level, 70_000) for level in range(4)] == [112, 17, 1, 0]


def test_what_is_read_is_found_out_beforehand_and_stays_little_in_a_huge_tree() -> None:
    size, index = 2**40 + 12_345, 2**39 + 7
    spans = tree.needed(lambda read: tree.inclusion_path(index, size, read))
    assert sum(count for _, _, count in spans) < 128 * 64
    assert all(first + count <= size >> 8 * level for level, first, count in spans)


def test_the_empty_tree_has_the_root_of_nothing() -> None:
    assert tree.root(0, Stored().read) == mth([])


def test_a_leaf_that_is_not_in_the_tree_has_no_path() -> None:
    with pytest.raises(AssertionError):
        tree.inclusion_path(3, 3, stored(3).read)
