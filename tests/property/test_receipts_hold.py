"""What the platform signs for a batch of any size is what the protocol says, for each bet of it."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Raw, json
from support.bundles import path, sha, tree, uint

from keno.fairness.receipts import Batch, Proof, ReceiptKey, place

KEY = ReceiptKey(bytes(range(32)))


def text(shown: Raw) -> bytes:
    """The bytes of which JSON shows the hex."""
    return bytes.fromhex(json.decode(shown))


def signed(proof: Proof, statement: bytes) -> bytes:
    """The message of RFC 9162 paths and docs/fairness.md, hashed upwards from the leaf."""
    batch = proof.batch
    if batch is None:
        return statement
    steps = []
    start, end = 0, batch.count
    while end - start > 1:
        half = 1 << (end - start - 1).bit_length() - 1
        left = batch.index < start + half
        steps.append(left)
        start, end = (start, start + half) if left else (start + half, end)
    root = sha(b"\0", statement)
    shown = text(batch.path)
    siblings = [shown[at : at + 32] for at in range(0, len(shown), 32)]
    for left, sibling in zip(reversed(steps), siblings, strict=True):
        root = sha(b"\1", root, sibling) if left else sha(b"\1", sibling, root)
    return b"keno1:batch" + uint(batch.count, 4) + root


def holds(proof: Proof, statement: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(KEY.public).verify(text(proof.signature), signed(proof, statement))
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("seed", range(40))
def test_every_bet_of_a_batch_is_proved_and_no_other_statement_is(seed: int) -> None:
    rng = random.Random(f"receipts {seed}")
    size = rng.choice([1, 2, 3, rng.randint(4, 40), rng.randint(41, 300)])
    bets = [
        (UUID(bytes=rng.randbytes(16)), rng.randrange(2**63), rng.randrange(2**63), rng.randbytes(32))
        for _ in range(size)
    ]
    proofs = KEY.prove(b"".join(place(*bet[:3]) for bet in bets), b"".join(bet[3] for bet in bets))
    said = [
        b"keno1:receipt" + room.bytes + uint(number, 8) + leaf_hash + uint(ms, 8)
        for room, number, ms, leaf_hash in bets
    ]
    hashes = [sha(b"\0", statement) for statement in said]
    assert len({text(proof.signature) for proof in proofs}) == 1
    for index, (proof, statement) in enumerate(zip(proofs, said, strict=True)):
        assert holds(proof, statement)
        batch = None if size == 1 else Batch(size, index, Raw(f'"{b"".join(path(hashes, index)).hex()}"'))
        assert proof.batch == batch
    assert signed(proofs[0], said[0]) == (said[0] if size == 1 else b"keno1:batch" + uint(size, 4) + tree(hashes))
    for at in range(len(said[0])):
        assert not holds(proofs[0], said[0][:at] + bytes([said[0][at] ^ 1 << rng.randrange(8)]) + said[0][at + 1 :])


def test_the_same_bets_are_signed_the_same_way_again() -> None:
    where = place(UUID(int=7), 3, 1_700_000_000_000)
    assert KEY.prove(where, bytes(32)) == KEY.prove(where, bytes(32))
    assert ReceiptKey(bytes(range(32))).id == KEY.id != ReceiptKey(bytes(32)).id
