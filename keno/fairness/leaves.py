"""The leaf of a bet in the tree that its round's lock commits to.

Pure. A leaf is 138 bytes: salt 16, bet id 16, operator id 16, account 32, picks 10, stake 8, currency 8, paytable hash
32 (docs/evidence.md). The salt is derived from the bet id under the privacy key, so that nobody can find a bet by
guessing who made it.
"""

from bisect import bisect_right
from struct import Struct

from keno import _core

LEAF_BYTES = 138
UNSALTED_BYTES = 122
_BET_ID_BYTES = 16
Tree = _core.MerkleTree
# Ids have 16 bytes, of which ours fill 8. Text shorter than its field ends in zeros.
_UNSALTED = Struct(">QQ16s32s10sQ8s32s")


def unsalted_leaf(
    bet_id: int, operator_id: bytes, account: bytes, picks: bytes, stake_minor: int, currency: str, paytable: bytes
) -> bytes:
    """The 122 bytes of a leaf behind its salt."""
    return _UNSALTED.pack(0, bet_id, operator_id, account, picks, stake_minor, currency.encode("ascii"), paytable)


def up_to(unsalted: bytes, bet_id: int) -> tuple[bytes, int | None]:
    """Of leaves without salts by ascending bet id those up to an id, with the id of the last, None without any."""

    def id_at(index: int) -> int:
        return int.from_bytes(unsalted[index * UNSALTED_BYTES :][:_BET_ID_BYTES], "big")

    count = bisect_right(range(len(unsalted) // UNSALTED_BYTES), bet_id, key=id_at)
    return unsalted[: count * UNSALTED_BYTES], id_at(count - 1) if count else None


def salted(privacy_key: bytes, unsalted: bytes) -> bytes:
    """Leaves one after the other, 138 bytes each, from 122 bytes each."""
    return _core.bet_leaves(privacy_key, unsalted)


def packed_hashes(leaves: bytes) -> bytes:
    """The RFC 9162 leaf hash of each leaf, 32 bytes each."""
    return _core.leaf_hashes(leaves, LEAF_BYTES)


def root_of_hashes(hashes: bytes) -> bytes:
    """The RFC 9162 root over leaf hashes, 32 bytes each; SHA256("") where there are none."""
    return _core.hashes_root(hashes)


def leaf_hashes(leaves: bytes) -> list[bytes]:
    """The RFC 9162 leaf hash of each leaf."""
    hashes = packed_hashes(leaves)
    return [hashes[at : at + 32] for at in range(0, len(hashes), 32)]


def bets_root(leaves: bytes) -> bytes:
    """The RFC 9162 root over leaves in ascending bet id; SHA256("") where there are none."""
    return _core.leaves_root(leaves, LEAF_BYTES)


def split(leaves: bytes) -> list[bytes]:
    """The leaves one by one."""
    return [leaves[at : at + LEAF_BYTES] for at in range(0, len(leaves), LEAF_BYTES)]
