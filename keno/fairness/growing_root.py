"""The root over leaf hashes that come little by little, in order, with little left to do at the end.

Pure. Complete runs of leaves become one hash each, their subtree's root. RFC 9162 splits a tree at the largest power of
two below its size, so over runs of a power of two the tree of n leaves is the tree over its runs' roots, the last run
being what is left over.
"""

from keno.fairness.leaves import root_of_hashes

_HASH_BYTES = 32


class GrowingRoot:
    """`run_leaves`, a power of two, are hashed together. Holds 32 bytes a run and those of the run that is not full."""

    def __init__(self, run_leaves: int = 1 << 10) -> None:
        if run_leaves < 1 or run_leaves & (run_leaves - 1):
            raise ValueError("a run has a power of two of leaves")
        self._run_bytes = run_leaves * _HASH_BYTES
        self._runs = bytearray()
        self._rest = bytearray()

    def add(self, hashes: bytes) -> None:
        """Takes the next leaf hashes, 32 bytes each."""
        self._rest += hashes
        whole = len(self._rest) // self._run_bytes * self._run_bytes
        for start in range(0, whole, self._run_bytes):
            self._runs += root_of_hashes(bytes(self._rest[start : start + self._run_bytes]))
        del self._rest[:whole]

    def root(self) -> bytes:
        """The root over all leaf hashes so far; SHA256("") where there are none."""
        if not self._runs:
            return root_of_hashes(bytes(self._rest))
        last = root_of_hashes(bytes(self._rest)) if self._rest else b""
        return root_of_hashes(bytes(self._runs) + last)
