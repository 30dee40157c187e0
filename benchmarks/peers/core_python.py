"""The draw, the tree and settlement as one writes them with Python's standard library: the peer of the compiled core.

Written for speed within that: one-shot HMAC, local names, no classes. Also the reference that outcomes are checked by.
"""

import hashlib
import hmac
from collections.abc import Sequence

Rows = Sequence[Sequence[int]]


def draw(seed: bytes, x: bytes, beacon: bytes) -> bytes:
    """20 number bytes in draw order."""
    drawn = bytearray()
    j = 0
    while True:
        for byte in hmac.digest(seed, b"keno1:draw" + x + beacon + j.to_bytes(4, "big"), "sha256"):
            if byte < 240:
                number = byte % 80 + 1
                if number not in drawn:
                    drawn.append(number)
                    if len(drawn) == 20:
                        return bytes(drawn)
        j += 1


def draw_many(seeds: bytes, xs: bytes, beacons: bytes) -> bytes:
    """Three columns of 32 bytes a round -> 20 number bytes a round."""
    starts = range(0, len(seeds), 32)
    return b"".join([draw(seeds[i : i + 32], xs[i : i + 32], beacons[i : i + 32]) for i in starts])


def whole_rounds(epochs: int, rounds: int = 256) -> bytes:
    """All hashes of whole rounds of profile B, as core_rs/examples/whole_rounds.rs; returns the last result."""
    sha256, digest = hashlib.sha256, hmac.digest
    rules, bets_root, room, last = sha256(b"rules").digest(), sha256(b"bets").digest(), bytes([7]) * 16, bytes(32)
    for epoch in range(epochs):
        epoch_key = sha256(b"epoch key" + epoch.to_bytes(8, "big")).digest()
        numbers = range(1 + epoch * rounds, 1 + (epoch + 1) * rounds)
        ctxs = [room + number.to_bytes(8, "big") for number in numbers]
        seeds = [digest(epoch_key, b"keno1:seed" + ctx, "sha256") for ctx in ctxs]
        commits = [sha256(b"keno1:commit" + ctx + seed).digest() for ctx, seed in zip(ctxs, seeds, strict=True)]
        leaves = b"".join([ctx + commit for ctx, commit in zip(ctxs, commits, strict=True)])
        root, key_commit = leaves_root(leaves, 56), sha256(b"keno1:ekey" + epoch_key).digest()
        span = numbers[0].to_bytes(8, "big") + rounds.to_bytes(4, "big")
        sha256(b"keno1:epoch" + room + span + root + key_commit + (1).to_bytes(8, "big")).digest()
        for number, ctx, seed, commit in zip(numbers, ctxs, seeds, commits, strict=True):
            at = number.to_bytes(8, "big")
            head = b"keno1:lock" + ctx + commit + rules + bets_root
            lock = sha256(head + (1).to_bytes(8, "big") + at + at + last).digest()
            sha256(b"keno1:pre" + ctx + commit + at).digest()
            beacon = sha256(bytes([number & 0xFF]) * 48).digest()
            last = sha256(b"keno1:result" + lock + seed + beacon + draw(seed, lock, beacon)).digest()
    return last


def leaves_root(leaves: bytes, width: int) -> bytes:
    """RFC 9162 root over fixed-width leaves, level by level; an odd last node moves up."""
    sha256 = hashlib.sha256
    level = [sha256(b"\0" + leaves[i : i + width]).digest() for i in range(0, len(leaves), width)]
    if not level:
        return sha256(b"").digest()
    while len(level) > 1:
        paired = [sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[-1:] if len(level) % 2 else paired
    return level[0]


def settle(
    masks: Sequence[int], stakes: Sequence[int], rows: Rows, scale: int, win_max: int, drawn: int
) -> tuple[list[int], list[int], list[int]]:
    """Hits, payouts and cuts of bets whose masks already are integers; `drawn` is the mask of the draw."""
    hits: list[int] = []
    payouts: list[int] = []
    cuts: list[int] = []
    for mask, stake in zip(masks, stakes, strict=True):
        hit = (mask & drawn).bit_count()
        win = stake * rows[mask.bit_count()][hit] // scale
        payout = win if win <= win_max else win_max
        hits.append(hit)
        payouts.append(payout)
        cuts.append(win - payout)
    return hits, payouts, cuts
