"""SQL of the wallet. Money moves only through the ledger: each function here that moves it enters it there in the
same statement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from keno.infra.postgres import Connection, Executor
from keno.wallet.request import MovementKind
from keno.wallet.statement import Entry, Page, Place

STATEMENT_HOURS_MAX = 31 * 24
"""How far back one page of a statement looks for bets."""

Refusal = Literal[
    "conflict",
    "currency_not_offered",
    "player_not_found",
    "insufficient_funds",
    "balance_limit",
    "already_rolled_back",
    "bet_stands",
    "rollback_stands",
]
OpenOutcome = Literal["opened", "currency_not_offered", "player_blocked"]
MoneyOutcome = Literal["accepted", "duplicate"] | Refusal


@dataclass(frozen=True, slots=True)
class Movement:
    """What became of a deposit or withdrawal. All but the outcome is None where it was refused, and in a conflict of
    no meaning.
    """

    outcome: MoneyOutcome
    wallet_transaction_id: int | None
    created_ms: int | None
    balance_minor: int | None


@dataclass(frozen=True, slots=True)
class Undone:
    """The movement that a rollback undid, as the rollback's own entry. `change_minor` is what the balance got."""

    wallet_transaction_id: int
    player: str
    currency: str
    change_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """What became of a rollback; nothing is undone where it left a tombstone, or was refused."""

    outcome: MoneyOutcome
    created_ms: int | None = None
    undone: Undone | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of the opening of an account; the player's id where it was opened or there."""

    outcome: OpenOutcome
    player_id: int | None


@dataclass(frozen=True, slots=True)
class Balance:
    """A player's account."""

    currency: str
    balance_minor: int


async def open_account(conn: Executor, operator_id: UUID, player: str, account_hash: bytes, currency: str) -> Opened:
    """Makes the player and its account in a currency where there is none."""
    row = await conn.fetchrow("SELECT * FROM open_account($1, $2, $3, $4)", operator_id, player, account_hash, currency)
    assert row is not None, "open_account() returns one row"  # noqa: S101
    return Opened(*row.values())


async def move_money(
    conn: Executor,
    kind: MovementKind,
    operator_id: UUID,
    player: str,
    account_hash: bytes,
    currency: str,
    amount_minor: int,
    transaction_id: str,
    fingerprint: bytes,
) -> Movement:
    """Moves money between the operator's cash and a player; a deposit makes the player where there is none."""
    row = await conn.fetchrow(
        "SELECT * FROM move_money($1, $2, $3, $4, $5, $6, $7, $8)",
        kind,
        operator_id,
        player,
        account_hash,
        currency,
        amount_minor,
        transaction_id,
        fingerprint,
    )
    assert row is not None, "move_money() returns one row"  # noqa: S101
    return Movement(*row.values())


async def roll_back(
    conn: Executor, operator_id: UUID, target_id: str, transaction_id: str, fingerprint: bytes
) -> Rollback:
    """Undoes the movement `target_id`, or leaves a tombstone where nothing has come under that id."""
    outcome: MoneyOutcome = await conn.fetchval(
        "SELECT roll_back($1, $2, $3, $4)", operator_id, target_id, transaction_id, fingerprint
    )
    if outcome not in ("accepted", "duplicate"):
        return Rollback(outcome)
    row = await conn.fetchrow(
        """
        SELECT r.created_ms, w.id, player.reference, held.currency,
            CASE WHEN w.credit_account_id = held.id THEN w.amount_minor ELSE -w.amount_minor END, held.balance_minor
        FROM rollbacks AS r
        LEFT JOIN wallet_transactions AS w ON w.id = r.wallet_transaction_id
        LEFT JOIN accounts AS held ON held.id IN (w.debit_account_id, w.credit_account_id) AND held.kind = 'player'
        LEFT JOIN players AS player ON player.id = held.player_id
        WHERE r.operator_id = $1 AND r.transaction_id = $2
        """,
        operator_id,
        transaction_id,
    )
    assert row is not None, "the rollback has been stored"  # noqa: S101
    created_ms, *undone = row.values()
    return Rollback(outcome, created_ms, None if row["id"] is None else Undone(*undone))


async def balances(conn: Executor, operator_id: UUID, player: str) -> list[Balance] | None:
    """A player's accounts by currency; None where the operator has no such player."""
    rows = await conn.fetch(
        """
        SELECT a.currency, a.balance_minor FROM players AS p LEFT JOIN accounts AS a ON a.player_id = p.id
        WHERE p.operator_id = $1 AND p.reference = $2 ORDER BY a.currency
        """,
        operator_id,
        player,
    )
    return [Balance(*row.values()) for row in rows if row["currency"] is not None] if rows else None


async def statement(
    conn: Executor, operator_id: UUID, player: str, currency: str | None, before: Place | None, limit: int
) -> Page | None:
    """A page of a player's statement, in one currency or all; None where the operator has no such player."""
    rows = await conn.fetch(
        """
        SELECT a.id, p.created_ms, now_ms() FROM players AS p
        LEFT JOIN accounts AS a ON a.player_id = p.id AND ($3::text IS NULL OR a.currency = $3)
        WHERE p.operator_id = $1 AND p.reference = $2
        """,
        operator_id,
        player,
        currency,
    )
    if not rows:
        return None
    account_ids = [row[0] for row in rows if row[0] is not None]
    oldest_ms, now_ms = rows[0][1:]
    end = min(before or Place.above(now_ms), Place.above(now_ms))
    start_ms: int = await conn.fetchval(
        "SELECT statement_start($1, $2, $3, $4, $5)", account_ids, oldest_ms, end.at_ms, limit, STATEMENT_HOURS_MAX
    )
    found = await _entries(conn, account_ids, start_ms, end, limit + 1)
    entries = [entry for _, entry in found[:limit]]
    if len(found) > limit:
        return Page(entries, found[limit - 1][0])
    return Page(entries, Place.below(start_ms) if start_ms > oldest_ms else None)


async def _entries(
    conn: Executor, account_ids: list[int], start_ms: int, end: Place, limit: int
) -> list[tuple[Place, Entry]]:
    """The newest entries below `end` and not before `start_ms`."""
    movements_below = end.entry_id if end.movement else 0
    rows = await conn.fetch(
        """
        WITH stakes AS (
            SELECT b.id, b.round_id, b.account_id, b.accepted_ms, b.stake_minor, b.transaction_id
            FROM generate_series($2::bigint / 3600000, $3::bigint / 3600000) AS hours (hour)
            JOIN bets AS b ON b.accepted_ms / 3600000 = hours.hour AND b.account_id = ANY ($1::bigint[])
            WHERE (b.accepted_ms, b.id) <= ($3, $6::bigint)
            ORDER BY b.accepted_ms DESC, b.id DESC LIMIT $8
        ), movements AS (
            SELECT w.*
            FROM unnest($1::bigint[]) AS held (id)
            CROSS JOIN LATERAL (
                (SELECT d.*, held.id AS account_id, -d.amount_minor AS change_minor FROM wallet_transactions AS d
                WHERE d.debit_account_id = held.id AND (d.created_ms, d.id) < ($3, $7::bigint)
                ORDER BY d.created_ms DESC, d.id DESC LIMIT $8)
                UNION ALL
                (SELECT c.*, held.id, c.amount_minor FROM wallet_transactions AS c
                WHERE c.credit_account_id = held.id AND (c.created_ms, c.id) < ($3, $7::bigint)
                ORDER BY c.created_ms DESC, c.id DESC LIMIT $8)
            ) AS w
        ), entries AS (
            SELECT accepted_ms AS at_ms, 0 AS movement, id, 0 AS win, 'bet' AS kind, account_id,
                -stake_minor AS change_minor, accepted_ms AS created_ms, transaction_id,
                NULL::bigint AS wallet_transaction_id, id AS bet_id
            FROM stakes
            UNION ALL
            SELECT s.accepted_ms, 0, s.id, 1, 'win', s.account_id, p.payout_minor, c.credited_ms, NULL, NULL, s.id
            FROM stakes AS s JOIN payouts AS p ON p.round_id = s.round_id AND p.bet_id = s.id
            JOIN round_credits AS c ON c.round_id = p.round_id
            WHERE p.payout_minor > 0
            UNION ALL
            SELECT created_ms, 1, id, 0, kind, account_id, change_minor, created_ms, transaction_id, id, bet_id
            FROM movements
        )
        SELECT e.at_ms, e.movement, e.id, e.win, e.kind, a.currency, e.change_minor, e.created_ms, e.transaction_id,
            e.wallet_transaction_id, e.bet_id
        FROM entries AS e JOIN accounts AS a ON a.id = e.account_id
        WHERE (e.at_ms, e.movement, e.id, e.win) < ($3, $4::integer, $5::bigint, $9::integer) AND e.at_ms >= $2
        ORDER BY e.at_ms DESC, e.movement DESC, e.id DESC, e.win DESC LIMIT $8
        """,
        account_ids,
        start_ms,
        end.at_ms,
        end.movement,
        end.entry_id,
        end.bets_to,
        movements_below,
        limit,
        end.win,
    )
    return [(Place(*list(row.values())[:4]), Entry(*list(row.values())[4:])) for row in rows]


async def credit_rounds(conn: Connection, rooms: Mapping[int, str]) -> None:
    """Credits the winners of settled rounds, given with their rooms, and says so in an event for each; does nothing
    for a round that was credited.
    """
    await conn.execute(
        """
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'wallet.credited', jsonb_agg(jsonb_build_array('room:' || asked.room, jsonb_build_object(
            'v', 1, 'round', round_id::text, 'room', asked.room, 'credits_count', credits_count)) ORDER BY asked.place
            )::text, count(*)
        FROM credit_rounds($1) AS done
        JOIN unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (round_id, room, place) USING (round_id)
        HAVING count(*) > 0
        """,
        list(rooms),
        list(rooms.values()),
    )


async def refund_round(conn: Connection, round_id: int, room: str) -> None:
    """Refunds the stakes of a void round and says so in an event; does nothing for a round that was refunded."""
    await conn.execute(
        """
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'wallet.refunded', 'room:' || $2,
            jsonb_build_object('v', 1, 'round', $1::text, 'room', $2::text, 'refunds_count', refunds_count)
        FROM refund_round($1) AS refunds_count
        WHERE refunds_count IS NOT NULL
        """,
        round_id,
        room,
    )
