"""SQL of bets: acceptance (the database function `place_bets`), look-up, and the settlement of a round."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.bets.outcome import Outcome
from keno.infra.postgres import Connection, Executor


@dataclass(frozen=True, slots=True)
class BetRow:
    """A bet as `place_bets` takes it. Either `room_id` or `round_id` is set; without a paytable the room's first is
    taken.
    """

    operator_id: UUID
    transaction_id: str
    fingerprint: bytes
    room_id: UUID | None
    round_id: int | None
    player: str
    picks: bytes
    stake_minor: int
    currency: str
    paytable: bytes | None


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """What `place_bets` says of a bet; all but the outcome is None where no bet stands behind it."""

    outcome: Outcome
    bet_id: int | None
    round_id: int | None
    round_number: int | None
    room_id: UUID | None
    account: bytes | None
    paytable: bytes | None
    accepted_ms: int | None


async def place_bets(conn: Executor, bets: Sequence[BetRow]) -> list[PlacedRow]:
    """Accepts or refuses each bet, in order, in one transaction; it has committed when this returns.

    Raises asyncpg.UniqueViolationError, and has changed nothing, where another connection placed one of the bets at the
    same time.
    """
    offers: dict[tuple[UUID, UUID | None, int | None, str, bytes | None], int] = {}
    places = [
        offers.setdefault((bet.operator_id, bet.room_id, bet.round_id, bet.currency, bet.paytable), len(offers) + 1)
        for bet in bets
    ]
    rows = await conn.fetch(
        "SELECT * FROM place_bets($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        *([list(column) for column in zip(*offers, strict=True)] or [[]] * 5),
        places,
        [bet.transaction_id for bet in bets],
        [bet.fingerprint for bet in bets],
        [bet.player for bet in bets],
        [bet.picks for bet in bets],
        [bet.stake_minor for bet in bets],
    )
    return [
        PlacedRow(
            Outcome(row["outcome"]),
            row["bet_id"],
            row["round_id"],
            row["round_number"],
            row["room_id"],
            row["account_hash"],
            row["paytable_hash"],
            row["accepted_ms"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class StoredBet:
    """A bet and what has become of it. `phase` is its round's; the payout is None until the round is settled, and
    where nothing was won.
    """

    bet_id: int
    operator_id: UUID
    transaction_id: str
    round_id: int
    round_number: int
    room_id: UUID
    phase: str
    player: str
    account: bytes
    picks: bytes
    stake_minor: int
    currency: str
    paytable: bytes
    accepted_ms: int
    hits: int | None
    payout_minor: int | None
    cut_minor: int | None
    credited_ms: int | None


async def bet_by_id(conn: Executor, operator_id: UUID, bet_id: int) -> StoredBet | None:
    """An operator's bet."""
    row = await conn.fetchrow(
        """
        SELECT b.id, b.operator_id, b.transaction_id, b.round_id, r.number, r.room_id, r.phase, player.reference,
            player.account_hash, b.picks, b.stake_minor, t.currency, t.paytable_hash, b.accepted_ms, p.hits,
            p.payout_minor, p.cut_minor, c.credited_ms
        FROM bets AS b
        JOIN rounds AS r ON r.id = b.round_id
        JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        JOIN accounts AS account ON account.id = b.account_id
        JOIN players AS player ON player.id = account.player_id
        LEFT JOIN payouts AS p ON p.bet_id = b.id
        LEFT JOIN round_credits AS c ON c.round_id = p.round_id
        WHERE b.id = $2 AND b.operator_id = $1
        """,
        operator_id,
        bet_id,
    )
    return StoredBet(*row.values()) if row else None


@dataclass(frozen=True, slots=True)
class DrawnRound:
    """A round to settle. `numbers` are 20 bytes."""

    round_id: int
    rules: bytes
    numbers: bytes


@dataclass(frozen=True, slots=True)
class OpenBet:
    """What settlement needs of a bet."""

    bet_id: int
    picks: bytes
    stake_minor: int
    currency: str
    paytable: bytes


async def hold_drawn_round(conn: Connection) -> DrawnRound | None:
    """A drawn round that no other settler has, held until the transaction ends."""
    row = await conn.fetchrow(
        """
        SELECT id, rules_hash, numbers FROM rounds WHERE phase = 'drawn'
        ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        """
    )
    return DrawnRound(*row.values()) if row else None


async def open_bets(conn: Connection, round_id: int) -> list[OpenBet]:
    """The bets of a round in ascending id."""
    rows = await conn.fetch(
        """
        SELECT b.id, b.picks, b.stake_minor, t.currency, t.paytable_hash
        FROM bets AS b
        JOIN rounds AS r ON r.id = b.round_id
        JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        WHERE b.round_id = $1 ORDER BY b.id
        """,
        round_id,
    )
    return [OpenBet(*row.values()) for row in rows]


async def settle_round(conn: Connection, round_id: int, winners: Sequence[tuple[int, int, int, int]]) -> None:
    """Stores the payouts of (bet id, hits, payout, cut), the round's totals, its end and the events of it."""
    columns: list[list[int]] = [list(column) for column in zip(*winners, strict=True)] or [[], [], [], []]
    await conn.execute(
        """
        INSERT INTO payouts (bet_id, round_id, account_id, hits, payout_minor, cut_minor)
        SELECT w.bet_id, $1, b.account_id, w.hits, w.payout_minor, w.cut_minor
        FROM unnest($2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[])
            AS w (bet_id, hits, payout_minor, cut_minor)
        JOIN bets AS b ON b.id = w.bet_id
        """,
        round_id,
        *columns,
    )
    await conn.execute(
        """
        INSERT INTO round_totals (round_id, operator_id, currency, bets_count, staked_minor, paid_minor, cut_minor)
        SELECT $1, b.operator_id, account.currency, count(*), sum(b.stake_minor), coalesce(sum(p.payout_minor), 0),
            coalesce(sum(p.cut_minor), 0)
        FROM bets AS b JOIN accounts AS account ON account.id = b.account_id LEFT JOIN payouts AS p ON p.bet_id = b.id
        WHERE b.round_id = $1 GROUP BY b.operator_id, account.currency
        """,
        round_id,
    )
    await conn.execute(
        """
        WITH settled AS (
            UPDATE rounds SET phase = 'settled', ended_ms = now_ms() WHERE id = $1 AND phase = 'drawn' RETURNING *
        )
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT event.routing_key, 'room:' || s.room_id,
            jsonb_build_object('v', 1, 'round', s.id::text, 'room', s.room_id, 'number', s.number) || event.detail
        FROM settled AS s CROSS JOIN LATERAL (VALUES
            ('round.settled', jsonb_build_object('seed', encode(s.seed, 'hex'), 'bets_count', s.bets_count)),
            ('payouts.ready', jsonb_build_object('payouts_count', $2::bigint))
        ) AS event (routing_key, detail)
        WHERE event.routing_key = 'round.settled' OR $2 > 0
        """,
        round_id,
        len(winners),
    )
