"""The Merkle tree of the log (RFC 9162, 2.1) over hashes that are stored as C2SP tiles.

Pure. The hash of the full subtree over leaves [i * 256^L, (i + 1) * 256^L) is number i of level L; only these are
stored, and everything between is hashed from at most 128 of them. Whoever needs hashes asks a `Read`; which ones it
asks for depends on sizes and indexes alone, so `needed` can find them out beforehand and one query fetch them all.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

TILE_HASHES = 256
LEVELS_MAX = 8
"""256^8 entries will do."""

Span = tuple[int, int, int]
"""(level, first, count): stored hashes one after the other."""
Read = Callable[[int, int, int], Sequence[bytes]]
"""Gives the hashes of a Span."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA256(0x00 entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA256(0x01 left right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(size: int, read: Read) -> bytes:
    """The root of the first `size` entries."""
    return hash_of_range(0, size, read) if size else hashlib.sha256(b"").digest()


def hash_of_range(start: int, end: int, read: Read) -> bytes:
    """The hash over leaves [start, end), which must be a node of some tree: `start` a multiple of the power of two at
    or above the length.
    """
    parts = [_perfect(height, index, read) for height, index in _perfect_subtrees(start, end)]
    digest = parts.pop()
    while parts:
        digest = node_hash(parts.pop(), digest)
    return digest


def inclusion_path(index: int, size: int, read: Read) -> list[bytes]:
    """The path of leaf `index` in the tree of `size`, from the leaf upwards (RFC 9162, 2.1.3.1)."""
    assert 0 <= index < size, "the leaf is in the tree"  # noqa: S101
    start, end, downwards = 0, size, []
    while end - start > 1:
        split = start + _left_size(end - start)
        if index < split:
            downwards.append(hash_of_range(split, end, read))
            end = split
        else:
            downwards.append(hash_of_range(start, split, read))
            start = split
    return downwards[::-1]


def consistency_path(first: int, second: int, read: Read) -> list[bytes]:
    """The proof that the tree of `first` leaves is the beginning of that of `second` (RFC 9162, 2.1.4.1).

    Empty where the sizes are equal or `first` is 0.
    """
    assert 0 <= first <= second, "a log only grows"  # noqa: S101
    if first in (0, second):
        return []
    start, end, downwards = 0, second, []
    while first != end:
        split = start + _left_size(end - start)
        if first <= split:
            downwards.append(hash_of_range(split, end, read))
            end = split
        else:
            downwards.append(hash_of_range(start, split, read))
            start = split
    if start:
        downwards.append(hash_of_range(start, end, read))
    return downwards[::-1]


def new_nodes(size: int, leaves: Sequence[bytes], read: Read) -> Iterator[tuple[int, int, bytes]]:
    """The (level, index, hash) above level 0 that leaf hashes complete when they are appended to a tree of `size`."""
    fresh, before = list(leaves), size
    for level in range(LEVELS_MAX - 1):
        partial = before % TILE_HASHES
        if partial + len(fresh) < TILE_HASHES:
            return
        row = [*read(level, before - partial, partial), *fresh]
        full = len(row) // TILE_HASHES
        first = before // TILE_HASHES
        fresh = [_fold(row[i * TILE_HASHES : (i + 1) * TILE_HASHES]) for i in range(full)]
        for offset, digest in enumerate(fresh):
            yield level + 1, first + offset, digest
        before = first


def needed(compute: Callable[[Read], object]) -> list[Span]:
    """What `compute` will read."""
    spans: list[Span] = []

    def read(level: int, first: int, count: int) -> list[bytes]:
        if count:
            spans.append((level, first, count))
        return [bytes(32)] * count

    compute(read)
    return spans


def reader(spans: Iterable[Span], hashes: Sequence[Sequence[bytes]]) -> Read:
    """A Read that knows spans and their hashes."""
    known = dict(zip(spans, hashes, strict=True))
    return lambda level, first, count: known[level, first, count] if count else ()


def partial_width(level: int, size: int) -> int:
    """How many hashes the last, partial tile of a level has; 0 where all are full."""
    return (size >> 8 * level) % TILE_HASHES


def _left_size(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def _perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(height, index at that height) of the perfect subtrees that leaves [start, end) consist of, largest first."""
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _perfect(height: int, index: int, read: Read) -> bytes:
    level, within = divmod(height, 8)
    return _fold(read(level, index << within, 1 << within))


def _fold(hashes: Sequence[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def is_consistent(first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path proves one tree to be the beginning of the other (RFC 9162, 2.1.4.2)."""
    if first in (0, second):
        return not path and (first == 0 or first_root == second_root)
    if first > second:
        return False
    # From the top down, as the path was made.
    steps, start, end = list[bool](), 0, second
    while first != end:
        split = start + _left_size(end - start)
        steps.append(first <= split)
        start, end = (start, split) if first <= split else (split, end)
    rest = list(path)
    if len(rest) != len(steps) + (start > 0):
        return False
    old = new = rest.pop(0) if start else first_root
    for to_the_left, sibling in zip(reversed(steps), rest, strict=True):
        if to_the_left:
            new = node_hash(new, sibling)
        else:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
    return (old, new) == (first_root, second_root)
