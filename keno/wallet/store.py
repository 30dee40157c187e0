"""SQL of the wallet. Money moves only through the ledger: each function here that moves it enters it there in the
same statement.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from keno.infra.postgres import Connection, Executor

MovementOutcome = Literal["accepted", "duplicate", "conflict", "currency_not_offered"]


@dataclass(frozen=True, slots=True)
class Movement:
    """What became of a deposit. `wallet_transaction_id` and the rest are None where the currency is not offered."""

    outcome: MovementOutcome
    wallet_transaction_id: int | None
    created_ms: int | None
    balance_minor: int | None


@dataclass(frozen=True, slots=True)
class Balance:
    """A player's account."""

    currency: str
    balance_minor: int


async def deposit(
    conn: Executor,
    operator_id: UUID,
    player: str,
    account_hash: bytes,
    currency: str,
    amount_minor: int,
    transaction_id: str,
    fingerprint: bytes,
) -> Movement:
    """Moves money from the operator's cash to a player, who is made where there is none."""
    row = await conn.fetchrow(
        "SELECT * FROM deposit($1, $2, $3, $4, $5, $6, $7)",
        operator_id,
        player,
        account_hash,
        currency,
        amount_minor,
        transaction_id,
        fingerprint,
    )
    assert row is not None, "deposit() returns one row"  # noqa: S101
    return Movement(*row.values())


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


async def credit_round(conn: Connection, round_id: int, room: str) -> None:
    """Credits the winners of a settled round and says so in an event; does nothing for a round that was credited."""
    await conn.execute(
        """
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'wallet.credited', 'room:' || $2,
            jsonb_build_object('v', 1, 'round', $1::text, 'room', $2::text, 'credits_count', credits_count)
        FROM credit_round($1) AS credits_count
        WHERE credits_count IS NOT NULL
        """,
        round_id,
        room,
    )
