"""SQL of what the live stream tells single players: their bets in ended rounds, and their balances. Set-based: one
statement for all players of a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.game.numbers import mask_picks
from keno.infra.postgres import Executor


@dataclass(frozen=True, slots=True)
class EndedBet:
    """A bet of an ended round. `numbers` is None where the round is void; `payout_minor` then is the stake."""

    player_id: int
    bet_id: int
    transaction_id: str
    round_id: int
    number: int
    room_id: UUID
    picks: bytes
    numbers: bytes | None
    payout_minor: int
    currency: str

    @property
    def hits(self) -> int | None:
        """How many picks were drawn."""
        return None if self.numbers is None else len(set(self.numbers).intersection(mask_picks(self.picks)))


@dataclass(frozen=True, slots=True)
class OpenBet:
    """A bet whose round has not ended."""

    bet_id: int
    transaction_id: str
    round_id: int
    number: int
    room_id: UUID
    picks: bytes
    stake_minor: int
    currency: str
    accepted_ms: int


@dataclass(frozen=True, slots=True)
class HeldBalance:
    """A player's balance in a currency."""

    player_id: int
    currency: str
    balance_minor: int


async def ended_bets(conn: Executor, round_id: int, player_ids: Sequence[int]) -> list[EndedBet]:
    """The bets that these players have in a settled or void round, by id."""
    rows = await conn.fetch(
        """
        WITH ended AS MATERIALIZED (
            SELECT id, number, room_id, phase, numbers, rules_hash, opened_ms, locked_ms FROM rounds
            WHERE id = $1 AND phase IN ('settled', 'void')
        )
        SELECT a.player_id, b.id, b.transaction_id, r.id, r.number, r.room_id, b.picks, r.numbers,
            CASE r.phase WHEN 'void' THEN b.stake_minor ELSE coalesce(p.payout_minor, 0) END, t.currency
        FROM ended AS r
        CROSS JOIN generate_series(r.opened_ms / 3600000, r.locked_ms / 3600000) AS hours (hour)
        JOIN accounts AS a ON a.player_id = ANY ($2::bigint[])
        JOIN bets AS b ON b.round_id = $1 AND b.accepted_ms / 3600000 = hours.hour AND b.account_id = a.id
        JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        LEFT JOIN payouts AS p ON p.round_id = $1 AND p.bet_id = b.id
        ORDER BY b.id
        """,
        round_id,
        list(player_ids),
    )
    return [EndedBet(*row.values()) for row in rows]


async def ended_lately(conn: Executor, player_id: int, within_ms: int, limit: int) -> list[EndedBet]:
    """The newest of a player's bets whose rounds have ended within that time (at most an hour), oldest first."""
    rows = await conn.fetch(
        """
        SELECT * FROM (
            SELECT a.player_id, b.id, b.transaction_id, r.id AS round_id, r.number, r.room_id, b.picks, r.numbers,
                CASE r.phase WHEN 'void' THEN b.stake_minor ELSE coalesce(p.payout_minor, 0) END, t.currency
            FROM generate_series(now_ms() / 3600000 - 1, now_ms() / 3600000) AS hours (hour)
            JOIN accounts AS a ON a.player_id = $1
            JOIN bets AS b ON b.accepted_ms / 3600000 = hours.hour AND b.account_id = a.id
            JOIN rounds AS r ON r.id = b.round_id AND r.phase IN ('settled', 'void') AND r.ended_ms > now_ms() - $2
            JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
            LEFT JOIN payouts AS p ON p.round_id = b.round_id AND p.bet_id = b.id
            ORDER BY b.id DESC LIMIT $3
        ) AS newest ORDER BY id
        """,
        player_id,
        within_ms,
        limit,
    )
    return [EndedBet(*row.values()) for row in rows]


async def open_bets(conn: Executor, player_id: int, currency: str, limit: int) -> list[OpenBet]:
    """A player's bets of the last two hours whose rounds have not ended, newest first."""
    rows = await conn.fetch(
        """
        SELECT b.id, b.transaction_id, r.id, r.number, r.room_id, b.picks, b.stake_minor, a.currency, b.accepted_ms
        FROM generate_series(now_ms() / 3600000 - 1, now_ms() / 3600000) AS hours (hour)
        JOIN accounts AS a ON a.player_id = $1 AND a.currency = $2
        JOIN bets AS b ON b.accepted_ms / 3600000 = hours.hour AND b.account_id = a.id
        JOIN rounds AS r ON r.id = b.round_id AND r.phase IN ('open', 'locked', 'drawn')
        ORDER BY b.id DESC LIMIT $3
        """,
        player_id,
        currency,
        limit,
    )
    return [OpenBet(*row.values()) for row in rows]


async def held_balances(conn: Executor, player_ids: Sequence[int]) -> list[HeldBalance]:
    """The balances of these players in all their currencies."""
    rows = await conn.fetch(
        """
        SELECT player_id, currency, balance_minor FROM accounts
        WHERE player_id = ANY ($1::bigint[]) ORDER BY player_id, currency
        """,
        list(player_ids),
    )
    return [HeldBalance(*row.values()) for row in rows]
