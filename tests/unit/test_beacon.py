"""Beacons: recorded rounds of drand, checked by two implementations, and the formulas of the profiles."""

import hashlib
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keno import verifier
from keno.fairness.beacon import LOCAL_ID, QUICKNET, Terms, local_chain, sign_locally
from keno.fairness.keno1 import Lock

RECORDED = {
    1000: "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
    1001: "b33bf3667cbd5a82de3a24b4e0e9fe5513cc1a0e840368c6e31f5fcfa79bea03f73896b25883abf2853d10337fb8fa41",
    1002: "ab066f9c12dd6de1336fca0f925192fb0c72a771c3e4c82ede1fd362c1a770f9eb05843c6308ce2530b53a99c0281a6e",
    1003: "b104c82771698f45fd8dcfead083d482694c31ab519bcef077f126f3736fe98c8392fd5d45d88aeb76b56ccfcb0296d7",
}


@pytest.fixture(scope="module")
def bls() -> verifier.Bls:
    return verifier.Bls()


def test_the_pinned_chain_is_quicknet_by_drands_own_hash() -> None:
    assert QUICKNET.hash.hex() == "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
    assert QUICKNET.public_key == verifier.QUICKNET_KEY
    assert hashlib.sha256(bytes.fromhex(RECORDED[1000])).hexdigest() == (
        "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd"
    )


@pytest.mark.parametrize("beacon_round", RECORDED)
def test_both_implementations_verify_recorded_rounds_and_no_other(beacon_round: int, bls: verifier.Bls) -> None:
    signature = bytes.fromhex(RECORDED[beacon_round])
    for asked in (beacon_round, beacon_round + 1):
        assert QUICKNET.verifies(asked, signature) == bls.verifies(asked, signature) == (asked == beacon_round)


def test_both_implementations_refuse_a_signature_with_one_bit_changed(bls: verifier.Bls) -> None:
    for bit in (0, 1, 2, 3, 100, 200, 382, 383):
        changed = bytearray(bytes.fromhex(RECORDED[1000]))
        changed[bit // 8] ^= 0x80 >> bit % 8
        assert not QUICKNET.verifies(1000, bytes(changed))
        assert not bls.verifies(1000, bytes(changed))


@pytest.mark.parametrize("x", [0, 2, 4, 5, 7, 11])
def test_both_implementations_refuse_points_that_are_not_of_the_group(x: int, bls: verifier.Bls) -> None:
    for first in (0x80, 0xA0, 0xC0):
        point = bytes([first]) + bytes(46) + bytes([x])
        assert not QUICKNET.verifies(1000, point)
        assert not bls.verifies(1000, point)


@settings(max_examples=10, deadline=None)
@given(secret=st.binary(min_size=32, max_size=32), beacon_round=st.integers(1, 2**63 - 1))
def test_a_local_beacon_verifies_by_both_implementations_and_says_that_it_is_not_public(
    secret: bytes, beacon_round: int
) -> None:
    chain = local_chain(secret)
    signature = sign_locally(secret, beacon_round)
    assert chain.verifies(beacon_round, signature)
    assert verifier.Bls(chain.public_key).verifies(beacon_round, signature)
    assert not QUICKNET.verifies(beacon_round, signature)
    assert (chain.is_public, chain.beacon_id, verifier.LOCAL_BEACON) == (False, LOCAL_ID, LOCAL_ID)
    assert "not public" in chain.name


def named(from_ms: int, guard_ms: int) -> int:
    """The formula of the protocol in exact fractions."""
    return ceil(Fraction(from_ms + guard_ms - 1_692_803_367_000, 3_000)) + 1


def a_lock(lock_ms: int, beacon_round: int) -> Lock:
    return Lock(bytes(16), 1, bytes(32), bytes(32), bytes(32), 0, lock_ms, beacon_round, bytes(32))


@given(
    lock_ms=st.integers(1_700_000_000_000, 2**45),
    opened_ms=st.integers(1_700_000_000_000, 2**45),
    guard_ms=st.integers(2_000, 60_000),
)
def test_the_beacon_round_follows_from_the_lock_in_b_and_from_the_epoch_in_e(
    lock_ms: int, opened_ms: int, guard_ms: int
) -> None:
    in_s, in_e, in_b = (Terms(profile, guard_ms, None) for profile in ("S", "E", "B"))
    assert in_s.beacon_round(lock_ms, opened_ms) == 0
    assert in_e.beacon_round(lock_ms, opened_ms) == named(opened_ms + 30_000, guard_ms)
    beacon_round = in_b.beacon_round(lock_ms, opened_ms)
    assert beacon_round == named(lock_ms, guard_ms)
    assert lock_ms + guard_ms <= QUICKNET.due_ms(beacon_round) < lock_ms + guard_ms + 3_000
    assert in_b.fault(a_lock(lock_ms, beacon_round), opened_ms) is None
    for wrong in (0, beacon_round - 1, beacon_round + 1):
        assert in_b.fault(a_lock(lock_ms, wrong), opened_ms) is not None


def test_an_epochs_beacon_that_is_not_before_the_lock_is_a_fault() -> None:
    terms, opened_ms = Terms("E", 2_000, None), 1_800_000_000_000
    beacon_round = terms.beacon_round(0, opened_ms)
    due_ms = QUICKNET.due_ms(beacon_round)
    assert terms.fault(a_lock(due_ms, beacon_round), opened_ms) is not None
    assert terms.fault(a_lock(due_ms + 1, beacon_round), opened_ms) is None


@given(at_ms=st.integers(1_692_803_367_000, 2**45))
def test_the_latest_round_is_out_and_the_next_is_not(at_ms: int) -> None:
    latest = QUICKNET.latest_round(at_ms)
    assert QUICKNET.due_ms(latest) <= at_ms < QUICKNET.due_ms(latest + 1)
