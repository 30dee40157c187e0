"""`python -m benchmarks.core`: draw, tree and settlement kernel beside their peers, in one table.

Sizes are 10^5 and 10^7 bets; `--quick` leaves the 10^7 out. Exits with 1 if an outcome differs from its peer's, never
because a target was missed: the table says so, and the caller decides.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks import core_cases, core_stream, report
from benchmarks.peers import core_numpy, core_python
from benchmarks.report import Row, Side
from keno import _core

METHOD = (
    "Medians of alternating runs of both sides in one process and thread, in processor time of that thread, through "
    "the public Python functions; every side allocates its results. Bets are settled in chunks of 8,192, as a settler "
    "streams them, by ours, memcpy and numpy alike. memcpy copies each column that settlement reads or writes, 36 "
    "bytes a bet. The peer in pure Python starts from lists of integers, not from columns. Streams are fed in chunks "
    "of 64 KiB, and memcpy copies the bytes fed and returned, 90 a bet and 68 a winner; the column kernel reads "
    "no COPY data, writes none and adds nothing up."
)
CHUNK = 8_192
DRAWS_A_SECOND = 4_000_000


def main() -> int:
    sizes = [100_000] if "--quick" in sys.argv[1:] else [100_000, 10_000_000]
    rows = draw_rows() + tree_rows()
    for size in sizes:
        rows += settlement_rows(size)
    rows += stream_rows()
    print(report.publish("core", METHOD, rows, packages=("numpy",)))
    return 0


def same(what: str, equal: bool) -> None:
    if not equal:
        sys.exit(f"{what}: the outcome differs from the peer's")


def draw_rows() -> list[Row]:
    many, few = core_cases.rounds(100_000), core_cases.rounds(2_000)

    def ours() -> bytes:
        return _core.draw_many(many.seeds, many.xs, many.beacons)

    def python() -> bytes:
        return core_python.draw_many(few.seeds, few.xs, few.beacons)

    same("draw", _core.draw_many(few.seeds, few.xs, few.beacons) == python())
    sides = (Side(ours, many.count, time.thread_time), Side(python, few.count, time.thread_time))
    row = report.compare_cost("draw, many at once", "ns", 1e9, sides, "CPython standard library", 30, runs=15)
    rows = [row]
    if "sha_ni" in str(report.machine()["features"]):
        rate = report.compare_limit("draw, many at once", "draws/s", 1e9 / row.ours, DRAWS_A_SECOND, "with SHA-NI")
        rows.append(rate)
    return rows


def tree_rows() -> list[Row]:
    leaves = np.random.default_rng(3).bytes(138 * 10_000)

    def ours() -> bytes:
        return _core.leaves_root(leaves, 138)

    def python() -> bytes:
        return core_python.leaves_root(leaves, 138)

    same("tree", ours() == python())
    sides = (Side(ours, 10_000, time.thread_time), Side(python, 10_000, time.thread_time))
    return [report.compare_cost("Merkle root of bet leaves", "ns/leaf", 1e9, sides, "hashlib", None, runs=9)]


class Settlement:
    """The same bets settled by ours and by each peer, in chunks where they take columns."""

    def __init__(self, count: int) -> None:
        bets = core_cases.bets(count)
        self.what = f"settlement, {count:.0e} bets".replace("e+0", "e")
        self.count, self.chunks = count, bets.chunks(CHUNK)
        self.numbers, self.drawn = bets.numbers, bets.drawn_mask
        self.terms, self.multipliers = [core_cases.terms()], core_numpy.table(core_cases.ROWS)
        # What a bet costs in pure Python does not depend on how many there are.
        self.sample = core_cases.bets(100_000)
        self.lists = (self.sample.masks, self.sample.stake_list)

    def settle(self, part: core_cases.Bets) -> _core.Settled:
        return _core.settle(part.picks, part.stakes, part.terms_index, self.terms, self.numbers)

    def settle_numpy(self, part: core_cases.Bets) -> core_numpy.Outcome:
        limits = (core_cases.SCALE, core_cases.WIN_MAX_MINOR)
        return core_numpy.settle(part.picks, part.stakes, self.multipliers, *limits, self.drawn)

    def ours(self) -> None:
        for part in self.chunks:
            self.settle(part)

    def numpy(self) -> None:
        for part in self.chunks:
            self.settle_numpy(part)

    def python(self) -> tuple[list[int], list[int], list[int]]:
        masks, stakes = self.lists
        drawn = int.from_bytes(self.drawn, "big")
        limits = (core_cases.SCALE, core_cases.WIN_MAX_MINOR)
        return core_python.settle(masks, stakes, core_cases.ROWS, *limits, drawn)

    def memcpy(self) -> Callable[[], None]:
        """Copies what settlement reads and, in place of what it writes, the outcome of one chunk again and again."""
        hits, payouts, cuts = columns(self.settle(self.chunks[0]))
        copied = [
            (p.picks, p.stakes, p.terms_index, hits[: p.count], payouts[: 8 * p.count], cuts[: 8 * p.count])
            for p in self.chunks
        ]

        def run() -> None:
            for chunk in copied:
                for column in chunk:
                    bytearray(column)

        return run

    def check(self) -> None:
        for part in self.chunks:
            theirs = tuple(column.tobytes() for column in self.settle_numpy(part))
            same(self.what, columns(self.settle(part)) == theirs)
        kinds = ("u1", "<i8", "<i8")
        python = tuple(np.array(column, kind).tobytes() for column, kind in zip(self.python(), kinds, strict=True))
        same(self.what, columns(self.settle(self.sample)) == python)


def stream_rows() -> list[Row]:
    rows = core_stream.rows()
    if rows is None:
        sys.exit("settlement as a stream: the outcome differs from that of columns")
    return rows


def columns(settled: _core.Settled) -> tuple[bytes, bytes, bytes]:
    return settled.hits, settled.payouts, settled.cuts


def settlement_rows(count: int) -> list[Row]:
    case = Settlement(count)
    case.check()

    def row(run: Callable[[], object], units: int, name: str, target: float, runs: int) -> Row:
        sides = (Side(case.ours, count, time.thread_time), Side(run, units, time.thread_time))
        return report.compare_cost(case.what, "ns/bet", 1e9, sides, name, target, runs)

    runs = 41 if count <= 100_000 else 7
    return [
        row(case.memcpy(), count, "memcpy", 1.0, runs),
        row(case.numpy, count, "numpy", 5.0, runs),
        row(case.python, case.sample.count, "pure Python", 50.0, min(runs, 15)),
    ]


if __name__ == "__main__":
    sys.exit(main())
