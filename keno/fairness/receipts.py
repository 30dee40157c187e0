"""Receipts: the platform's signature on what it accepted, with which a bet that is left out can be shown.

What is signed stands in docs/fairness.md and is put together by the core; why a batch has one signature, and a bet that
is asked for again one of its own, in decision 0034. Nothing is stored: a receipt can be made again from the bet.
"""

from struct import Struct
from uuid import UUID

import msgspec

from keno import _core
from keno.infra import keywrap
from keno.infra.published_key import PublishedKey

_PLACE = Struct(">16sQQ")


def place(room_id: UUID, round_number: int, accepted_ms: int) -> bytes:
    """Where and when a bet was accepted, 32 bytes."""
    return _PLACE.pack(room_id.bytes, round_number, accepted_ms)


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Which leaf a bet is of the tree that was signed for several, and its path in hex, nearest hash first."""

    count: int
    index: int
    path: msgspec.Raw


class Proof(msgspec.Struct, frozen=True, gc=False):
    """The signature, in hex, of a key on a bet's statement or, where there is a batch, on the tree of that.

    There is one of these for every bet, so its long texts are JSON already: quoted, and not looked through again.
    """

    key_id: str
    signature: msgspec.Raw
    batch: Batch | None


class ReceiptKey(PublishedKey):
    """The key of receipts, derived from the platform key (32 bytes): for good, like the receipts."""

    def __init__(self, platform_key: bytes) -> None:
        super().__init__(keywrap.derive(platform_key, b"keno:receipt-key"))

    def prove(self, places: bytes, leaf_hashes: bytes) -> list[Proof]:
        """The proofs of bets that were accepted together, at least one, under one signature; always the same for the
        same bets. Of each there is its place, and the hash of its leaf.
        """
        message, paths = _core.receipt_batch(places, leaf_hashes)
        key_id, signature, count = self.id, msgspec.Raw(f'"{self.sign(message).hex()}"'), len(paths)
        if count == 1:
            return [Proof(key_id, signature, None)]
        return [Proof(key_id, signature, Batch(count, index, msgspec.Raw(path))) for index, path in enumerate(paths)]
