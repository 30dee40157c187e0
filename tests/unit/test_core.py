"""The compiled core from Python: published vectors, hashes spelled out with hashlib, settlement, every refusal."""

import hashlib
import hmac
import json
import pickle
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keno import _core

VECTORS = Path(__file__).parents[1] / "vectors"
DRAWS = json.loads((VECTORS / "keno1-draws.json").read_text())
ROUNDS = [json.loads(line) for line in (VECTORS / "keno1-rounds.jsonl").read_text().splitlines()]

ROOM, KEY, HASH = bytes(range(16)), bytes(range(32)), bytes(range(32, 64))
EPOCH_KEY = _core.EpochKey(bytearray(KEY))
ROWS: list[list[int]] = [[], *([0] * p + [200] for p in range(1, 11))]
TERMS = _core.Terms(ROWS, 100, 1000)
NUMBERS = bytes(range(1, 21))


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


@pytest.mark.parametrize("vector", DRAWS, ids=lambda v: v["note"])
def test_a_published_draw_comes_out_number_by_number(vector: dict[str, Any]) -> None:
    seed, x, beacon = (bytes.fromhex(vector[name]) for name in ("seed", "x", "beacon"))
    assert list(_core.draw(seed, x, beacon)) == vector["numbers"]
    assert _core.draw_many(seed * 3, x * 3, beacon * 3) == bytes(vector["numbers"]) * 3
    assert _core.draw_block(seed, x, beacon, 0).hex() == vector["block0"]


@pytest.mark.parametrize("vector", ROUNDS, ids=lambda v: v["profile"])
def test_a_published_round_recomputes_from_its_epoch_key(vector: dict[str, Any]) -> None:
    room, epoch_key = bytes.fromhex(vector["room"]), _core.EpochKey(bytearray.fromhex(vector["epoch_key"]))
    number, first, count = vector["round"], vector["epoch_first"], vector["epoch_count"]
    seed = epoch_key.seed(room, number)
    commit = _core.commit(room, number, seed)
    commits = epoch_key.commits(room, first, count)
    assert seed.hex() == vector["seed"]
    assert commit.hex() == vector["commit"]
    assert commits[32 * (number - first) :][:32] == commit
    assert epoch_key.key_commit.hex() == vector["key_commit"]
    assert _core.commits_root(room, first, commits).hex() == vector["commits_root"]
    assert [h.hex() for h in _core.commit_path(room, first, commits, number)] == vector["commit_path"]

    rules, bets_root, prev = (bytes.fromhex(vector[name]) for name in ("rules", "bets_root", "prev_lock"))
    lock = _core.Lock(
        room, number, commit, rules, bets_root, vector["bets_count"], vector["lock_ms"], vector["beacon_round"], prev
    )
    assert lock.hash.hex() == vector["lock"]
    assert lock.pre == _core.pre_hash(room, number, commit, vector["beacon_round"])
    assert lock.opens_with(seed)
    binds_bets = vector["profile"] == "B"
    x = lock.hash if binds_bets else lock.pre
    assert x.hex() == vector["x"]
    beacon = bytes.fromhex(vector["beacon"])
    numbers = _core.draw(seed, x, beacon)
    assert list(numbers) == vector["numbers"]
    assert _core.result_hash(lock.hash, seed, beacon, numbers).hex() == vector["result"]
    assert lock.draw(seed, beacon, binds_bets) == (numbers, bytes.fromhex(vector["result"]))
    assert lock.draw(seed, beacon, not binds_bets)[0] != numbers


def test_hashes_without_vectors_are_the_documented_bytes() -> None:
    epoch = _core.epoch_hash(ROOM, 5, 8, HASH, KEY, 1_700_000_000_000)
    assert epoch == sha(b"keno1:epoch", ROOM, struct.pack(">QI", 5, 8), HASH, KEY, struct.pack(">Q", 1_700_000_000_000))
    assert _core.void_hash(HASH, KEY, 3) == sha(b"keno1:void", HASH, KEY, b"\x03")
    assert _core.account_hash(ROOM, "jos\u00e9") == sha(b"keno1:account", ROOM, "jos\u00e9".encode())


def test_a_leaf_gets_the_salt_of_its_bet_id_in_front() -> None:
    bets = [bytes([n]) * 122 for n in range(3)]
    leaves = _core.bet_leaves(KEY, b"".join(bets))
    salts = [hmac.digest(KEY, bet[:16], "sha256")[:16] for bet in bets]
    assert leaves == b"".join(salt + bet for salt, bet in zip(salts, bets, strict=True))
    assert _core.leaf_hashes(leaves, 138) == b"".join(sha(b"\0", leaves[138 * n :][:138]) for n in range(3))


def test_no_leaves_have_the_root_of_nothing() -> None:
    assert _core.leaves_root(b"", 138) == sha()
    assert _core.leaf_hashes(b"", 138) == b""
    assert _core.bet_leaves(KEY, b"") == b""
    assert _core.draw_many(b"", b"", b"") == b""


def test_a_root_commits_to_how_many_leaves_there_are() -> None:
    left, right = sha(b"\0", b"a"), sha(b"\0", b"b")
    node = sha(b"\1", left, right)
    assert _core.leaves_root(b"ab", 1) == node
    assert _core.leaves_root(b"abb", 1) == sha(b"\1", node, right)
    assert _core.leaves_root(b"abbb", 1) == sha(b"\1", node, sha(b"\1", right, right))


def test_masks_have_bit_n_minus_1_for_number_n() -> None:
    assert _core.picks_mask([80, 1, 9]) == (1 << 79 | 1 << 0 | 1 << 8).to_bytes(10, "big")
    assert _core.mask_picks(b"\x80" + bytes(8) + b"\x03") == [1, 2, 80]
    assert _core.mask_picks(_core.picks_mask(range(1, 81))) == list(range(1, 81))
    assert _core.picks_mask([]) == bytes(10)


def test_settlement_pays_caps_and_records_what_it_cut() -> None:
    picks = _core.picks_mask([1]) + _core.picks_mask([1, 2]) + _core.picks_mask([1, 80])
    stakes = array("q", [499, 501, 100])
    settled = _core.settle(picks, stakes, bytes(3), [TERMS], bytes(range(1, 21)))
    assert list(settled.hits) == [1, 2, 1]
    assert array("q", settled.payouts).tolist() == [998, 1000, 0]
    assert array("q", settled.cuts).tolist() == [0, 2, 0]


def test_each_bet_is_settled_on_the_terms_it_names() -> None:
    other = _core.Terms([[], *([0] * p + [7] for p in range(1, 11))], 2, 10_000)
    settled = _core.settle(
        _core.picks_mask([4]) * 2, array("q", [101, 101]), b"\1\0", [TERMS, other], bytes(range(1, 21))
    )
    assert array("q", settled.payouts).tolist() == [353, 202]


def test_no_bets_settle_to_nothing() -> None:
    settled = _core.settle(b"", b"", b"", [], bytes(range(1, 21)))
    assert (settled.hits, settled.payouts, settled.cuts) == (b"", b"", b"")


@pytest.mark.parametrize("wrap", [bytearray, memoryview, lambda b: array("B", b)], ids=["bytearray", "view", "array"])
def test_any_buffer_serves_as_bytes(wrap: Callable[[bytes], Any]) -> None:
    assert _core.commit(wrap(ROOM), 7, wrap(KEY)) == _core.commit(ROOM, 7, KEY)


def test_an_epoch_key_is_drawn_anew_each_time_and_copies_are_the_callers_own() -> None:
    first, second = _core.EpochKey.draw(), _core.EpochKey.draw()
    assert first.reveal() != second.reveal()
    copy = first.copy()
    assert copy == first.reveal()
    same = _core.EpochKey(copy)
    copy[:] = bytes(32)
    assert same.key_commit == first.key_commit
    assert same.reveal() != bytes(32)


def test_an_epoch_key_shows_itself_in_no_text_and_in_no_pickle() -> None:
    drawn = _core.EpochKey.draw()
    assert drawn.reveal().hex() not in f"{drawn!r} {drawn}"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(drawn)


def test_an_epoch_key_is_not_made_from_what_cannot_be_wiped() -> None:
    immutable: Any = KEY
    with pytest.raises(TypeError):
        _core.EpochKey(immutable)


def settle_with(picks: bytes, stake: int, terms_index: int = 0, numbers: bytes = bytes(range(1, 21))) -> _core.Settled:
    """Settles 600 good bets and then the one given."""
    good = _core.picks_mask([1, 50])
    stakes = array("q", [1] * 600 + [stake])
    return _core.settle(good * 600 + picks, stakes, bytes(600) + bytes([terms_index]), [TERMS], numbers)


def lock_of(**changed: Any) -> _core.Lock:
    values = {
        "room": ROOM,
        "number": 7,
        "commit": sha(b"commit"),
        "rules": sha(b"rules"),
        "bets_root": sha(b"bets"),
        "bets_count": 3,
        "lock_ms": 1_700_000_000_000,
        "beacon_round": 5,
        "prev_lock": sha(b"lock"),
    }
    return _core.Lock(**values | changed)


def test_a_lock_is_read_from_the_bytes_that_are_hashed() -> None:
    lock = lock_of()
    hashed = b"".join(
        [ROOM, struct.pack(">Q", 7), *map(sha, (b"commit", b"rules", b"bets")), struct.pack(">QQQ", 3, lock.lock_ms, 5)]
    ) + sha(b"lock")
    read = _core.Lock.from_bytes(hashed)
    assert read == lock
    assert hash(read) == hash(lock)
    assert read.hash == sha(b"keno1:lock", hashed)
    fields = ("room", "number", "commit", "rules", "bets_root", "bets_count", "lock_ms", "beacon_round", "prev_lock")
    assert lock_of(**{name: getattr(read, name) for name in fields}) == lock
    assert read != lock_of(bets_count=4)


REFUSALS: list[tuple[str, str, Callable[[], object]]] = [
    ("a short key", "epoch_key must have 32 bytes, not 31", lambda: _core.EpochKey(bytearray(31))),
    ("a long room", "room must have 16 bytes, not 17", lambda: EPOCH_KEY.seed(ROOM + b"x", 1)),
    ("a negative round", "64 unsigned bits", lambda: EPOCH_KEY.seed(ROOM, -1)),
    ("a round of 65 bits", "64 unsigned bits", lambda: EPOCH_KEY.seed(ROOM, 1 << 64)),
    ("a short seed", "seed must have 32 bytes, not 0", lambda: _core.commit(ROOM, 1, b"")),
    ("an epoch of no rounds", "number of rounds", lambda: EPOCH_KEY.commits(ROOM, 1, 0)),
    ("a count of 33 bits", "32 unsigned bits", lambda: EPOCH_KEY.commits(ROOM, 1, 1 << 32)),
    ("rounds beyond 64 bits", "last round", lambda: EPOCH_KEY.commits(ROOM, (1 << 64) - 1, 2)),
    ("a ragged column", "multiple of 32 bytes, not 33", lambda: _core.commits_root(ROOM, 1, bytes(33))),
    ("a round before the epoch", "from 5 to 6", lambda: _core.commit_path(ROOM, 5, bytes(64), 4)),
    ("a round after the epoch", "from 5 to 6", lambda: _core.commit_path(ROOM, 5, bytes(64), 7)),
    ("a lock of 175 bytes", "a lock must have 176 bytes, not 175", lambda: _core.Lock.from_bytes(bytes(175))),
    ("a lock with a short root", "bets_root must have 32 bytes", lambda: lock_of(bets_root=bytes(31))),
    ("a lock of -1 bets", "64 unsigned bits", lambda: lock_of(bets_count=-1)),
    ("a seed of 31 bytes", "seed must have 32 bytes, not 31", lambda: lock_of().opens_with(bytes(31))),
    ("a beacon of 31 bytes", "beacon must have 32 bytes", lambda: lock_of().draw(KEY, bytes(31), True)),
    ("a void reason of 9 bits", "8 unsigned bits", lambda: _core.void_hash(HASH, KEY, 256)),
    ("a draw with a repeat", "number 1 occurs twice", lambda: _core.result_hash(HASH, KEY, HASH, b"\1" * 20)),
    ("a draw with 81", "from 1 to 80", lambda: _core.result_hash(HASH, KEY, HASH, bytes(range(62, 82)))),
    ("columns of unequal rows", "xs must have 2 entries, not 1", lambda: _core.draw_many(KEY * 2, KEY, KEY * 2)),
    ("leaves without width", "width", lambda: _core.leaves_root(b"", 0)),
    ("a ragged leaf", "multiple of 138 bytes", lambda: _core.leaves_root(bytes(137), 138)),
    ("a leaf that is not there", "leaf index", lambda: _core.leaves_path(bytes(138), 138, 1)),
    ("a short path entry", "path entry", lambda: _core.merkle_verify(HASH, HASH, 0, 2, [b"x"])),
    ("number 0", "from 1 to 80", lambda: _core.picks_mask([0])),
    ("number 81", "from 1 to 80", lambda: _core.picks_mask([81])),
    ("number -1", "8 unsigned bits", lambda: _core.picks_mask([-1])),
    ("a pick twice", "number 7 occurs twice", lambda: _core.picks_mask([7, 8, 7])),
    ("a mask of 9 bytes", "mask must have 10 bytes", lambda: _core.mask_picks(bytes(9))),
    ("a stake of 0", "bet 600: its stake", lambda: settle_with(_core.picks_mask([1]), 0)),
    ("a negative stake", "bet 600: its stake", lambda: settle_with(_core.picks_mask([1]), -5)),
    ("a bet without picks", "bet 600: it does not have 1 to 10", lambda: settle_with(bytes(10), 1)),
    ("11 picks", "bet 600: it does not have 1 to 10", lambda: settle_with(_core.picks_mask(range(1, 12)), 1)),
    ("no such terms", "bet 600: its terms index", lambda: settle_with(_core.picks_mask([1]), 1, 1)),
    ("a draw of 19", "numbers must have 20 bytes", lambda: settle_with(_core.picks_mask([1]), 1, 0, bytes(19))),
    ("a round id of 64 bits", "a round id must be", lambda: _core.SettlementStream([(1 << 63, NUMBERS, [], b"")])),
    ("a negative round id", "64 unsigned bits", lambda: _core.SettlementStream([(-1, NUMBERS, [], b"")])),
    ("a round twice", "two rounds", lambda: _core.SettlementStream([(1, NUMBERS, [], b""), (1, NUMBERS, [], b"")])),
    ("257 terms", "terms must be from 0 to 256", lambda: _core.SettlementStream([(1, NUMBERS, [TERMS] * 257, b"")])),
    ("a stream of a draw of 19", "numbers must have 20", lambda: _core.SettlementStream([(1, NUMBERS[1:], [], b"")])),
    ("a stream of text", "the signature", lambda: _core.SettlementStream([]).feed(b"round_id,bet_id,operator_id")),
    ("a stream not begun", "before its trailer", lambda: _core.SettlementStream([]).finish()),
    ("totals too early", "no totals yet", lambda: _core.SettlementStream([]).totals()),
    ("ten rows", "not 10 rows", lambda: _core.Terms(ROWS[:10], 100, 1)),
    ("a short row", "row 10 must have 11 multipliers", lambda: _core.Terms([*ROWS[:10], [0]], 100, 1)),
    ("a multiplier for no picks", "row 0", lambda: _core.Terms([[1], *ROWS[1:]], 100, 1)),
    ("a negative multiplier", "64 unsigned bits", lambda: _core.Terms([[], [0, -1], *ROWS[2:]], 100, 1)),
    ("a multiplier of 64 bits", "a multiplier", lambda: _core.Terms([[], [0, 1 << 63], *ROWS[2:]], 100, 1)),
    ("a scale of 0", "scale", lambda: _core.Terms(ROWS, 0, 1)),
    ("no win at all", "win_max_minor", lambda: _core.Terms(ROWS, 100, 0)),
    ("less a round than a bet", "round_win_max_minor must be from 5", lambda: _core.Terms(ROWS, 100, 5, 4)),
    ("64 bits a round", "round_win_max_minor must be", lambda: _core.Terms(ROWS, 100, 5, 1 << 63)),
    ("half of an account", "paid must have", lambda: _core.SettlementStream([(1, NUMBERS, [], bytes(8))])),
    ("an account twice", "account 0 was paid", lambda: _core.SettlementStream([(1, NUMBERS, [], bytes(32))])),
    ("paid less than nothing", "was paid", lambda: _core.SettlementStream([(1, NUMBERS, [], b"\xff" * 16)])),
]


@pytest.mark.parametrize(("message", "call"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_wrong_length_or_range_is_a_core_error_that_names_it(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(_core.CoreError, match=message):
        call()


def test_a_cut_beyond_64_bits_is_refused_instead_of_wrapped() -> None:
    terms = _core.Terms([[], [0, 1 << 62], *ROWS[2:]], 1, 1)
    with pytest.raises(_core.CoreError, match="bet 0: what its maximum wins cut off"):
        _core.settle(_core.picks_mask([1]), array("q", [4]), b"\0", [terms], bytes(range(1, 21)))


def test_a_wrong_type_is_a_type_error() -> None:
    wrong: Any = "text"
    with pytest.raises(TypeError):
        _core.commit(wrong, 1, KEY)
    with pytest.raises(TypeError):
        _core.EpochKey(wrong)
    with pytest.raises(TypeError):
        _core.picks_mask([wrong])
    with pytest.raises(TypeError):
        _core.SettlementStream([(1, NUMBERS, wrong, b"")])
    with pytest.raises(TypeError):
        _core.SettlementStream([]).feed(wrong)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 100])
def test_the_root_over_leaf_hashes_is_the_root_over_their_leaves(count: int) -> None:
    leaves = b"".join(bytes([n]) * 138 for n in range(count))
    assert _core.hashes_root(_core.leaf_hashes(leaves, 138)) == _core.leaves_root(leaves, 138)


def test_leaf_hashes_that_are_not_whole_are_refused() -> None:
    with pytest.raises(_core.CoreError, match="multiple of 32 bytes"):
        _core.hashes_root(bytes(33))
