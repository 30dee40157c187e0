"""The compiled core agrees with implementations that share no line with it.

Those are `keno.verifier`, written from the protocol alone, the standard library's hashes put together here from the
protocol's table, and pymerkle for the trees of RFC 9162. All inputs are fixed, so nothing here fails by chance.
"""

import hashlib
import hmac
import random
from collections.abc import Iterator

from pymerkle import InmemoryTree, verify_inclusion

from keno import _core, verifier
from keno.fairness import keno1, leaves

DRAWS = 100_000
TREE_SIZES = [*range(1, 70), 127, 128, 129, 255, 257, 1000]


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def random_values(label: str, count: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    data = hashlib.shake_256(label.encode()).digest(96 * count)
    return ((data[at : at + 32], data[at + 32 : at + 64], data[at + 64 : at + 96]) for at in range(0, len(data), 96))


def test_a_hundred_thousand_draws_are_those_of_the_verifier() -> None:
    differing = [
        values
        for values in random_values("keno draws that agree", DRAWS)
        if keno1.draw_numbers(*values) != verifier.draw(*values)
    ]
    assert differing == []


def test_draws_that_need_a_second_block_are_among_them() -> None:
    """Else the test above would not see a core that stops after the first block."""

    def numbers_in_first_block(values: tuple[bytes, bytes, bytes]) -> int:
        return len({byte % 80 for byte in verifier.draw_block(*values, 0) if byte < 240})

    sizes = [numbers_in_first_block(values) for values in random_values("keno draws that agree", 10_000)]
    assert sum(size < 20 for size in sizes) >= 10


def test_draws_of_many_rounds_at_once_are_the_draws_one_by_one() -> None:
    values = list(random_values("many", 1_001))
    seeds, xs, beacons = (b"".join(column) for column in zip(*values, strict=True))
    assert _core.draw_many(seeds, xs, beacons) == b"".join(bytes(verifier.draw(*each)) for each in values)


def test_every_hash_of_the_protocol_is_its_line_of_the_table() -> None:
    rng = random.Random("keno1 hashes")
    for _ in range(2_000):
        room, key, commit, rules, root, prev = (rng.randbytes(n) for n in (16, 32, 32, 32, 32, 32))
        number, count, lock_ms, beacon_round = (rng.getrandbits(rng.randint(1, 64)) for _ in range(4))
        ctx = room + u64(number)
        seed = hmac.digest(key, b"keno1:seed" + ctx, "sha256")
        epoch_key = keno1.EpochKey(bytearray(key))
        assert epoch_key.seed(room, number) == seed
        assert keno1.commit(room, number, seed) == sha(b"keno1:commit", ctx, seed)
        assert epoch_key.key_commit == sha(b"keno1:ekey", key)
        lock = keno1.Lock(room, number, commit, rules, root, count, lock_ms, beacon_round, prev)
        parts = (ctx, commit, rules, root, u64(count), u64(lock_ms), u64(beacon_round), prev)
        assert lock.hash == sha(b"keno1:lock", *parts)
        assert lock.pre == sha(b"keno1:pre", ctx, commit, u64(beacon_round))
        reason = rng.randrange(256)
        assert keno1.void_hash(lock.hash, seed, reason) == sha(b"keno1:void", lock.hash, seed, bytes([reason]))
        rounds_count = rng.getrandbits(32)
        span = u64(number) + rounds_count.to_bytes(4, "big")
        assert keno1.epoch_hash(room, number, rounds_count, root, commit, lock_ms) == sha(
            b"keno1:epoch", room, span, root, commit, u64(lock_ms)
        )
        player = "".join(rng.choices("aZ0-_é漢😀", k=rng.randint(1, 20)))
        assert keno1.account_hash(room, player) == sha(b"keno1:account", room, player.encode())
        drawn = keno1.draw("B", lock, seed, prev)
        assert drawn.result == sha(b"keno1:result", lock.hash, seed, sha(prev), drawn.numbers)


def test_roots_of_bets_are_those_of_two_other_implementations() -> None:
    rng = random.Random("bets trees")
    for size in TREE_SIZES:
        datas = [rng.randbytes(leaves.LEAF_BYTES) for _ in range(size)]
        root = leaves.bets_root(b"".join(datas))
        assert root == verifier.merkle_root(datas)
        assert root == InmemoryTree.init_from_entries(datas, algorithm="sha256").get_root()
        assert leaves.leaf_hashes(b"".join(datas)) == [sha(b"\0", data) for data in datas]


def test_inclusion_paths_of_commitments_are_those_of_two_other_implementations() -> None:
    rng = random.Random("commit trees")
    for size in TREE_SIZES:
        room, key, first = rng.randbytes(16), rng.randbytes(32), rng.randint(1, 2**40)
        epoch_key = keno1.EpochKey(bytearray(key))
        commits = epoch_key.commits(room, first, size)
        datas = [
            room + u64(first + i) + keno1.commit(room, first + i, epoch_key.seed(room, first + i)) for i in range(size)
        ]
        assert commits == b"".join(data[24:] for data in datas)
        root = keno1.commits_root(room, first, commits)
        tree = InmemoryTree.init_from_entries(datas, algorithm="sha256")
        assert root == verifier.merkle_root(datas) == tree.get_root()
        for index in {0, size - 1, rng.randrange(size)}:
            path = keno1.commit_path(room, first, commits, first + index)
            proof = tree.prove_inclusion(index + 1, size)
            assert [path_node.hex() for path_node in path] == proof.serialize()["path"][1:]
            leaf = sha(b"\0", datas[index])
            verify_inclusion(leaf, root, proof)
            assert verifier.root_from_path(leaf, index, size, path) == root
            assert _core.merkle_verify(root, leaf, index, size, path)


def test_a_path_proves_one_leaf_at_one_index_and_nothing_else() -> None:
    rng = random.Random("foreign proofs")
    for size in range(2, 40):
        joined = rng.randbytes(leaves.LEAF_BYTES * size)
        root, hashes, index = leaves.bets_root(joined), leaves.leaf_hashes(joined), rng.randrange(size)
        path = _core.leaves_path(joined, leaves.LEAF_BYTES, index)
        proved = [
            (leaf, at)
            for leaf in range(size)
            for at in range(size + 1)
            if _core.merkle_verify(root, hashes[leaf], at, size, path)
        ]
        assert proved == [(index, index)]


def test_leaves_are_salted_by_the_privacy_key_and_the_bet_id() -> None:
    rng = random.Random("salts")
    for count in (0, 1, 2, 1_000):
        key = rng.randbytes(32)
        unsalted = [rng.randbytes(leaves.LEAF_BYTES - 16) for _ in range(count)]
        expected = [hmac.digest(key, leaf[:16], "sha256")[:16] + leaf for leaf in unsalted]
        salted = leaves.salted(key, b"".join(unsalted))
        assert salted == b"".join(expected)
        assert leaves.split(salted) == expected
