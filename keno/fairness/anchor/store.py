"""SQL of anchors: what is being anchored, the transactions signed for it, and what became of it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import asyncpg

from keno.fairness.anchor.fees import Fees
from keno.fairness.log.store import StoredCheckpoint
from keno.infra.postgres import Connection, Executor


class Verdict(IntEnum):
    """What became of an anchor. The numbers are stored."""

    CONFIRMED = 1
    REVERTED = 2
    GIVEN_UP = 3
    LOST = 4


class Where(NamedTuple):
    """A contract (its address of 20 bytes) on a chain."""

    chain_id: int
    contract: bytes


@dataclass(frozen=True, slots=True)
class OpenAnchor:
    """A checkpoint that is being anchored."""

    id: int
    size: int
    root: bytes
    age_ms: int


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction that was signed, and may have been sent."""

    hash: bytes
    nonce: int
    fees: Fees
    raw: bytes
    age_ms: int


@dataclass(frozen=True, slots=True)
class Mined:
    """Where a transaction was mined."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    gas_used: int


@dataclass(frozen=True, slots=True)
class ConfirmedAnchor:
    """A root that is on a chain, deep enough."""

    where: Where
    size: int
    root: bytes
    transaction_hash: bytes
    block_number: int
    block_hash: bytes


async def hold(conn: Connection) -> bool:
    """Makes this connection the only one that anchors until it is given back; False where another is at it."""
    held: bool = await conn.fetchval("SELECT pg_try_advisory_lock(-7330)")
    return held


async def open_anchor(conn: Executor, where: Where) -> OpenAnchor | None:
    """The anchor without a verdict, of which a contract has one at most."""
    row = await conn.fetchrow(
        """
        SELECT a.id, a.size, c.root, now_ms() - a.begun_ms
        FROM anchors AS a JOIN log_checkpoints AS c ON c.size = a.size
        WHERE a.chain_id = $1 AND a.contract = $2
            AND NOT EXISTS (SELECT FROM anchor_verdicts AS v WHERE v.anchor_id = a.id)
        ORDER BY a.id DESC LIMIT 1
        """,
        *where,
    )
    return OpenAnchor(*row.values()) if row else None


async def since_last_ms(conn: Executor, where: Where) -> int | None:
    """How long ago the last anchor was begun; None before the first, and where the last one was lost."""
    age_ms: int | None = await conn.fetchval(
        """
        SELECT CASE WHEN verdict.verdict IS DISTINCT FROM 4 THEN now_ms() - a.begun_ms END
        FROM anchors AS a
        LEFT JOIN LATERAL (
            SELECT v.verdict FROM anchor_verdicts AS v WHERE v.anchor_id = a.id ORDER BY v.id DESC LIMIT 1
        ) AS verdict ON true
        WHERE a.chain_id = $1 AND a.contract = $2 ORDER BY a.id DESC LIMIT 1
        """,
        *where,
    )
    return age_ms


async def begin(conn: Executor, where: Where, checkpoint: StoredCheckpoint) -> OpenAnchor:
    """Chooses a checkpoint to be anchored."""
    anchor_id: int = await conn.fetchval(
        "INSERT INTO anchors (chain_id, contract, size) VALUES ($1, $2, $3) RETURNING id", *where, checkpoint.size
    )
    return OpenAnchor(anchor_id, checkpoint.size, checkpoint.root, 0)


async def transactions(conn: Executor, where: Where, size: int) -> list[StoredTransaction]:
    """What was signed to anchor this size, the newest first.

    Also for earlier anchors of the size: what was signed for one that was lost may be mined after all.
    """
    rows = await conn.fetch(
        """
        SELECT t.hash, t.nonce, t.max_fee_wei, t.tip_wei, t.raw, now_ms() - t.signed_ms AS age_ms
        FROM anchors AS a JOIN anchor_transactions AS t ON t.anchor_id = a.id
        WHERE a.chain_id = $1 AND a.contract = $2 AND a.size = $3 ORDER BY t.id DESC
        """,
        *where,
        size,
    )
    return [
        StoredTransaction(
            row["hash"], row["nonce"], Fees(row["max_fee_wei"], row["tip_wei"]), row["raw"], row["age_ms"]
        )
        for row in rows
    ]


async def keep_transaction(conn: Executor, anchor_id: int, made: StoredTransaction) -> None:
    """Stores a transaction, before it is sent. The same one again is the same one."""
    await conn.execute(
        """
        INSERT INTO anchor_transactions (hash, anchor_id, nonce, max_fee_wei, tip_wei, raw)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
        """,
        made.hash,
        anchor_id,
        made.nonce,
        made.fees.max_fee_wei,
        made.fees.tip_wei,
        made.raw,
    )


async def settle(conn: Executor, anchor_id: int, verdict: Verdict, mined: Mined | None = None) -> None:
    """Says what became of an anchor, and of one that was mined, where."""
    where = (
        (None,) * 4 if mined is None else (mined.transaction_hash, mined.block_number, mined.block_hash, mined.gas_used)
    )
    await conn.execute(
        """
        INSERT INTO anchor_verdicts (anchor_id, verdict, transaction_hash, block_number, block_hash, gas_used)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        anchor_id,
        int(verdict),
        *where,
    )


async def lose(conn: Executor, where: Where, size: int) -> int:
    """Says of the confirmed anchors of more than `size` entries that they are lost; returns how many there were."""
    done: str = await conn.execute(
        """
        INSERT INTO anchor_verdicts (anchor_id, verdict)
        SELECT c.id, 4 FROM confirmed_anchors AS c
        WHERE c.chain_id = $1 AND c.contract = $2 AND c.size > $3 ORDER BY c.id
        """,
        *where,
        size,
    )
    return int(done.rsplit(maxsplit=1)[-1])


async def gone(conn: Executor, where: Where, size: int) -> tuple[int, int] | None:
    """(id, size) of the largest anchor up to `size` that was lost, reverted or given up, and that no confirmed one
    covers: the contract may have it after all. One whose size is being anchored again is left to that.
    """
    row = await conn.fetchrow(
        """
        WITH judged AS (
            SELECT a.id, a.size, (
                SELECT v.verdict FROM anchor_verdicts AS v WHERE v.anchor_id = a.id ORDER BY v.id DESC LIMIT 1
            ) AS verdict
            FROM anchors AS a WHERE a.chain_id = $1 AND a.contract = $2 AND a.size <= $3
        )
        SELECT j.id, j.size FROM judged AS j
        WHERE j.verdict > 1
            AND NOT EXISTS (SELECT FROM judged AS k WHERE k.size >= j.size AND k.verdict = 1)
            AND NOT EXISTS (SELECT FROM judged AS k WHERE k.size = j.size AND k.verdict IS NULL)
        ORDER BY j.size DESC, j.id DESC LIMIT 1
        """,
        *where,
        size,
    )
    return None if row is None else (row["id"], row["size"])


_CONFIRMED = "SELECT c.chain_id, c.contract, c.size, c.root, c.transaction_hash, c.block_number, c.block_hash"


async def newest(conn: Executor, where: Where | None = None) -> ConfirmedAnchor | None:
    """The confirmed anchor that was begun last, of one contract or of any."""
    row = await conn.fetchrow(
        f"""
        {_CONFIRMED} FROM confirmed_anchors AS c
        WHERE $1::bigint IS NULL OR (c.chain_id = $1 AND c.contract = $2) ORDER BY c.id DESC LIMIT 1
        """,
        *(where or (None, None)),
    )
    return _confirmed(row)


async def covering(conn: Executor, size: int) -> ConfirmedAnchor | None:
    """The first anchor over `size` entries or more, in the contract of the newest one; None where there is none."""
    row = await conn.fetchrow(
        f"""
        {_CONFIRMED} FROM confirmed_anchors AS c
        JOIN (SELECT l.chain_id, l.contract FROM confirmed_anchors AS l ORDER BY l.id DESC LIMIT 1) AS newest
            ON newest.chain_id = c.chain_id AND newest.contract = c.contract
        WHERE c.size >= $1 ORDER BY c.size, c.id LIMIT 1
        """,  # noqa: S608 - a constant
        size,
    )
    return _confirmed(row)


def _confirmed(row: asyncpg.Record | None) -> ConfirmedAnchor | None:
    if row is None:
        return None
    chain_id, contract, *rest = row.values()
    return ConfirmedAnchor(Where(chain_id, contract), *rest)
