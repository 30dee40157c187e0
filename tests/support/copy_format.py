"""PostgreSQL's binary COPY written down a second time, for the tests of settlement: bets to bytes, bytes to payouts."""

from collections.abc import Iterable
from struct import pack, unpack_from
from typing import NamedTuple

HEADER = b"PGCOPY\n\xff\r\n\x00" + pack(">Ii", 0, 0)
TRAILER = b"\xff\xff"


class Bet(NamedTuple):
    round_id: int
    bet_id: int
    operator_id: bytes
    account_id: int
    picks: bytes
    stake_minor: int
    terms: int


class Payout(NamedTuple):
    bet_id: int
    round_id: int
    account_id: int
    hits: int
    payout_minor: int
    cut_minor: int


def tuple_bytes(*fields: bytes | None) -> bytes:
    """One row; None is a null."""
    parts = [pack(">i", -1) if field is None else pack(">i", len(field)) + field for field in fields]
    return pack(">h", len(fields)) + b"".join(parts)


def bet_fields(bet: Bet) -> list[bytes | None]:
    return [
        pack(">q", bet.round_id),
        pack(">q", bet.bet_id),
        bet.operator_id,
        pack(">q", bet.account_id),
        bet.picks,
        pack(">q", bet.stake_minor),
        pack(">h", bet.terms),
    ]


def bets_copy(bets: Iterable[Bet]) -> bytes:
    """The bets as COPY TO writes them."""
    return HEADER + b"".join(tuple_bytes(*bet_fields(bet)) for bet in bets) + TRAILER


def read_payouts(data: bytes) -> list[Payout]:
    """The payouts as COPY FROM reads them; anything but rows of the right form and a trailer fails the test."""
    assert data.startswith(HEADER)
    at, payouts = len(HEADER), []
    while data[at : at + 2] != TRAILER:
        values = []
        (count,) = unpack_from(">h", data, at)
        at += 2
        for _ in range(count):
            (length,) = unpack_from(">i", data, at)
            values.append(unpack_from({8: ">q", 2: ">h"}[length], data, at + 4)[0])
            at += 4 + length
        payouts.append(Payout(*values))
    assert data[at:] == TRAILER
    return payouts
