"""The Merkle tree of the log leaf by leaf: what is known of a prefix, from which it can go on.

Pure. RFC 9162 splits n leaves into perfect subtrees by the ones of n in binary; their hashes, the largest first, are
all that the next leaf needs. `tree` answers from hashes that are stored; this believes only leaves.
"""

from keno.fairness.log.tree import LEVELS_MAX, TILE_HASHES, node_hash, root

_HASH_BYTES = 32
_TILE_HEIGHT = TILE_HASHES.bit_length() - 1


class GrowingTree:
    """The tree of the first `size` leaves. `hashes` are those of its perfect subtrees, 32 bytes each."""

    def __init__(self, size: int = 0, hashes: bytes = b"") -> None:
        """Raises ValueError where there are not as many hashes as such a tree has."""
        if len(hashes) != _HASH_BYTES * size.bit_count():
            raise ValueError(f"the tree of {size} leaves has {size.bit_count()} perfect subtrees")
        self._size = size
        self._subtrees = [hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)]

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def hashes(self) -> bytes:
        """The hashes of the perfect subtrees, one after the other."""
        return b"".join(self._subtrees)

    def add(self, leaf_hash: bytes) -> list[tuple[int, int, bytes]]:
        """Takes the next leaf; returns (level, index, hash) of the subtrees to be stored that it completes."""
        digest, height, stored = leaf_hash, 0, []
        while self._size >> height & 1:
            digest = node_hash(self._subtrees.pop(), digest)
            height += 1
            level, between = divmod(height, _TILE_HEIGHT)
            if not between and level < LEVELS_MAX:
                stored.append((level, self._size >> height, digest))
        self._subtrees.append(digest)
        self._size += 1
        return stored

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._subtrees:
            return root(0, lambda *_: ())
        *larger, digest = self._subtrees
        for each in reversed(larger):
            digest = node_hash(each, digest)
        return digest
