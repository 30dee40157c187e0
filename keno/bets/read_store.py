"""SQL of bets as they stand: one by its id, those of a player, those of a round."""

from dataclasses import dataclass
from uuid import UUID

from keno.infra.postgres import Connection, Executor
from keno.requests import ID_MAX
from keno.rounds.room_store import Round
from keno.wallet.statement import Place
from keno.wallet.store import STATEMENT_HOURS_MAX

ROUND_BETS_SEARCHED_MAX = 20_000
"""So many bets of a round, of all operators, a page of one operator's looks through."""


@dataclass(frozen=True, slots=True)
class StoredBet:
    """A bet and what has become of it. `phase` is its round's; the payout is None until the round is settled, and
    where nothing was won. It is 0, and never credited, where a maximum cut all that was won.
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
    lock: bytes | None
    bets_root: bytes | None

    @property
    def place(self) -> Place:
        """Where it stands in its player's statement, and in pages of bets."""
        return Place(self.accepted_ms, 0, self.bet_id, 0)


@dataclass(frozen=True, slots=True)
class StoredBets:
    """Bets, newest first, and the place before which the next page begins; None at the end. A page may be shorter than
    asked for, or empty, and not be the last: the search pauses in a long time without a bet, and among many of others.
    """

    bets: list[StoredBet]
    next_before: Place | None


async def bet_by_id(conn: Executor, operator_id: UUID, bet_id: int) -> StoredBet | None:
    """An operator's bet."""
    those = "SELECT * FROM bets WHERE operator_id = $2 AND id = $3"
    found = await _stored(conn, those, _BY_ID, 1, operator_id, bet_id)
    return found[0] if found else None


async def bets_of_player(
    conn: Connection, operator_id: UUID, player: str, played: Round | None, before: Place | None, limit: int
) -> StoredBets | None:
    """A page of a player's bets, in one round or all; None where the operator has no such player."""
    row = await conn.fetchrow(
        """
        SELECT coalesce(array_agg(a.id) FILTER (WHERE a.id IS NOT NULL), '{}'), p.created_ms, now_ms() FROM players AS p
        LEFT JOIN accounts AS a ON a.player_id = p.id
        WHERE p.operator_id = $1 AND p.reference = $2
        GROUP BY p.id
        """,
        operator_id,
        player,
    )
    if row is None:
        return None
    account_ids, came_ms, now_ms = row
    newest = Place.above(now_ms if played is None else played.lock_due_ms)
    end = newest if before is None else min(before, newest)
    if played is not None:
        those = f"{_OF_HOURS} AND round_id = $6"
        span = (account_ids, played.opened_ms, end.at_ms, end.bets_to)
        return _page(await _stored(conn, those, _BY_INSTANT, limit + 1, *span, played.id), limit, None)
    start_ms: int = await conn.fetchval(
        "SELECT statement_start($1, $2, $3, $4, $5)", account_ids, came_ms, end.at_ms, limit, STATEMENT_HOURS_MAX
    )
    span = (account_ids, start_ms, end.at_ms, end.bets_to)
    found = await _stored(conn, _OF_HOURS, _BY_INSTANT, limit + 1, *span)
    return _page(found, limit, Place.below(start_ms) if start_ms > came_ms else None)


async def bets_of_round(
    conn: Connection, operator_id: UUID, round_id: int, before: Place | None, limit: int
) -> StoredBets:
    """A page of an operator's bets in a round, by their ids: they are found by them, not by their instants."""
    newest_id = ID_MAX if before is None else before.bets_to
    searched = (round_id, newest_id, ROUND_BETS_SEARCHED_MAX)
    found = await _stored(conn, _OF_ROUND, _BY_ID, limit + 1, operator_id, *searched)
    if len(found) > limit:
        return _page(found, limit, None)
    last = await conn.fetchrow(
        "SELECT accepted_ms, id FROM bets WHERE round_id = $1 AND id <= $2 ORDER BY id DESC OFFSET $3 - 1 LIMIT 1",
        *searched,
    )
    return _page(found, limit, None if last is None else Place(last["accepted_ms"], 0, last["id"], 0))


_OF_HOURS = """
    SELECT bets.* FROM generate_series($3::bigint / 3600000, $4::bigint / 3600000) AS hours (hour)
    JOIN bets ON accepted_ms / 3600000 = hours.hour AND account_id = ANY ($2::bigint[])
    WHERE (accepted_ms, id) <= ($4, $5::bigint)"""
_OF_ROUND = """
    SELECT * FROM (SELECT * FROM bets WHERE round_id = $3 AND id <= $4 ORDER BY id DESC LIMIT $5) AS searched
    WHERE operator_id = $2"""
_BY_INSTANT = "accepted_ms DESC, id DESC"
_BY_ID = "id DESC"


async def _stored(conn: Executor, those: str, order: str, limit: int, *values: object) -> list[StoredBet]:
    """The first of the bets that a query gives, whose values are from $2 on."""
    rows = await conn.fetch(
        f"""
        SELECT b.id, b.operator_id, b.transaction_id, b.round_id, r.number, r.room_id, r.phase, player.reference,
            player.account_hash, b.picks, b.stake_minor, t.currency, t.paytable_hash, b.accepted_ms, p.hits,
            p.payout_minor, p.cut_minor, c.credited_ms, r.lock_hash, r.bets_root
        FROM ({those} ORDER BY {order} LIMIT $1) AS b
        JOIN rounds AS r ON r.id = b.round_id
        JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        JOIN accounts AS account ON account.id = b.account_id
        JOIN players AS player ON player.id = account.player_id
        LEFT JOIN payouts AS p ON p.round_id = b.round_id AND p.bet_id = b.id AND r.phase = 'settled'
        LEFT JOIN round_credits AS c ON c.round_id = p.round_id AND p.payout_minor > 0
        ORDER BY {order}
        """,  # noqa: S608 - our own queries
        limit,
        *values,
    )
    return [StoredBet(*row.values()) for row in rows]


def _page(found: list[StoredBet], limit: int, searched_to: Place | None) -> StoredBets:
    """A page of what was found, of which there is one more where the page is not the last."""
    if len(found) > limit:
        return StoredBets(found[:limit], found[limit - 1].place)
    return StoredBets(found, searched_to)
