"""keno1 against its published vectors, and the relations of its values that the vectors cannot show."""

import json
from pathlib import Path
from typing import Any

import pytest

from keno import verifier
from keno._core import CoreError
from keno.fairness import keno1, leaves

VECTORS = Path(__file__).parents[1] / "vectors"
DRAWS = json.loads((VECTORS / "keno1-draws.json").read_text())
ROUNDS = [json.loads(line) for line in (VECTORS / "keno1-rounds.jsonl").read_text().splitlines()]

each_round = pytest.mark.parametrize("published", ROUNDS, ids=[f"profile {line['profile']}" for line in ROUNDS])


def lock_of(published: dict[str, Any], **changed: Any) -> keno1.Lock:
    values = {
        "room": bytes.fromhex(published["room"]),
        "number": published["round"],
        "commit": bytes.fromhex(published["commit"]),
        "rules": bytes.fromhex(published["rules"]),
        "bets_root": bytes.fromhex(published["bets_root"]),
        "bets_count": published["bets_count"],
        "lock_ms": published["lock_ms"],
        "beacon_round": published["beacon_round"],
        "prev_lock": bytes.fromhex(published["prev_lock"]),
    }
    return keno1.Lock(**values | changed)


@pytest.mark.parametrize("published", DRAWS, ids=[line["note"] for line in DRAWS])
def test_a_draw_is_the_published_one(published: dict[str, Any]) -> None:
    values = [bytes.fromhex(published[key]) for key in ("seed", "x", "beacon")]
    assert keno1.draw_numbers(*values) == published["numbers"]


@each_round
def test_a_round_is_the_published_one(published: dict[str, Any]) -> None:
    lock = lock_of(published)
    assert lock.hash.hex() == published["lock"]
    seed, signature = bytes.fromhex(published["seed"]), bytes.fromhex(published["beacon_sig"])
    drawn = keno1.draw(published["profile"], lock, seed, signature)
    assert list(drawn.numbers) == published["numbers"]
    for key in ("x", "beacon", "block0", "result"):
        assert getattr(drawn, key).hex() == published[key], key


@each_round
def test_the_seed_and_its_commitment_follow_from_the_epoch_key(published: dict[str, Any]) -> None:
    room, number, epoch_key = (
        bytes.fromhex(published["room"]),
        published["round"],
        keno1.EpochKey(bytearray.fromhex(published["epoch_key"])),
    )
    first, count = published["epoch_first"], published["epoch_count"]
    seed = epoch_key.seed(room, number)
    assert seed.hex() == published["seed"]
    assert keno1.commit(room, number, seed).hex() == published["commit"]
    assert epoch_key.key_commit.hex() == published["key_commit"]
    commits = epoch_key.commits(room, first, count)
    assert commits[32 * (number - first) :][:32].hex() == published["commit"]
    assert keno1.commits_root(room, first, commits).hex() == published["commits_root"]
    assert [node.hex() for node in keno1.commit_path(room, first, commits, number)] == published["commit_path"]


@pytest.mark.parametrize(
    "changed",
    [
        {"room": bytes(16)},
        {"number": 2},
        {"commit": bytes(32)},
        {"rules": bytes(32)},
        {"bets_root": bytes(32)},
        {"bets_count": 4},
        {"lock_ms": 1_692_806_362_001},
        {"beacon_round": 1001},
        {"prev_lock": bytes([1] * 32)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_value_of_a_lock_enters_its_hash(changed: dict[str, Any]) -> None:
    assert lock_of(ROUNDS[0], **changed).hash != lock_of(ROUNDS[0]).hash


@pytest.mark.parametrize("profile", ["S", "E"])
def test_the_bets_do_not_enter_the_draw_of_profiles_without_a_late_beacon(profile: keno1.Profile) -> None:
    lock, seed = lock_of(ROUNDS[0]), bytes(range(32))
    changed = {"bets_count": 9, "lock_ms": 1, "prev_lock": bytes([7] * 32), "rules": bytes(32)}
    other = lock_of(ROUNDS[0], bets_root=bytes(32), **changed)
    assert keno1.draw(profile, lock, seed, b"sig").numbers == keno1.draw(profile, other, seed, b"sig").numbers
    assert keno1.draw(profile, lock, seed, b"sig").result != keno1.draw(profile, other, seed, b"sig").result


def test_the_bets_enter_the_draw_of_profile_b() -> None:
    lock, seed = lock_of(ROUNDS[0]), bytes(range(32))
    other = lock_of(ROUNDS[0], bets_root=bytes(32))
    assert keno1.draw("B", lock, seed, b"sig").numbers != keno1.draw("B", other, seed, b"sig").numbers


def test_profile_s_ignores_a_beacon_and_the_others_do_not() -> None:
    lock, seed = lock_of(ROUNDS[0]), bytes(range(32))
    assert keno1.draw("S", lock, seed, b"one") == keno1.draw("S", lock, seed, b"two")
    assert keno1.draw("E", lock, seed, b"one").numbers != keno1.draw("E", lock, seed, b"two").numbers


def test_the_beacon_round_is_the_first_that_comes_the_guard_after_the_lock() -> None:
    for lock_ms in range(1_800_000_000_000, 1_800_000_006_001):
        beacon_round = keno1.beacon_round_at(lock_ms, guard_ms=2_000)
        assert verifier.drand_time_ms(beacon_round) >= lock_ms + 2_000
        assert verifier.drand_time_ms(beacon_round - 1) < lock_ms + 2_000


def test_no_bets_have_the_hash_of_nothing_as_their_root() -> None:
    assert leaves.bets_root(b"") == verifier.sha256()
    assert leaves.leaf_hashes(b"") == []
    assert leaves.split(b"") == []


def test_a_leaf_reads_back_as_the_verifier_reads_it() -> None:
    unsalted = leaves.unsalted_leaf(
        bet_id=2**63 - 1,
        operator_id=bytes(range(16)),
        account=bytes(range(32)),
        picks=(1 << 79 | 1).to_bytes(10, "big"),
        stake_minor=2**53 - 1,
        currency="EUR",
        paytable=bytes(range(32, 64)),
    )
    leaf = leaves.salted(bytes([9] * 32), unsalted)
    read = verifier.read_leaf(leaf)
    assert len(leaf) == leaves.LEAF_BYTES
    assert read.salt == verifier.hmac.digest(bytes([9] * 32), read.id, "sha256")[:16]
    assert read.id == (2**63 - 1).to_bytes(16, "big")
    assert (read.operator, read.account, read.paytable) == (bytes(range(16)), bytes(range(32)), bytes(range(32, 64)))
    assert (read.picks, read.stake_minor, read.currency) == (1 << 79 | 1, 2**53 - 1, b"EUR\0\0\0\0\0")


def test_bytes_that_are_no_whole_number_of_leaves_are_refused() -> None:
    with pytest.raises(CoreError):
        leaves.bets_root(bytes(leaves.LEAF_BYTES + 1))
    with pytest.raises(CoreError):
        leaves.salted(bytes(32), bytes(leaves.LEAF_BYTES))


@pytest.mark.parametrize(("seed", "x", "beacon"), [(31, 32, 32), (32, 33, 32), (32, 32, 0)])
def test_a_draw_takes_values_of_32_bytes_only(seed: int, x: int, beacon: int) -> None:
    with pytest.raises(CoreError):
        keno1.draw_numbers(bytes(seed), bytes(x), bytes(beacon))
