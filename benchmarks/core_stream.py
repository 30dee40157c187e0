"""Rows of `benchmarks.core` about settlement as a stream: COPY data in and out, beside memcpy and the column kernel."""

import time
from fractions import Fraction
from itertools import pairwise

import numpy as np

from benchmarks import core_cases, report
from benchmarks.report import Row, Side
from keno import _core
from keno.game.odds import PARTS, hit_probability

BETS = 1_000_000
CHUNK_BYTES = 65_536
BLOCK = 8_192
OPERATORS = 5
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
# Each field after its length.
BET_FIELDS = {
    "round_id": ">i8",
    "bet_id": ">i8",
    "operator_id": "V16",
    "account_id": ">i8",
    "picks": "V10",
    "stake_minor": ">i8",
    "terms": ">i2",
}
PAYOUT_FIELDS = {
    "bet_id": ">i8",
    "round_id": ">i8",
    "account_id": ">i8",
    "hits": ">i2",
    "payout_minor": ">i8",
    "cut_minor": ">i8",
}
ROUND_ID = 7
Table = np.ndarray[tuple[int], np.dtype[np.void]]


def table(fields: dict[str, str], count: int) -> Table:
    """So many tuples of binary COPY, all fields zero."""
    columns = [
        ("fields", ">i2"),
        *(c for name, kind in fields.items() for c in ((f"{name} length", ">i4"), (name, kind))),
    ]
    rows = np.zeros(count, np.dtype(columns))
    rows["fields"] = len(fields)
    for name, kind in fields.items():
        rows[f"{name} length"] = np.dtype(kind).itemsize
    return rows


class Stream:
    """The bets of one round as COPY data, and what settles them."""

    def __init__(self, count: int) -> None:
        bets, rng = core_cases.bets(count), np.random.default_rng(4)
        rows = table(BET_FIELDS, count)
        rows["round_id"], rows["bet_id"] = ROUND_ID, np.arange(1, count + 1)
        rows["operator_id"] = np.frombuffer(rng.bytes(16 * OPERATORS), "V16")[rng.integers(0, OPERATORS, count)]
        rows["account_id"] = rng.integers(1, 100_000, count)
        rows["picks"] = np.frombuffer(bets.picks, "V10")
        rows["stake_minor"] = np.frombuffer(bets.stakes, "<i8")
        data = HEADER + rows.tobytes() + TRAILER
        self.count, self.bets, self.rows = count, bets, rows
        self.chunks = [data[at:end] for at, end in pairwise([*range(0, len(data), CHUNK_BYTES), len(data)])]
        self.columns, self.terms = bets.chunks(BLOCK), [core_cases.terms()]

    def ours(self) -> tuple[_core.SettlementStream, list[bytes]]:
        stream = _core.SettlementStream([(ROUND_ID, self.bets.numbers, self.terms, b"")])
        out = [stream.feed(chunk) for chunk in self.chunks]
        return stream, [*out, stream.finish()]

    def kernel(self) -> None:
        for part in self.columns:
            _core.settle(part.picks, part.stakes, part.terms_index, self.terms, part.numbers)

    def expected_parts(self, these: np.ndarray) -> int:
        """What the odds say that these bets are paid, in parts of a minor unit."""
        picks = np.unpackbits(np.frombuffer(self.bets.picks, "u1").reshape(-1, 10), axis=1).sum(axis=1)
        kinds = np.stack([picks.astype("i8"), np.frombuffer(self.bets.stakes, "<i8")], axis=1)[these]
        parts = Fraction(0)
        for (count, stake), bets in zip(*np.unique(kinds, axis=0, return_counts=True), strict=True):
            wins = [int(stake) * multiplier // core_cases.SCALE for multiplier in core_cases.ROWS[count]]
            paid = [min(win, core_cases.WIN_MAX_MINOR) for win in wins]
            parts += int(bets) * sum(hit_probability(int(count), hits) * minor for hits, minor in enumerate(paid))
        return int(parts * PARTS)

    def check(self) -> bool:
        """Whether payouts and totals are what the column kernel and numpy find."""
        stream, out = self.ours()
        settled = _core.settle(self.bets.picks, self.bets.stakes, self.bets.terms_index, self.terms, self.bets.numbers)
        paid, cut = (np.frombuffer(column, "<i8") for column in (settled.payouts, settled.cuts))
        won = np.flatnonzero(paid)
        payouts = table(PAYOUT_FIELDS, len(won))
        for name in ("bet_id", "round_id", "account_id"):
            payouts[name] = self.rows[name][won]
        payouts["hits"] = np.frombuffer(settled.hits, "u1")[won]
        payouts["payout_minor"], payouts["cut_minor"] = paid[won], cut[won]
        operators = self.rows["operator_id"]
        totals = []
        for operator in sorted({bytes(operator) for operator in np.unique(operators.view("S16"))}):
            theirs = operators == np.void(operator.ljust(16, b"\0"))
            sums = (int(column[theirs].sum()) for column in (self.rows["stake_minor"], paid, cut))
            parts = self.expected_parts(theirs)
            totals.append((ROUND_ID, operator.ljust(16, b"\0"), 0, int(theirs.sum()), *sums, parts))
        return stream.totals() == totals and b"".join(out) == HEADER + payouts.tobytes() + TRAILER


def rows() -> list[Row] | None:
    """None if an outcome is wrong."""
    case = Stream(BETS)
    if not case.check():
        return None
    copied = [*case.chunks, *case.ours()[1]]

    def memcpy() -> None:
        for piece in copied:
            bytearray(piece)

    ours, what = Side(case.ours, BETS, time.thread_time), "settlement from COPY to COPY, 1e6 bets"
    return [
        report.compare_cost(what, "ns/bet", 1e9, (ours, Side(run, BETS, time.thread_time)), name, None, 15)
        for run, name in ((memcpy, "memcpy"), (case.kernel, "the column kernel alone"))
    ]
