"""Evidence bundles state what was stored, line by line, and show no more than they should."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from keno.fairness import keno1, leaves
from keno.fairness.evidence import (
    EndedRound,
    EvidenceBet,
    EvidencePayout,
    auditor_bundle,
    bet_leaves,
    public_bundle,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "keno1-rounds.jsonl"
ROUNDS = [json.loads(line) for line in VECTORS.read_text().splitlines()]
RULES = b'{"guard_ms":2000}'
PAYTABLES = [b'{"name":"one"}', b'{"name":"two"}']
OPERATOR = UUID(int=0xABCD)
BETS = [
    EvidenceBet(
        bet_id=bet_id,
        operator_id=OPERATOR,
        account=bytes([bet_id]) * 32,
        picks=(1 << bet_id).to_bytes(10, "big"),
        stake_minor=100 * bet_id,
        currency="EUR",
        paytable=bytes([7]) * 32,
    )
    for bet_id in (3, 4, 9)
]
LEAVES = bet_leaves(bytes(32), BETS)


def ended_round(published: dict[str, Any]) -> EndedRound:
    """The stored form of a published round; the bets of its vector are opaque, so its bets are left out."""
    room, epoch_key = bytes.fromhex(published["room"]), bytes.fromhex(published["epoch_key"])
    first, count = published["epoch_first"], published["epoch_count"]
    commits_root, key_commit = bytes.fromhex(published["commits_root"]), bytes.fromhex(published["key_commit"])
    return EndedRound(
        lock=keno1.Lock(
            room=room,
            number=published["round"],
            commit=bytes.fromhex(published["commit"]),
            rules=bytes.fromhex(published["rules"]),
            bets_root=bytes.fromhex(published["bets_root"]),
            bets_count=published["bets_count"],
            lock_ms=published["lock_ms"],
            beacon_round=published["beacon_round"],
            prev_lock=bytes.fromhex(published["prev_lock"]),
        ),
        lock_hash=bytes.fromhex(published["lock"]),
        profile=published["profile"],
        seed=bytes.fromhex(published["seed"]),
        beacon_sig=bytes.fromhex(published["beacon_sig"]),
        numbers=bytes(published["numbers"]),
        result=bytes.fromhex(published["result"]),
        void_reason=None,
        epoch_first=first,
        epoch_count=count,
        epoch_hash=keno1.epoch_hash(room, first, count, commits_root, key_commit, 1),
        epoch_opened_ms=1,
        epoch_key=epoch_key,
        key_commit=key_commit,
        commits=keno1.EpochKey(bytearray(epoch_key)).commits(room, first, count),
        commits_root=commits_root,
        rules_document=RULES,
    )


def lines(bundle: bytes) -> list[dict[str, Any]]:
    assert bundle.endswith(b"\n")
    return [json.loads(line) for line in bundle.splitlines()]


def only(bundle: bytes, kind: str) -> dict[str, Any]:
    (line,) = [line for line in lines(bundle) if line["type"] == kind]
    return line


@pytest.mark.parametrize("published", ROUNDS, ids=[f"profile {line['profile']}" for line in ROUNDS])
def test_the_line_of_a_round_is_the_published_vector(published: dict[str, Any]) -> None:
    line = only(public_bundle(ended_round(published), PAYTABLES, b""), "round")
    shown = {key: value for key, value in published.items() if key != "bets"}
    assert line == {"type": "round", "bet_leaves": []} | shown


def test_a_bundle_names_its_documents_and_its_epoch_before_its_round() -> None:
    bundle = lines(public_bundle(ended_round(ROUNDS[2]), PAYTABLES, LEAVES))
    assert [line["type"] for line in bundle] == ["document", "document", "document", "epoch", "round"]
    assert [line["text"].encode() for line in bundle[:3]] == [RULES, *PAYTABLES]
    assert [line["kind"] for line in bundle[:3]] == ["rules", "paytable", "paytable"]
    assert bundle[3]["room"] == ROUNDS[2]["room"]


def test_the_public_bundle_shows_the_hashes_of_bets_and_nothing_of_what_is_in_them() -> None:
    bundle = public_bundle(ended_round(ROUNDS[2]), PAYTABLES, LEAVES)
    assert only(bundle, "round")["bet_leaves"] == [digest.hex() for digest in leaves.leaf_hashes(LEAVES)]
    assert "bets" not in only(bundle, "round")
    assert OPERATOR.hex.encode() not in bundle
    for bet, leaf in zip(BETS, leaves.split(LEAVES), strict=True):
        assert bet.account.hex().encode() not in bundle
        assert leaf[:16].hex().encode() not in bundle, "the salt would let anyone try who it was"
    assert b"payouts" not in bundle


def test_the_auditors_bundle_shows_the_bets_and_the_payouts_and_differs_in_nothing_else() -> None:
    ended = ended_round(ROUNDS[2])
    payouts = [EvidencePayout(bet_id=4, hits=1, payout_minor=1504, cut_minor=0), EvidencePayout(9, 1, 3384, 16)]
    bundle = auditor_bundle(ended, PAYTABLES, LEAVES, payouts)
    *common, round_line, payouts_line = lines(bundle)
    *public_common, public_round = lines(public_bundle(ended, PAYTABLES, LEAVES))
    assert common == public_common
    assert round_line.pop("bets") == [leaf.hex() for leaf in leaves.split(LEAVES)]
    public_round.pop("bet_leaves")
    assert round_line == public_round
    assert payouts_line == {
        "type": "payouts",
        "room": ROUNDS[2]["room"],
        "round": 3,
        "payouts": [
            {"bet": f"{4:032x}", "hits": 1, "payout_minor": 1504, "cut_minor": 0},
            {"bet": f"{9:032x}", "hits": 1, "payout_minor": 3384, "cut_minor": 16},
        ],
    }


def test_a_round_without_bets_still_has_its_line_of_payouts() -> None:
    assert only(auditor_bundle(ended_round(ROUNDS[2]), PAYTABLES, b"", []), "payouts")["payouts"] == []


def test_the_epoch_key_is_absent_until_it_is_published() -> None:
    ended = ended_round(ROUNDS[2])
    kept = public_bundle(replace(ended, epoch_key=None), PAYTABLES, LEAVES)
    assert "epoch_key" not in only(kept, "round")
    assert ROUNDS[2]["epoch_key"].encode() not in kept
    assert only(public_bundle(ended, PAYTABLES, LEAVES), "round")["epoch_key"] == ROUNDS[2]["epoch_key"]


@pytest.mark.parametrize("reason", [0, 3, 255])
def test_a_void_round_shows_its_seed_and_reason_in_place_of_a_draw(reason: int) -> None:
    ended = replace(ended_round(ROUNDS[2]), numbers=None, result=None, void_reason=reason)
    bundle = auditor_bundle(ended, PAYTABLES, LEAVES, [])
    line = only(bundle, "round")
    assert line["void_reason"] == reason
    assert line["void"] == keno1.void_hash(ended.lock_hash, ended.seed, reason).hex()
    assert line["seed"] == ROUNDS[2]["seed"]
    assert not {"x", "beacon", "block0", "numbers", "result"} & line.keys()
    assert "payouts" not in {each["type"] for each in lines(bundle)}


def test_documents_are_shown_as_the_exact_text_that_was_hashed() -> None:
    odd = '{"name":"\\u0041 \\"quoted\\" \\n é 😀"}'.encode()
    bundle = public_bundle(ended_round(ROUNDS[2]), [odd], b"")
    assert lines(bundle)[1]["text"].encode() == odd
    assert bundle.count(b"\n") == len(lines(bundle)) == 4
