"""SQL of locks and of what an evidence bundle is made of; that of the vault is in `vault_store`."""

from typing import NamedTuple
from uuid import UUID

import asyncpg

from keno.fairness.beacon import Chain
from keno.fairness.evidence import EndedRound, EvidenceBet, EvidencePayout, PublishedEpoch
from keno.fairness.keno1 import Lock
from keno.infra.postgres import Executor

# What a Lock is made of, for every statement that reads one with lock_from().
LOCK_COLUMNS = """r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms,
    r.beacon_round, r.prev_lock, r.lock_hash"""


def lock_from(row: asyncpg.Record) -> Lock:
    """The lock of a sealed round from a row with LOCK_COLUMNS."""
    return Lock(
        room=row["room_id"].bytes,
        number=row["number"],
        commit=row["commit_hash"],
        rules=row["rules_hash"],
        bets_root=row["bets_root"],
        bets_count=row["bets_count"],
        lock_ms=row["locked_ms"],
        beacon_round=row["beacon_round"],
        prev_lock=row["prev_lock"],
    )


async def is_archived(conn: Executor, round_id: int) -> bool:
    """Whether the round's bets and payouts have left the database."""
    found = "SELECT EXISTS (SELECT FROM archived_partitions AS a WHERE a.detached_ms > 0 AND a.rounds @> $1::bigint)"
    return bool(await conn.fetchval(found, round_id))


async def ended_round(conn: Executor, round_id: int) -> EndedRound | None:
    """The round with everything published about it; None while it has not ended, and for a skipped slot."""
    row = await conn.fetchrow(
        f"""
        SELECT {LOCK_COLUMNS}, coalesce(beacon.profile, 'S') AS profile, r.seed, r.beacon_sig, r.numbers, r.result,
            r.void_reason, e.first_round, e.rounds_count, e.hash AS epoch_hash, e.opened_ms AS epoch_opened_ms,
            e.epoch_key, e.key_commit, e.commits, e.commits_root, rules.document
        FROM rounds AS r
        JOIN epochs AS e ON e.id = r.epoch_id
        LEFT JOIN rules_beacons AS beacon ON beacon.rules_hash = r.rules_hash
        JOIN rules ON rules.hash = r.rules_hash
        WHERE r.id = $1 AND r.phase IN ('settled', 'void')
        """,  # noqa: S608 - a constant
        round_id,
    )
    if row is None:
        return None
    return EndedRound(
        lock=lock_from(row),
        lock_hash=row["lock_hash"],
        profile=row["profile"],
        seed=row["seed"],
        beacon_sig=row["beacon_sig"] or b"",
        numbers=row["numbers"],
        result=row["result"],
        void_reason=row["void_reason"],
        epoch_first=row["first_round"],
        epoch_count=row["rounds_count"],
        epoch_hash=row["epoch_hash"],
        epoch_opened_ms=row["epoch_opened_ms"],
        epoch_key=row["epoch_key"],
        key_commit=row["key_commit"],
        commits=row["commits"],
        commits_root=row["commits_root"],
        rules_document=row["document"],
        beacon_chain=await _beacon_chain(conn, row["rules_hash"]),
    )


async def epoch_of_round(conn: Executor, round_id: int) -> PublishedEpoch | None:
    """The epoch in which a round lies, whatever its phase; None where there is no such round."""
    row = await conn.fetchrow(
        """
        SELECT e.room_id, e.first_round, e.opened_ms, e.key_commit, e.commits, e.commits_root, e.hash, e.epoch_key
        FROM rounds AS r JOIN epochs AS e ON e.id = r.epoch_id WHERE r.id = $1
        """,
        round_id,
    )
    if row is None:
        return None
    room, *published = row.values()
    return PublishedEpoch(room.bytes, *published)


async def _beacon_chain(conn: Executor, rules_hash: bytes) -> Chain | None:
    row = await conn.fetchrow(
        """
        SELECT c.public_key, c.period_s, c.genesis_s, c.group_hash, c.beacon_id FROM rules_beacons AS b
        JOIN beacon_chains AS c ON c.hash = b.chain_hash WHERE b.rules_hash = $1
        """,
        rules_hash,
    )
    return None if row is None else Chain(*row.values())


async def paytable_documents(conn: Executor, rules_hash: bytes) -> list[bytes]:
    """The documents of the paytables that a rules document offers, in its order."""
    rows = await conn.fetch(
        """
        SELECT p.document FROM rules_paytables AS offered JOIN paytables AS p ON p.hash = offered.paytable_hash
        WHERE offered.rules_hash = $1 ORDER BY offered.position
        """,
        rules_hash,
    )
    return [row["document"] for row in rows]


async def round_bets(conn: Executor, round_id: int) -> list[EvidenceBet]:
    """The bets of a round in ascending id, which is their order in the tree."""
    rows = await conn.fetch(
        """
        SELECT b.id, b.operator_id, player.account_hash, b.picks, b.stake_minor, t.currency, t.paytable_hash
        FROM bets AS b
        JOIN rounds AS r ON r.id = b.round_id
        JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        JOIN accounts AS account ON account.id = b.account_id
        JOIN players AS player ON player.id = account.player_id
        WHERE b.round_id = $1 ORDER BY b.id
        """,
        round_id,
    )
    return [EvidenceBet(*row.values()) for row in rows]


async def round_payouts(conn: Executor, round_id: int) -> list[EvidencePayout]:
    """The payouts of a round in ascending bet id."""
    rows = await conn.fetch(
        "SELECT bet_id, hits, payout_minor, cut_minor FROM payouts WHERE round_id = $1 ORDER BY bet_id", round_id
    )
    return [EvidencePayout(*row.values()) for row in rows]


class SeenLock(NamedTuple):
    """A lock that an operator has countersigned with this key (32 bytes), in which it says when it saw it."""

    lock: bytes
    public_key: bytes
    seen_ms: int
    signature: bytes


class LockedRound(NamedTuple):
    """A round with its lock, when it was locked, and what time it is."""

    lock: bytes
    locked_ms: int
    now_ms: int


async def locked_round(conn: Executor, round_id: int) -> LockedRound | None:
    """A round's lock; None where it has none yet."""
    row = await conn.fetchrow(
        "SELECT lock_hash, locked_ms, now_ms() FROM rounds WHERE id = $1 AND lock_hash IS NOT NULL", round_id
    )
    return None if row is None else LockedRound(*row.values())


async def add_seen_lock(conn: Executor, round_id: int, operator_id: UUID, seen: SeenLock) -> bool:
    """Stores what an operator countersigned; False where it has countersigned for this round before."""
    status = await conn.execute(
        "INSERT INTO seen_locks (round_id, operator_id, lock_hash, public_key, seen_ms, signature) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        round_id,
        operator_id,
        *seen,
    )
    return status == "INSERT 0 1"


async def seen_lock(conn: Executor, round_id: int, operator_id: UUID) -> SeenLock | None:
    """What an operator countersigned for a round."""
    row = await conn.fetchrow(
        "SELECT lock_hash, public_key, seen_ms, signature FROM seen_locks WHERE round_id = $1 AND operator_id = $2",
        round_id,
        operator_id,
    )
    return None if row is None else SeenLock(*row.values())


async def seen_locks(conn: Executor, round_id: int) -> list[SeenLock]:
    """What was countersigned for a round, once by each key: another operator may repeat what one has signed."""
    rows = await conn.fetch(
        "SELECT DISTINCT ON (public_key) lock_hash, public_key, seen_ms, signature FROM seen_locks "
        "WHERE round_id = $1 ORDER BY public_key, created_ms, operator_id",
        round_id,
    )
    return [SeenLock(*row.values()) for row in rows]
