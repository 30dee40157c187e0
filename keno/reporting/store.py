"""SQL of the operators' figures and of the audit trail; that of the audit stands beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from keno.infra.postgres import Connection, Executor
from keno.reporting.revenue import DAY_MS, Figures, Period


async def add_rounds_to_revenue(conn: Connection, round_ids: Sequence[int]) -> None:
    """Adds the totals of settled rounds to the hours in which they ended. The caller's inbox makes it happen once."""
    await conn.execute(
        """
        INSERT INTO revenue_hourly AS sum
            (operator_id, room_id, currency, hour_ms, rounds_count, bets_count, staked_minor, paid_minor,
            expected_parts)
        SELECT t.operator_id, r.room_id, t.currency, r.ended_ms - r.ended_ms % 3600000 AS hour_ms, count(*),
            sum(t.bets_count)::bigint, sum(t.staked_minor)::bigint, sum(t.paid_minor)::bigint,
            CASE WHEN count(*) = count(t.expected_parts) THEN sum(t.expected_parts) END
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
            paid_minor = sum.paid_minor + excluded.paid_minor,
            expected_parts = sum.expected_parts + excluded.expected_parts -- null where either is
        """,
        round_ids,
    )


async def set_hours_of_revenue(conn: Connection, round_ids: Sequence[int]) -> set[int]:
    """Sets the figures of the hours in which rounds ended to all that was settled in them, where the inbox may lack
    receipts of that hour: then nobody knows whether a round was added before. Returns the rounds of such hours; for
    later hours nothing is done.
    """
    old = await conn.fetch(
        """
        SELECT r.id, r.room_id, hour.ms FROM rounds AS r
        CROSS JOIN LATERAL (SELECT r.ended_ms - r.ended_ms % 3600000) AS hour (ms)
        JOIN inbox_horizon AS h ON hour.ms < h.kept_since_ms WHERE r.id = ANY ($1)
        """,
        round_ids,
    )
    hours = {(row["room_id"], row["ms"]) for row in old}
    if hours:
        await conn.execute(
            """
            INSERT INTO revenue_hourly
                (operator_id, room_id, currency, hour_ms, rounds_count, bets_count, staked_minor, paid_minor,
                expected_parts)
            SELECT t.operator_id, r.room_id, t.currency, hour.ms, count(*), sum(t.bets_count), sum(t.staked_minor),
                sum(t.paid_minor), CASE WHEN count(*) = count(t.expected_parts) THEN sum(t.expected_parts) END
            FROM unnest($1::uuid[], $2::bigint[]) AS hour (room_id, ms)
            JOIN rounds AS r ON r.room_id = hour.room_id AND r.phase = 'settled'
                AND r.ended_ms >= hour.ms AND r.ended_ms < hour.ms + 3600000
            JOIN round_totals AS t ON t.round_id = r.id
            GROUP BY t.operator_id, r.room_id, t.currency, hour.ms
            ORDER BY t.operator_id, r.room_id, t.currency, hour.ms
            ON CONFLICT (operator_id, hour_ms, room_id, currency) DO UPDATE SET rounds_count = excluded.rounds_count,
                bets_count = excluded.bets_count, staked_minor = excluded.staked_minor,
                paid_minor = excluded.paid_minor, expected_parts = excluded.expected_parts
            """,
            [room_id for room_id, _ in hours],
            [hour_ms for _, hour_ms in hours],
        )
    return {row["id"] for row in old}


_GROUPS = {
    "day": f"hour_ms - hour_ms % {DAY_MS}",
    "hour": "hour_ms",
    "room": 'room_id::text COLLATE "C"',
    "currency": "NULL::text",
}


async def revenue(conn: Executor, operator_id: UUID, period: Period) -> list[Figures]:
    """An operator's figures of a period by group and currency, in that order: a range of the key of their hours."""
    rows = await conn.fetch(
        f"""
        SELECT {_GROUPS[period.group_by]} AS "group", currency, sum(rounds_count), sum(bets_count), sum(staked_minor),
            sum(paid_minor), CASE WHEN count(*) = count(expected_parts) THEN sum(expected_parts) END
        FROM revenue_hourly WHERE operator_id = $1 AND hour_ms >= $2 AND hour_ms < $3
        GROUP BY 1, currency ORDER BY 1, currency COLLATE "C"
        """,  # noqa: S608 - our own expressions
        operator_id,
        period.from_ms,
        period.to_ms,
    )
    return [
        Figures(group, currency, int(rounds), int(bets), int(staked), int(paid), None if parts is None else int(parts))
        for group, currency, rounds, bets, staked, paid, parts in rows
    ]


async def now_ms(conn: Executor) -> int:
    """The database's time."""
    return int(await conn.fetchval("SELECT now_ms()"))


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
