"""What transactions offer: enough, more each time, and never more than the maximum."""

from hypothesis import given
from hypothesis import strategies as st

from keno.fairness.anchor.fees import Fees, bumped, first

WEI = st.integers(0, 10**14)
CAP = st.integers(1, 10**14)


def test_a_first_offer_holds_while_the_base_fee_doubles() -> None:
    assert first(10, 2, 100) == Fees(22, 2)
    assert first(10, 2, 15) == Fees(15, 2)
    assert first(10, 20, 15) == Fees(15, 15)


def test_a_chain_that_asks_for_nothing_is_offered_something() -> None:
    assert first(0, 0, 100) == Fees(1, 0)


def test_a_replacement_pays_an_eighth_more_in_both_or_what_is_asked_for_now() -> None:
    assert bumped(Fees(80, 8), 10, 2, 1_000) == Fees(90, 9)
    assert bumped(Fees(80, 8), 100, 30, 1_000) == Fees(230, 30)
    assert bumped(Fees(81, 0), 0, 0, 1_000) == Fees(92, 1)
    assert bumped(Fees(80, 8), 10, 2, 90) == Fees(90, 9)
    assert bumped(Fees(80, 8), 10, 2, 89) is None


@given(WEI, WEI, CAP, st.lists(st.tuples(WEI, WEI), max_size=20))
def test_offers_only_grow_and_stay_under_the_maximum(
    base_fee_wei: int, tip_wei: int, cap_wei: int, later: list[tuple[int, int]]
) -> None:
    offered = first(base_fee_wei, tip_wei, cap_wei)
    assert 0 <= offered.tip_wei <= offered.max_fee_wei <= cap_wei
    for base_now_wei, tip_now_wei in later:
        more = bumped(offered, base_now_wei, tip_now_wei, cap_wei)
        if more is None:
            assert 9 * offered.max_fee_wei > 8 * (cap_wei - 1)
            continue
        assert more.tip_wei <= more.max_fee_wei <= cap_wei
        assert 8 * more.max_fee_wei >= 9 * offered.max_fee_wei
        assert 8 * more.tip_wei >= 9 * offered.tip_wei
        offered = more
