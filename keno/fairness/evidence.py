"""The evidence bundle of a round as JSON Lines (docs/evidence.md).

Pure: rows in, bytes out. It states what was stored and published; that it is right is for `keno.verifier` and its
independent peers to find, so nothing is checked here.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from keno.fairness import keno1, leaves
from keno.fairness.beacon import Chain

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class EvidenceBet:
    """A bet as its leaf shows it. `picks` are 10 bytes, `account` is the player's hash."""

    bet_id: int
    operator_id: UUID
    account: bytes
    picks: bytes
    stake_minor: int
    currency: str
    paytable: bytes


@dataclass(frozen=True, slots=True)
class EvidencePayout:
    """What a winning bet was paid, and what maximum wins cut off."""

    bet_id: int
    hits: int
    payout_minor: int
    cut_minor: int


@dataclass(frozen=True, slots=True)
class EndedRound:
    """A settled or void round with its epoch. `numbers` and `result` are null where it is void."""

    lock: keno1.Lock
    lock_hash: bytes
    profile: keno1.Profile
    seed: bytes
    beacon_sig: bytes
    numbers: bytes | None
    result: bytes | None
    void_reason: int | None
    epoch_first: int
    epoch_count: int
    epoch_hash: bytes
    epoch_opened_ms: int
    epoch_key: bytes | None
    key_commit: bytes
    commits: bytes
    commits_root: bytes
    rules_document: bytes
    beacon_chain: Chain | None = None


@dataclass(frozen=True)
class PublishedEpoch:
    """What was published of an epoch before its first bet, and its key once its rounds have ended.

    `commits` are the 32 bytes of each round, one after the other from round `first` on.
    """

    room: bytes
    first: int
    opened_ms: int
    key_commit: bytes
    commits: bytes
    commits_root: bytes
    hash: bytes
    key: bytes | None


def bet_leaves(privacy_key: bytes, bets: Iterable[EvidenceBet]) -> bytes:
    """The leaves of a round's bets, 138 bytes each, in the order given."""
    return leaves.salted(
        privacy_key,
        b"".join(
            leaves.unsalted_leaf(
                bet.bet_id, bet.operator_id.bytes, bet.account, bet.picks, bet.stake_minor, bet.currency, bet.paytable
            )
            for bet in bets
        ),
    )


def public_bundle(ended: EndedRound, paytables: Sequence[bytes], bets: bytes) -> bytes:
    """The bundle for everybody: of the bets (`bets`: their leaves) it shows only the hashes."""
    return _lines(*_common(ended, paytables), _round(ended, bet_leaves=_hexes(leaves.leaf_hashes(bets))))


def auditor_bundle(
    ended: EndedRound, paytables: Sequence[bytes], bets: bytes, payouts: Sequence[EvidencePayout]
) -> bytes:
    """The bundle for operators and auditors, with the data of the bets and what was paid on them."""
    lines = [*_common(ended, paytables), _round(ended, bets=_hexes(leaves.split(bets)))]
    if ended.numbers is not None:
        lines.append(_payouts(ended, payouts))
    return _lines(*lines)


def seen_lines(room: bytes, number: int, seen: Iterable[tuple[bytes, int, bytes]]) -> bytes:
    """The lines that show who has seen the lock: (public key, time in milliseconds, signature) of operators.

    A key names its operator to who knows it, and nobody else: operators are not named in public bundles.
    """
    head = {"type": "seen", "room": room.hex(), "round": number}
    return _lines(
        *(
            head | {"public_key": key.hex(), "seen_ms": seen_ms, "signature": signature.hex()}
            for key, seen_ms, signature in seen
        )
    )


def log_line(room: bytes, number: int, checkpoint: str, entries: Iterable[tuple[int, bytes, Sequence[bytes]]]) -> bytes:
    """The line that shows a round to be in the public log: (index, entry, path) of its entries under one checkpoint."""
    shown = [{"index": index, "entry": data.hex(), "path": _hexes(path)} for index, data, path in entries]
    return _lines({"type": "log", "room": room.hex(), "round": number, "checkpoint": checkpoint, "entries": shown})


def anchor_line(
    room: bytes,
    number: int,
    where: tuple[int, bytes],
    mined: tuple[bytes, int],
    size: int,
    root: bytes,
    paths: Iterable[Sequence[bytes]],
) -> bytes:
    """The line that shows a logged round under a root that is on a chain.

    `where` is the chain's id and the contract, `mined` the transaction and its block, `paths` those of the log line's
    entries to `root`.
    """
    shown = {"type": "anchor", "room": room.hex(), "round": number, "chain_id": where[0], "contract": where[1].hex()}
    found = {"transaction": mined[0].hex(), "block": mined[1], "size": size, "root": root.hex()}
    return _lines(shown | found | {"paths": [_hexes(path) for path in paths]})


def _common(ended: EndedRound, paytables: Sequence[bytes]) -> list[dict[str, Any]]:
    return [
        _document("rules", ended.rules_document),
        *(_document("paytable", document) for document in paytables),
        {
            "type": "epoch",
            "room": ended.lock.room.hex(),
            "first": ended.epoch_first,
            "count": ended.epoch_count,
            "commits_root": ended.commits_root.hex(),
            "key_commit": ended.key_commit.hex(),
            "opened_ms": ended.epoch_opened_ms,
            "epoch": ended.epoch_hash.hex(),
        },
        *([] if ended.beacon_chain is None else [_chain(ended.beacon_chain)]),
    ]


def _chain(chain: Chain) -> dict[str, Any]:
    return {
        "type": "chain",
        "hash": chain.hash.hex(),
        "public_key": chain.public_key.hex(),
        "period": chain.period_s,
        "genesis_time": chain.genesis_s,
        "group_hash": chain.group_hash.hex(),
        "beacon_id": chain.beacon_id,
    }


def _document(kind: str, document: bytes) -> dict[str, Any]:
    return {"type": "document", "kind": kind, "hash": hashlib.sha256(document).hexdigest(), "text": document.decode()}


def _round(ended: EndedRound, **bets: list[str]) -> dict[str, Any]:
    lock = ended.lock
    rules = msgspec.json.decode(ended.rules_document)
    line: dict[str, Any] = {
        "type": "round",
        "profile": ended.profile,
        "room": lock.room.hex(),
        "round": lock.number,
        "epoch_first": ended.epoch_first,
        "epoch_count": ended.epoch_count,
    }
    if ended.epoch_key is not None:
        line["epoch_key"] = ended.epoch_key.hex()
    line |= {
        "key_commit": ended.key_commit.hex(),
        "commits_root": ended.commits_root.hex(),
        "commit": lock.commit.hex(),
        "commit_path": _hexes(keno1.commit_path(lock.room, ended.epoch_first, ended.commits, lock.number)),
        "rules": lock.rules.hex(),
        **bets,
        "bets_root": lock.bets_root.hex(),
        "bets_count": lock.bets_count,
        "lock_ms": lock.lock_ms,
        "guard_ms": rules["guard_ms"],
        "beacon_round": lock.beacon_round,
        "beacon_sig": ended.beacon_sig.hex(),
        "prev_lock": lock.prev_lock.hex(),
        "lock": ended.lock_hash.hex(),
        "seed": ended.seed.hex(),
    }
    return line | _outcome(ended)


def _outcome(ended: EndedRound) -> dict[str, Any]:
    if ended.numbers is None or ended.result is None:
        reason = ended.void_reason or 0
        return {"void": keno1.void_hash(ended.lock_hash, ended.seed, reason).hex(), "void_reason": reason}
    draw = keno1.draw(ended.profile, ended.lock, ended.seed, ended.beacon_sig)
    return {
        "x": draw.x.hex(),
        "beacon": draw.beacon.hex(),
        "block0": draw.block0.hex(),
        "numbers": list(ended.numbers),
        "result": ended.result.hex(),
    }


def _payouts(ended: EndedRound, payouts: Sequence[EvidencePayout]) -> dict[str, Any]:
    return {
        "type": "payouts",
        "room": ended.lock.room.hex(),
        "round": ended.lock.number,
        "payouts": [
            {
                "bet": payout.bet_id.to_bytes(16, "big").hex(),
                "hits": payout.hits,
                "payout_minor": payout.payout_minor,
                "cut_minor": payout.cut_minor,
            }
            for payout in payouts
        ],
    }


def _hexes(values: Iterable[bytes]) -> list[str]:
    return [value.hex() for value in values]


def _lines(*lines: dict[str, Any]) -> bytes:
    return b"".join(_encode(line) + b"\n" for line in lines)
