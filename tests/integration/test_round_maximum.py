"""The maximum of what a player wins in a round, on PostgreSQL: chunks, kills, the wallet and the audit."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support.databases import Database
from support.killed_settler import settle_until_killed
from support.money import Floor, floor_rules, open_floor

from keno.bets import read_store, store
from keno.bets.settler import Settler
from keno.infra.migrate import MIGRATIONS
from keno.infra.postgres import Connection
from keno.storage.service import Storage
from keno.wallet import store as wallet_store

CHUNK_BETS = 30
WIN_MINOR = 3_760
"""What a bet of 1,000 on one number wins, without the maximum."""
MAX_MINOR = 12_000
"""Of the 20 wins of a player three are paid whole, and the fourth to the rest."""
PAID_MINOR = [WIN_MINOR] * 3 + [MAX_MINOR - 3 * WIN_MINOR] + [0] * 16
OTHER_WIN_MINOR = 376


@pytest.fixture
async def floor(pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool) -> AsyncIterator[Floor]:
    """A drawn round of 160 bets: ann and bob have one on each number in turn, bob's are too small for the maximum."""
    its_rules = floor_rules(round_win_max_minor=MAX_MINOR, EUR=10_000)
    async with open_floor(pool, vault_pool, owner_pool, its_rules) as opened:
        await opened.fund("bob", 100_000)
        for number in range(1, 81):
            await opened.place(
                opened.bet(picks=(number,), stake_minor=1_000), opened.bet("bob", picks=(number,), stake_minor=100)
            )
        await opened.draw()
        yield opened


async def settle(floor: Floor, chunk_bets: int) -> None:
    settler = Settler(floor.pool, chunk_bets=chunk_bets)
    while await settler.step() == 0:
        pass


async def wins(floor: Floor, player: str) -> list[tuple[int, int]]:
    """(payout, cut) of a player's wins in the order of the bets."""
    (account_id,) = await floor.account_ids(player)
    rows = await floor.owner_pool.fetch(
        "SELECT payout_minor, cut_minor FROM payouts WHERE account_id = $1 ORDER BY bet_id", account_id
    )
    return [tuple(row) for row in rows]


async def assert_paid_by_the_rules(floor: Floor) -> None:
    assert await wins(floor, "ann") == [(paid, WIN_MINOR - paid) for paid in PAID_MINOR]
    assert await wins(floor, "bob") == [(OTHER_WIN_MINOR, 0)] * 20
    totals = await floor.owner_pool.fetch("SELECT bets_count, paid_minor, cut_minor FROM round_totals")
    paid_minor = MAX_MINOR + 20 * OTHER_WIN_MINOR
    assert [tuple(row) for row in totals] == [(160, paid_minor, 20 * WIN_MINOR - MAX_MINOR)]
    assert await floor.broken() == {}


async def test_the_maximum_stands_beside_the_rules(floor: Floor) -> None:
    rows = await floor.pool.fetch("SELECT currency, round_win_max_minor FROM rules_currencies ORDER BY currency")
    assert [tuple(row) for row in rows] == [("BTC", None), ("EUR", MAX_MINOR), ("USD", None)]


@pytest.mark.parametrize("chunk_bets", [1_000, CHUNK_BETS, 1])
async def test_a_players_wins_are_paid_by_ascending_bet_until_the_maximum(floor: Floor, chunk_bets: int) -> None:
    await settle(floor, chunk_bets)
    await assert_paid_by_the_rules(floor)


@pytest.mark.parametrize(
    ("name", "nth", "when"),
    [
        ("wins_before", 2, "after"),
        ("store_payouts", 3, "after"),
        ("record_chunk", 2, "after"),
        ("hold_large_round", 4, "before"),
        ("totals_of_chunks", 1, "before"),
    ],
)
async def test_what_earlier_chunks_paid_survives_the_settler_that_paid_it(
    floor: Floor, database: Database, name: str, nth: int, when: str
) -> None:
    await settle_until_killed(database, floor.owner_pool, CHUNK_BETS, name, nth, when)
    assert await floor.broken() == {}
    # The next one takes other chunks.
    await settle(floor, CHUNK_BETS - 13)
    await assert_paid_by_the_rules(floor)


READ_SO_FAR = "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_xact_user_tables"
"""The rows that a session's transactions have read; within one of them it tells of no other session."""


async def test_the_last_chunk_of_a_round_reads_as_many_rows_as_the_first(
    pool: asyncpg.Pool, vault_pool: asyncpg.Pool, owner_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, read = [], []
    last_bet_in_chunks, record_chunk = store.last_bet_in_chunks, store.record_chunk

    async def begin_count(conn: Connection, round_id: int) -> int:
        begun.append(await conn.fetchval(READ_SO_FAR))
        return await last_bet_in_chunks(conn, round_id)

    async def end_count(conn: Connection, *chunk: Any) -> None:
        await record_chunk(conn, *chunk)
        read.append(await conn.fetchval(READ_SO_FAR) - begun[-1])

    monkeypatch.setattr(store, "last_bet_in_chunks", begin_count)
    monkeypatch.setattr(store, "record_chunk", end_count)
    async with open_floor(
        pool, vault_pool, owner_pool, floor_rules(round_win_max_minor=MAX_MINOR, EUR=10_000)
    ) as floor:
        # In each chunk a bet on every number: half of them are of players whom no chunk before has seen.
        for chunk in range(12):
            players = [f"player {chunk} {n}" for n in range(20)]
            for player in players:
                await floor.fund(player, 10_000)
            await floor.place(*(floor.bet(players[n % 20] if n % 2 else "ann", picks=(n + 1,)) for n in range(80)))
        await floor.draw()
        await settle(floor, 80)
        assert await floor.broken() == {}
    assert len(read) == 12
    # The second is the first that asks for what was won before.
    assert max(read[2:]) <= read[1] + 2


async def test_a_settler_goes_on_with_a_round_that_was_begun_before_its_wins_were_kept(floor: Floor) -> None:
    migration = (MIGRATIONS / "0037_round_wins.sql").read_text()
    await floor.owner_pool.execute(
        "DROP FUNCTION add_round_wins, wins_before, forget_round_wins CASCADE; DROP TABLE round_wins"
    )
    await Settler(floor.pool, chunk_bets=CHUNK_BETS).settle_chunk()
    await floor.owner_pool.execute(migration.partition("-- migrate: apply")[2].partition("-- migrate: rollback")[0])
    await settle(floor, CHUNK_BETS)
    await assert_paid_by_the_rules(floor)


async def test_what_was_won_of_a_round_is_forgotten_once_the_round_has_ended(floor: Floor) -> None:
    settler, storage = Settler(floor.pool, chunk_bets=CHUNK_BETS), Storage(floor.pool, 0, None)
    kept, seen = "SELECT count(*) FROM round_wins", [0]
    while await settler.settle_chunk() == 0 and await floor.pool.fetchval("SELECT count(*) FROM round_totals") == 0:
        seen.append(await floor.pool.fetchval(kept))
        await storage.step()
        assert await floor.pool.fetchval(kept) == seen[-1]
    assert seen[-1] == 2, seen  # the first chunk may have no winner
    await storage.step()
    assert await floor.pool.fetchval(kept) == 0
    await assert_paid_by_the_rules(floor)


async def test_a_win_cut_to_nothing_moves_no_money_and_can_still_be_seen(floor: Floor) -> None:
    await settle(floor, 1_000)
    before = await floor.balance("ann")
    assert before is not None
    assert (
        await floor.pool.fetchval("SELECT credits_count FROM credit_rounds(ARRAY[$1::bigint])", await floor.round_id())
        == 40
    )
    assert await floor.balance("ann") == before + MAX_MINOR
    assert await floor.broken() == {}

    (account_id,) = await floor.account_ids("ann")
    entries = await floor.owner_pool.fetch(
        "SELECT amount_minor FROM ledger WHERE kind = 'win' AND credit_account_id = $1 ORDER BY bet_id", account_id
    )
    assert [row["amount_minor"] for row in entries] == PAID_MINOR[:4]
    page = await wallet_store.statement(floor.pool, floor.operator_id, "ann", "EUR", None, 200)
    assert page is not None
    won = [entry.change_minor for entry in page.entries if entry.kind == "win"]
    assert sorted(won, reverse=True) == PAID_MINOR[:4]

    last = await floor.owner_pool.fetchval("SELECT max(bet_id) FROM payouts WHERE account_id = $1", account_id)
    shown = await read_store.bet_by_id(floor.pool, floor.operator_id, last)
    assert shown is not None
    assert (shown.hits, shown.payout_minor, shown.cut_minor, shown.credited_ms) == (1, 0, WIN_MINOR, None)


# Houses that do not keep the maximum, with totals to match: only who knows the rule can tell.
CHEATS = {
    "the maximum is ignored": "UPDATE payouts SET payout_minor = payout_minor + cut_minor, cut_minor = 0",
    "a win that was cut is forgotten": "DELETE FROM payouts WHERE payout_minor = 0",
    "a later bet is paid instead of an earlier one": """
        UPDATE payouts AS p SET payout_minor = other.payout_minor, cut_minor = other.cut_minor
        FROM (
            SELECT min(bet_id) AS first, max(bet_id) AS last FROM payouts
            WHERE account_id = (SELECT account_id FROM payouts WHERE cut_minor > 0 LIMIT 1)
        ) AS ends
        JOIN payouts AS other ON other.bet_id IN (ends.first, ends.last)
        WHERE p.bet_id = ends.first + ends.last - other.bet_id
    """,
}
SAME_TOTALS = """
    UPDATE round_totals SET (paid_minor, cut_minor) = (SELECT sum(p.payout_minor), sum(p.cut_minor) FROM payouts AS p)
"""


@pytest.mark.parametrize("cheat", CHEATS)
async def test_the_audit_finds_a_house_that_does_not_keep_the_maximum(floor: Floor, cheat: str) -> None:
    await settle(floor, 1_000)
    await floor.hall.tamper(CHEATS[cheat])
    await floor.hall.tamper(SAME_TOTALS)
    found = await floor.broken()
    expected = {"04_the_verifier_agrees"}
    if cheat == "the maximum is ignored":
        expected.add("04_wins_of_a_round_have_a_maximum")
    assert found.keys() == expected
    assert "VIOLATION" in found["04_the_verifier_agrees"][0]


async def test_a_payout_of_nothing_of_which_nothing_was_cut_cannot_be_stored(floor: Floor) -> None:
    for payout_minor, cut_minor in ((0, 0), (-1, 1), (1, -1)):
        with pytest.raises(asyncpg.CheckViolationError):
            await floor.pool.execute(
                "INSERT INTO payouts (bet_id, round_id, account_id, hits, payout_minor, cut_minor) "
                "SELECT id, round_id, account_id, 1, $1, $2 FROM bets LIMIT 1",
                payout_minor,
                cut_minor,
            )


async def test_a_room_is_opened_with_a_maximum_by_currency_or_told_what_is_wrong(
    database: Database, redis_url: str, owner_pool: asyncpg.Pool, tmp_path: Path
) -> None:
    for name in ("vault", "privacy", "platform"):
        (tmp_path / f"{name}.key").write_text("07" * 32)
        (tmp_path / f"{name}.key").chmod(0o600)
    variables = {"KENO_DATABASE_URL": database.app_url, "KENO_REDIS_URL": redis_url, "KENO_KEYS_DIR": str(tmp_path)}

    async def add(*options: str) -> str:
        command = [sys.executable, "-m", "keno", "room", "add", "limited", "--currency", "EUR", "--currency", "JPY"]
        ended = await asyncio.to_thread(
            subprocess.run,
            [*command, *options],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == (1 if ended.stderr else 0)
        return ended.stderr

    assert "maximum win a round of EUR is not from" in await add("--round-win-max-minor.EUR", "4999999")
    assert "the room does not offer USD" in await add("--round-win-max-minor.USD", "9000000")
    assert await owner_pool.fetchval("SELECT count(*) FROM rooms") == 0
    assert await add("--round-win-max-minor.EUR", "6000000") == ""
    rows = await owner_pool.fetch("SELECT currency, round_win_max_minor FROM rules_currencies ORDER BY currency")
    assert [tuple(row) for row in rows] == [("EUR", 6_000_000), ("JPY", None)]
