"""SQL of bets: acceptance (the database function `place_bets`), look-up, and the settlement of a round."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import starmap
from operator import attrgetter
from uuid import UUID

import msgspec

from keno.bets.limits import OperatorLimits, PlayerLimits
from keno.bets.outcome import Outcome
from keno.game.settlement import RoundTotals
from keno.infra import columns
from keno.infra.postgres import Connection, Executor

_OUTCOMES = tuple(Outcome)
_FINGERPRINT_BYTES, _PICKS_BYTES = 16, 10
_PLACE_BETS = f"""
    SELECT * FROM place_bets($1, $2, $3, $4, $5, $6::text::integer[], {columns.texts_of("$7")},
        {columns.bytes_of("$8", _FINGERPRINT_BYTES)}, {columns.texts_of("$9")}, {columns.bytes_of("$10", _PICKS_BYTES)},
        $11::text::bigint[])
"""  # noqa: S608 - our own widths
# What `_columns` gives of totals.
_TOTALS = """$1::text::bigint[], $2::uuid[], $3::text::smallint[], $4::text::bigint[], $5::text::bigint[],
            $6::text::bigint[], $7::text::bigint[], $8::numeric[]"""


class BetRow(msgspec.Struct, frozen=True, gc=False):
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


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """Where, when and by which paytable a bet was accepted: one object for all bets of a call that share it."""

    round_id: int
    round_number: int
    room_id: UUID
    paytable: bytes
    accepted_ms: int


class PlacedRow(msgspec.Struct, frozen=True, gc=False):
    """What `place_bets` says of a bet; all but the outcome is None where no bet stands behind it."""

    outcome: Outcome
    bet_id: int | None = None
    stand: Stand | None = None


_offer = attrgetter("operator_id", "room_id", "round_id", "currency", "paytable")


async def place_bets(conn: Executor, bets: Sequence[BetRow]) -> list[PlacedRow]:
    """Accepts or refuses each bet, in order, in one transaction; it has committed when this returns.

    Where nothing is out of the ordinary this is one look-up a bet, of its player's account: that an id is new is found
    by the unique index when the bet is stored. An id that may be in another partition or rolled back is looked for, and
    so is every id once the quick way has failed; limits and short balances are then settled bet by bet, in order.

    Raises, and has changed nothing: asyncpg.UniqueViolationError where another connection placed one of the bets at the
    same time; LockNotAvailableError or DeadlockDetectedError where it waited in vain for another; CheckViolationError
    where the round's partition is missing.
    """
    if not bets:
        return []
    offers: list[BetRow] = []
    places: list[int] = []
    known: dict[tuple[int, int | None, int | None, str, bytes | None], int] = {}
    for bet in bets:
        # By the integers: a UUID hashes itself in Python.
        room = None if bet.room_id is None else bet.room_id.int
        key = bet.operator_id.int, room, bet.round_id, bet.currency, bet.paytable
        place = known.setdefault(key, len(offers))
        if place == len(offers):
            offers.append(bet)
        places.append(place)
    (placed,) = await conn.fetch(
        _PLACE_BETS,
        *(list(column) for column in zip(*map(_offer, offers), strict=True)),
        columns.integers([place + 1 for place in places]),
        columns.lines([bet.transaction_id for bet in bets]),
        columns.packed([bet.fingerprint for bet in bets], _FINGERPRINT_BYTES),
        columns.lines([bet.player for bet in bets]),
        columns.packed([bet.picks for bet in bets], _PICKS_BYTES),
        columns.integers([bet.stake_minor for bet in bets]),
    )
    outcomes, bet_ids, *common = placed
    # Of each offer, then of each duplicate.
    stands = list(starmap(Stand, zip(*common, strict=True)))
    duplicates = iter(stands[len(offers) :])
    accepted, duplicate = Outcome.ACCEPTED, Outcome.DUPLICATE
    rows = []
    for number, bet_id, place in zip(outcomes, bet_ids, places, strict=True):
        outcome = _OUTCOMES[number]
        if outcome is accepted:
            rows.append(PlacedRow(outcome, bet_id, stands[place]))
        elif outcome is duplicate:
            rows.append(PlacedRow(outcome, bet_id, next(duplicates)))
        else:
            rows.append(PlacedRow(outcome))
    return rows


async def hold_off_bets(conn: Connection, operator_id: UUID) -> None:
    """Waits for an operator's bets that are on their way, and keeps out those to come until the transaction ends.

    To be called before limits change: a batch judges by the limits that it has read.
    """
    await conn.execute("SELECT hold_off_bets($1)", operator_id)


async def limit_player(conn: Connection, operator_id: UUID, player: str, limits: PlayerLimits) -> bool:
    """Replaces a player's limits, with a row in the audit trail; False where there is no such account."""
    status = await conn.execute(
        """
        WITH limited AS (
            UPDATE accounts AS held SET round_bets_max = $4, round_stake_max_minor = $5
            FROM players AS p
            WHERE p.operator_id = $1 AND p.reference = $2 AND held.player_id = p.id AND held.currency = $3
            RETURNING held.id
        )
        INSERT INTO audit_logs (actor, action, subject, detail)
        SELECT $1::uuid::text, 'player.limited', limited.id::text,
            jsonb_build_object('currency', $3::text, 'round_bets_max', $4::integer, 'round_stake_max_minor', $5::bigint)
        FROM limited
        """,
        operator_id,
        player,
        limits.currency,
        limits.round_bets_max,
        limits.round_stake_max_minor,
    )
    return status == "INSERT 0 1"


async def limit_operator(conn: Connection, operator_id: UUID, limits: OperatorLimits) -> None:
    """Replaces the limits that hold for each of an operator's players and for its rounds."""
    await conn.execute(
        """
        INSERT INTO operator_limits AS own
            (operator_id, currency, round_bets_max, round_stake_max_minor, round_exposure_max_minor)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (operator_id, currency) DO UPDATE
        SET round_bets_max = excluded.round_bets_max, round_stake_max_minor = excluded.round_stake_max_minor,
            round_exposure_max_minor = excluded.round_exposure_max_minor, changes_count = own.changes_count + 1
        """,
        operator_id,
        limits.currency,
        limits.round_bets_max,
        limits.round_stake_max_minor,
        limits.round_exposure_max_minor,
    )


# ---- settlement: all in the transaction of the settler, which holds the rounds ----

_PAYOUT_COLUMNS = ("bet_id", "round_id", "account_id", "hits", "payout_minor", "cut_minor")


@dataclass(frozen=True, slots=True)
class DrawnRound:
    """A round to settle. `numbers` are 20 bytes; `bets_count` is what the lock committed to."""

    round_id: int
    rules: bytes
    numbers: bytes
    bets_count: int


async def hold_small_rounds(conn: Connection, rounds_max: int, bets_max: int) -> list[DrawnRound]:
    """The oldest drawn rounds that no other settler has, at most so many and of so many bets together."""
    rows = await conn.fetch("SELECT * FROM hold_small_rounds($1, $2)", rounds_max, bets_max)
    return [DrawnRound(*row.values()) for row in rows]


async def hold_large_round(conn: Connection, bets_min: int) -> DrawnRound | None:
    """The oldest drawn round that no other settler has and that has so many bets or was begun in chunks."""
    row = await conn.fetchrow(
        """
        SELECT r.id, r.rules_hash, r.numbers, r.bets_count FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.draw_due_ms <= now_ms() AND r.phase = 'drawn'
            AND (r.bets_count >= $1 OR EXISTS (SELECT FROM settlement_chunks AS c WHERE c.round_id = r.id))
            AND NOT EXISTS (SELECT FROM rounds_set_aside AS a WHERE a.round_id = r.id + 0 AND a.retry_ms > now_ms())
        ORDER BY r.id + 0 LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED -- + 0: the planner would walk the key
        """,
        bets_min,
    )
    return DrawnRound(*row.values()) if row else None


async def bets_of_rounds(conn: Connection, round_ids: Sequence[int]) -> bytes:
    """The bets of rounds as the binary COPY that `RoundSettlement` takes."""
    listed = ",".join(f"{round_id:d}" for round_id in round_ids)
    return await _copy_bets(conn, f"round_id = ANY ('{{{listed}}}'::bigint[]) ORDER BY round_id, id")


async def bets_after(conn: Connection, round_id: int, bet_id: int, bets_max: int) -> bytes:
    """The next bets of a round after one, by ascending id, as the binary COPY that `RoundSettlement` takes."""
    return await _copy_bets(conn, f"round_id = {round_id:d} AND id > {bet_id:d} ORDER BY id LIMIT {bets_max:d}")


async def _copy_bets(conn: Connection, those: str) -> bytes:
    # COPY takes no parameters. What asyncpg does about that is three round trips more.
    query = f"SELECT round_id, id, operator_id, account_id, picks, stake_minor, terms FROM bets WHERE {those}"  # noqa: S608 - our own numbers
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    await conn.copy_from_query(query, output=take, format="binary")
    return b"".join(pieces)


async def store_payouts(conn: Connection, payouts: bytes) -> None:
    """Stores the binary COPY that `RoundSettlement` returned."""

    async def source() -> AsyncIterator[bytes]:
        yield payouts

    await conn.copy_to_table("payouts", source=source(), columns=_PAYOUT_COLUMNS, format="binary")


async def last_bet_in_chunks(conn: Connection, round_id: int) -> int:
    """Up to which bet a round is settled; 0 where it is not begun. Ask when the round is held, not before."""
    last_bet_id: int = await conn.fetchval(
        "SELECT coalesce(max(last_bet_id), 0) FROM settlement_chunks WHERE round_id = $1", round_id
    )
    return last_bet_id


async def wins_before(conn: Connection, round_id: int, bet_id: int, bets_max: int) -> bytes:
    """What the accounts of the bets that `bets_after` gives were paid by the chunks before, as `RoundSettlement` takes
    it. Only where the round's rules limit that: of other rounds nothing is kept.

    Ask when the round is held, not before.
    """
    paid: bytes = await conn.fetchval("SELECT wins_before($1, $2, $3)", round_id, bet_id, bets_max)
    return paid


async def record_chunk(conn: Connection, first_bet_id: int, last_bet_id: int, totals: Sequence[RoundTotals]) -> None:
    """Notes that the bets of a round between these ids are settled, and what they add up to. Their payouts are stored:
    the database adds them to what `wins_before` tells of them.
    """
    await conn.execute(
        f"""
        INSERT INTO settlement_chunks
            (round_id, operator_id, terms, bets_count, staked_minor, paid_minor, cut_minor, expected_parts,
            first_bet_id, last_bet_id)
        SELECT t.*, $9, $10
        FROM unnest({_TOTALS}) AS t
        """,  # noqa: S608 - our own columns
        *_columns(totals),
        first_bet_id,
        last_bet_id,
    )


async def totals_of_chunks(conn: Connection, round_id: int) -> list[RoundTotals]:
    """What all chunks of a round add up to, by operator and terms."""
    rows = await conn.fetch(
        """
        SELECT round_id, operator_id, terms, sum(bets_count)::bigint, sum(staked_minor)::bigint,
            sum(paid_minor)::bigint, sum(cut_minor)::bigint,
            CASE WHEN count(*) = count(expected_parts) THEN sum(expected_parts) END
        FROM settlement_chunks WHERE round_id = $1 GROUP BY round_id, operator_id, terms
        """,
        round_id,
    )
    totals = [RoundTotals(*row.values()) for row in rows]
    # asyncpg reads a numeric as a Decimal.
    return [each._replace(expected_parts=_integer(each.expected_parts)) for each in totals]


async def end_rounds(conn: Connection, round_ids: Sequence[int], totals: Sequence[RoundTotals]) -> None:
    """Stores the totals of rounds whose payouts are stored, their end and the events of it."""
    await conn.execute(
        f"""
        INSERT INTO round_totals
            (round_id, operator_id, currency, bets_count, staked_minor, paid_minor, cut_minor, expected_parts)
        SELECT t.round_id, t.operator_id, by.currency, sum(t.bets_count), sum(t.staked_minor), sum(t.paid_minor),
            sum(t.cut_minor), CASE WHEN count(*) = count(t.expected_parts) THEN sum(t.expected_parts) END
        FROM unnest({_TOTALS})
            AS t (round_id, operator_id, terms, bets_count, staked_minor, paid_minor, cut_minor, expected_parts)
        JOIN rounds AS r ON r.id = t.round_id
        JOIN rules_terms AS by ON by.rules_hash = r.rules_hash AND by.terms = t.terms
        GROUP BY t.round_id, t.operator_id, by.currency
        """,  # noqa: S608 - our own columns
        *_columns(totals),
    )
    await conn.execute(
        """
        WITH settled AS (
            UPDATE rounds SET phase = 'settled', ended_ms = now_ms()
            WHERE id = ANY ($1::text::bigint[]) AND phase = 'drawn'
            RETURNING id, bets_count, seed, round_event(id, room_id, number) AS begun
        )
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT * FROM (
            SELECT 'round.settled', concat('[', string_agg(concat(s.begun, ',"seed":"', encode(s.seed, 'hex'),
                '","bets_count":', s.bets_count, '}]'), ',' ORDER BY s.id), ']'), count(*)
            FROM settled AS s
            UNION ALL
            SELECT 'payouts.ready', concat('[', string_agg(concat(s.begun, ',"payouts_count":', paid.payouts_count,
                '}]'), ',' ORDER BY s.id), ']'), count(*)
            FROM settled AS s
            CROSS JOIN LATERAL (SELECT count(*) FROM payouts AS p WHERE p.round_id = s.id) AS paid (payouts_count)
            WHERE paid.payouts_count > 0
        ) AS batch (routing_key, events, events_count)
        WHERE batch.events_count > 0
        """,
        columns.integers(round_ids),
    )


def _integer(numeric: Decimal | int | None) -> int | None:
    return None if numeric is None else int(numeric)


def _columns(totals: Sequence[RoundTotals]) -> list[object]:
    """For `_TOTALS`."""
    round_ids, operator_ids, *integers, expected = zip(*totals, strict=True) if totals else ([],) * 8
    return [columns.integers(round_ids), operator_ids, *map(columns.integers, integers), expected]


async def set_aside(conn: Connection, failures: Sequence[tuple[int, str]]) -> None:
    """Notes (round id, reason) of rounds that could not be settled, here and in the audit trail.

    They are due again after a second, and after each further failure in twice the time, up to ten minutes.
    """
    await conn.execute(
        """
        WITH failed AS (
            INSERT INTO rounds_set_aside AS aside (round_id, reason, retry_ms)
            SELECT f.round_id, f.reason, now_ms() + 1000 FROM unnest($1::bigint[], $2::text[]) AS f (round_id, reason)
            ON CONFLICT (round_id) DO UPDATE SET failures_count = aside.failures_count + 1, reason = excluded.reason,
                retry_ms = now_ms() + least(1000 << least(aside.failures_count, 10), 600000)
            RETURNING *
        )
        INSERT INTO audit_logs (actor, action, subject, detail)
        SELECT 'settler', 'round.set_aside', 'round:' || round_id,
            jsonb_build_object('reason', reason, 'failures', failures_count, 'retry_ms', retry_ms)
        FROM failed ORDER BY round_id
        """,
        [round_id for round_id, _ in failures],
        [reason for _, reason in failures],
    )
