"""The settlement of a round and its credit, written as well as PostgreSQL alone can do it: one statement over all bets.

A bet's hits are the bits that its mask has in common with the draw's. The paytables stand in a temporary table.
"""

from collections.abc import Sequence

import asyncpg

from keno.game.paytable import Paytable

_SETTLE = """
    WITH bet AS (
        SELECT b.id, b.account_id, b.operator_id, b.terms, b.stake_minor, bit_count(b.picks)::smallint AS picks_count,
            bit_count(('x' || encode(b.picks, 'hex'))::bit(80) & ('x' || encode($2::bytea, 'hex'))::bit(80))::smallint
                AS hits
        FROM bets AS b WHERE b.round_id = $1
    ), due AS MATERIALIZED (
        SELECT bet.id, bet.account_id, bet.operator_id, bet.terms, bet.stake_minor, bet.hits,
            least(bet.stake_minor * m.multiplier / m.scale, m.win_max_minor) AS payout_minor,
            greatest(bet.stake_minor * m.multiplier / m.scale - m.win_max_minor, 0) AS cut_minor
        FROM bet JOIN multipliers AS m USING (terms, picks_count, hits)
    ), paid AS (
        INSERT INTO payouts (bet_id, round_id, account_id, hits, payout_minor, cut_minor)
        SELECT id, $1, account_id, hits, payout_minor, cut_minor FROM due WHERE payout_minor > 0
    ), added AS (
        INSERT INTO round_totals (round_id, operator_id, currency, bets_count, staked_minor, paid_minor, cut_minor)
        SELECT $1, d.operator_id, t.currency, count(*), sum(d.stake_minor), sum(d.payout_minor), sum(d.cut_minor)
        FROM due AS d
        JOIN rounds AS r ON r.id = $1 JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = d.terms
        GROUP BY d.operator_id, t.currency
    ), credited AS (
        UPDATE accounts AS a SET balance_minor = a.balance_minor + credit.minor
        FROM (
            SELECT account_id, sum(payout_minor)::bigint AS minor FROM due WHERE payout_minor > 0 GROUP BY account_id
        ) AS credit
        WHERE a.id = credit.account_id
    ), noted AS (
        INSERT INTO round_credits (round_id, credits_count) SELECT $1, count(*) FROM due WHERE payout_minor > 0
    )
    UPDATE rounds SET phase = 'settled', ended_ms = now_ms() WHERE id = $1
"""


async def prepare(conn: asyncpg.Connection, paytables: Sequence[Paytable], win_max_minor: int) -> None:
    """Gives the connection memory for its sorts and hashes, and the multipliers, paytable by paytable as terms."""
    await conn.execute("SET work_mem = '256MB'")
    await conn.execute(
        "CREATE TEMP TABLE multipliers (terms smallint, picks_count smallint, hits smallint, multiplier bigint,"
        " scale bigint, win_max_minor bigint)"
    )
    rows = [
        (terms, picks, hits, multiplier, paytable.scale, win_max_minor)
        for terms, paytable in enumerate(paytables)
        for picks, row in enumerate(paytable.multipliers)
        for hits, multiplier in enumerate(row)
    ]
    await conn.copy_records_to_table("multipliers", records=rows)
    await conn.execute("ANALYZE multipliers")


async def settle(conn: asyncpg.Connection, round_id: int, drawn_mask: bytes) -> None:
    """Settles the round and credits it."""
    await conn.execute(_SETTLE, round_id, drawn_mask)
