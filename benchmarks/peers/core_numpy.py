"""Settlement with numpy: the peer of the compiled kernel that an engineer would write with the usual stack.

The ten-byte masks are read as one 64-bit and one 16-bit column without a copy, bits are counted by `bitwise_count`, and
everything after is whole-column arithmetic. Products must fit into 64 bits: stakes and multipliers of the benchmark do.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MASK = np.dtype({"names": ["first", "last"], "formats": ["<u8", "<u2"], "offsets": [0, 8], "itemsize": 10})


class Outcome(NamedTuple):
    """Columns with one entry a bet."""

    hits: NDArray[np.uint8]
    payouts: NDArray[np.int64]
    cuts: NDArray[np.int64]


def table(rows: list[list[int]]) -> NDArray[np.int64]:
    """Multipliers as a flat array: entry 16 x picks + hits."""
    flat = np.zeros(11 * 16, np.int64)
    for picks, row in enumerate(rows):
        flat[16 * picks : 16 * picks + len(row)] = row
    return flat


def settle(
    picks: bytes, stakes: bytes, multipliers: NDArray[np.int64], scale: int, win_max: int, drawn: bytes
) -> Outcome:
    """`picks` 10 bytes a bet, `stakes` little-endian i64, `drawn` the mask of the draw, `multipliers` from `table`."""
    masks = np.frombuffer(picks, _MASK)
    stake = np.frombuffer(stakes, "<i8")
    first, last = masks["first"], masks["last"]
    drawn_mask = np.frombuffer(drawn, _MASK)[0]
    count = np.bitwise_count(first) + np.bitwise_count(last)
    hits = np.bitwise_count(first & drawn_mask["first"]) + np.bitwise_count(last & drawn_mask["last"])
    if (stake <= 0).any() or (count == 0).any() or (count > 10).any():
        raise ValueError("a bet cannot be settled")
    wins = stake * multipliers.take(count.astype(np.intp) * 16 + hits)
    wins //= scale
    payouts = np.minimum(wins, win_max)
    return Outcome(hits, payouts, wins - payouts)
