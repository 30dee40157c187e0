"""The settlement stream against a reference of a few lines: on streams cut anywhere, and with spoilt bytes."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.copy_format import Bet, Payout, bets_copy, read_payouts

from keno import _core
from keno.game.odds import PARTS

ROWS = [[], *([0 if 3 * h < p else 37 * h * h for h in range(p + 1)] for p in range(1, 11))]
# (scale, win_max_minor) of a round's terms, and its draw.
ROUNDS: dict[int, tuple[list[tuple[int, int]], list[int]]] = {
    3: ([(7, 90), (1000, 1_000_000), (1, 1)], list(range(1, 61, 3))),
    40: ([(100, 5_000)], list(range(61, 81))),
    2**63 - 1: ([(1, 2**63 - 1), (3, 1000)], list(range(2, 42, 2))),
}

bets = st.builds(
    Bet,
    round_id=st.sampled_from(sorted(ROUNDS)),
    bet_id=st.integers(-(2**63), 2**63 - 1),
    operator_id=st.sampled_from([bytes(16), b"\xff" * 16, bytes(range(16))]),
    account_id=st.integers(-(2**63), 2**63 - 1),
    picks=st.sets(st.integers(1, 80), min_size=1, max_size=10).map(
        lambda picks: sum(1 << pick - 1 for pick in picks).to_bytes(10, "big")
    ),
    stake_minor=st.integers(1, 2**40),
    terms=st.integers(0, 0),
).flatmap(lambda bet: st.integers(0, len(ROUNDS[bet.round_id][0]) - 1).map(lambda terms: bet._replace(terms=terms)))
streams = st.lists(bets, max_size=30, unique_by=lambda bet: bet[:2]).map(sorted)
cuts = st.lists(st.integers(1, 300), min_size=1, max_size=8)


def pieces(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        for length in lengths:
            yield data[at : at + length]
            at += length


def stream() -> _core.SettlementStream:
    return _core.SettlementStream(
        [
            (round_id, bytes(numbers), [_core.Terms(ROWS, *limits) for limits in terms], b"")
            for round_id, (terms, numbers) in ROUNDS.items()
        ]
    )


Totals = list[tuple[int, bytes, int, int, int, int, int, int]]


def run(data: bytes, lengths: list[int]) -> tuple[bytes, Totals]:
    settling = stream()
    out = b"".join([settling.feed(piece) for piece in pieces(data, lengths)]) + settling.finish()
    assert settling.winners_count == len(read_payouts(out))
    return out, settling.totals()


def expected_payout(row: list[int], stake_minor: int, scale: int, win_max_minor: int) -> Fraction:
    """What a bet is paid on average, in minor units."""
    picks, paid = len(row) - 1, [min(stake_minor * multiplier // scale, win_max_minor) for multiplier in row]
    return sum(
        (Fraction(comb(20, hits) * comb(60, picks - hits) * minor, comb(80, picks)) for hits, minor in enumerate(paid)),
        Fraction(0),
    )


def expected(placed: list[Bet]) -> tuple[list[Payout], Totals]:
    payouts: list[Payout] = []
    sums: dict[tuple[int, bytes, int], Counter[str]] = {}
    worth: dict[tuple[int, bytes, int], Fraction] = {}
    for bet in placed:
        terms, numbers = ROUNDS[bet.round_id]
        scale, win_max_minor = terms[bet.terms]
        mask = int.from_bytes(bet.picks, "big")
        hits = sum(mask >> number - 1 & 1 for number in numbers)
        win = bet.stake_minor * ROWS[mask.bit_count()][hits] // scale
        payout = min(win, win_max_minor)
        group = sums.setdefault((bet.round_id, bet.operator_id, bet.terms), Counter())
        group.update(bets=1, staked=bet.stake_minor, paid=payout, cut=win - payout)
        key, row = (bet.round_id, bet.operator_id, bet.terms), ROWS[mask.bit_count()]
        worth[key] = worth.get(key, Fraction(0)) + expected_payout(row, bet.stake_minor, scale, win_max_minor)
        if payout:
            payouts.append(Payout(bet.bet_id, bet.round_id, bet.account_id, hits, payout, win - payout))
    totals = [
        (*key, of["bets"], of["staked"], of["paid"], of["cut"], int(worth[key] * PARTS)) for key, of in sums.items()
    ]
    assert all(total[-1] == worth[total[:3]] * PARTS for total in totals)
    return payouts, sorted(totals)


@given(streams, cuts, st.integers(1, 12))
def test_a_stream_settles_exactly_however_it_is_cut(placed: list[Bet], lengths: list[int], repeats: int) -> None:
    # Enough bets for whole blocks of the kernel: the same ones again under ids that follow.
    longer = [bet._replace(bet_id=place) for place, bet in enumerate(sorted(placed * repeats * 4, key=lambda b: b[0]))]
    for bets_of_it in (placed, longer):
        out, totals = run(bets_copy(bets_of_it), lengths)
        assert (read_payouts(out), totals) == expected(bets_of_it)


@given(streams.filter(bool), st.data(), cuts)
def test_spoilt_bytes_are_refused_or_settle_alike_however_they_are_cut(
    placed: list[Bet], data: st.DataObject, lengths: list[int]
) -> None:
    spoilt = bytearray(bets_copy(placed))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        spoilt[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    def outcome(lengths: list[int]) -> object:
        try:
            return run(bytes(spoilt), lengths)
        except _core.CoreError as error:
            return str(error)

    assert outcome(lengths) == outcome([len(spoilt)])


@given(st.binary(max_size=400), st.booleans())
def test_bytes_that_are_no_stream_of_bets_are_refused(data: bytes, after_header: bool) -> None:
    with pytest.raises(_core.CoreError):
        run((bets_copy([])[:-2] if after_header else b"") + data + b"\0", [4096])


@given(streams.filter(lambda placed: len(placed) > 1), st.data())
def test_bets_out_of_order_or_given_twice_are_refused(placed: list[Bet], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(placed) - 1))
    again = data.draw(st.integers(0, at - 1))
    with pytest.raises(_core.CoreError, match="does not come after"):
        run(bets_copy([*placed[:at], placed[again], *placed[at:]]), [4096])
