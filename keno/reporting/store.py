"""SQL of the operators' figures and of the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from keno.infra.postgres import Connection, Executor

_INVARIANT_MAX_S = 3_600


async def add_rounds_to_revenue(conn: Connection, round_ids: Sequence[int]) -> None:
    """Adds the totals of settled rounds to the hours in which they ended. The caller's inbox makes it happen once."""
    await conn.execute(
        """
        INSERT INTO revenue_hourly AS sum
            (operator_id, room_id, currency, hour_ms, rounds_count, bets_count, staked_minor, paid_minor)
        SELECT t.operator_id, r.room_id, t.currency, r.ended_ms - r.ended_ms % 3600000 AS hour_ms, count(*),
            sum(t.bets_count)::bigint, sum(t.staked_minor)::bigint, sum(t.paid_minor)::bigint
        FROM unnest($1::bigint[]) AS ended (round_id)
        JOIN round_totals AS t USING (round_id)
        JOIN rounds AS r ON r.id = t.round_id
        GROUP BY t.operator_id, r.room_id, t.currency, hour_ms
        -- In one order, so that two who count rounds of the same hour wait for each other and not both.
        ORDER BY t.operator_id, r.room_id, t.currency, hour_ms
        ON CONFLICT (operator_id, hour_ms, room_id, currency) DO UPDATE SET
            rounds_count = sum.rounds_count + excluded.rounds_count,
            bets_count = sum.bets_count + excluded.bets_count,
            staked_minor = sum.staked_minor + excluded.staked_minor,
            paid_minor = sum.paid_minor + excluded.paid_minor
        """,
        round_ids,
    )


async def log_action(conn: Executor, actor: str, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Appends to the audit trail, whose rows are chained by hash in the database."""
    await conn.execute(
        "INSERT INTO audit_logs (actor, action, subject, detail) VALUES ($1, $2, $3, $4)",
        actor,
        action,
        subject,
        _json(detail),
    )


async def log_admin_action(
    conn: Connection, actor: str, action: str, subject: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    """Records what a person changed, with the state before and after, here and in the audit trail."""
    async with conn.transaction():
        await conn.execute(
            "INSERT INTO admin_actions (actor, action, subject, before, after) VALUES ($1, $2, $3, $4, $5)",
            actor,
            action,
            subject,
            _json(before),
            _json(after),
        )
        await log_action(conn, actor, action, subject, {"before": before, "after": after})


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


async def rows_breaking(conn: Connection, invariant_sql: str, limit: int) -> list[str]:
    """The first rows that an invariant's query returns, as text."""
    async with conn.transaction():
        # Each reads whole tables, for as long as that takes. The planner, who expects little of what should not be
        # there, would read one table again for each row of another.
        await conn.execute(f"SET LOCAL enable_nestloop = off; SET LOCAL statement_timeout = '{_INVARIANT_MAX_S}s'")
        rows = await conn.fetch(
            f"SELECT * FROM ({invariant_sql}) AS broken LIMIT {limit:d}",  # noqa: S608 - our own queries
            timeout=_INVARIANT_MAX_S,
        )
    return [", ".join(f"{name}={value}" for name, value in row.items()) for row in rows]


async def ended_round_ids(conn: Executor) -> list[int]:
    """The rounds that have evidence, by room and number."""
    rows = await conn.fetch("SELECT id FROM rounds WHERE phase IN ('settled', 'void') ORDER BY room_id, number")
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What has been bet on a round so far and, once it is settled, paid; over all operators, in one currency."""

    bets_count: int
    staked_minor: int
    paid_minor: int
    uncredited_count: int


async def round_figures(conn: Executor, round_ids: Sequence[int], currency: str) -> dict[int, RoundFigures]:
    """The figures of rounds by their ids."""
    rows = await conn.fetch(
        """
        SELECT r.id, count(b.id), coalesce(sum(b.stake_minor), 0)::bigint, coalesce(sum(p.payout_minor), 0)::bigint,
            count(p.bet_id) FILTER (WHERE c.round_id IS NULL)
        FROM unnest($1::bigint[]) AS r (id)
        LEFT JOIN (bets AS b JOIN accounts AS a ON a.id = b.account_id AND a.currency = $2) ON b.round_id = r.id
        LEFT JOIN rounds AS ended ON ended.id = r.id AND ended.phase = 'settled'
        LEFT JOIN payouts AS p ON p.bet_id = b.id AND p.round_id = ended.id
        LEFT JOIN round_credits AS c ON c.round_id = r.id
        GROUP BY r.id
        """,
        list(round_ids),
        currency,
    )
    return {row[0]: RoundFigures(*row[1:]) for row in rows}
