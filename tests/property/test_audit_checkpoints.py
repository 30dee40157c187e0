"""Histories in random order with audits at random places: what the audits carried is what reading everything gives, and
of what is then damaged they find what came since, and the full audit all.
"""

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.audits import agree, on_trial
from support.money import Floor

from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay
from keno.reporting import audit
from keno.wallet.request import MovementRequest, RollbackRequest
from keno.wallet.service import WalletService
from workers import wallet as wallet_worker

NUMBERS = itertools.count()
ACTS = ("deposit", "withdraw", "undo", "tombstone", "bet", "settle", "void", "credit", "audit")
SUMS = "SELECT account_id, minor FROM audit_balances WHERE minor <> 0 ORDER BY account_id"
ROUNDS_BEHIND = "SELECT rounds FROM audit_checkpoints ORDER BY id DESC LIMIT 1"


@pytest.fixture
def floor(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> Floor:
    # What the verifier says of bundles is tested elsewhere, and takes longer than all the rest.
    monkeypatch.setattr(audit, "verify", agree)
    return floor


class Player:
    """Does one thing after the other, and whoever has the events handles them when told to."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._wallet = WalletService(floor.pool)
        self._bus = LocalBus(floor.pool)
        wallet_worker.subscribe(SimpleNamespace(bus=self._bus, wallet=self._wallet))  # type: ignore[arg-type]
        self._relay = Relay(floor.pool, self._bus, retention_ms=3_600_000)
        self._count = 0

    async def do(self, act: str) -> None:
        floor, self._count = self._floor, self._count + 1
        name = f"movement {next(NUMBERS)}"
        match act:
            case "deposit":
                await floor.fund(f"player {self._count % 3}", 500 + self._count)
            case "withdraw":
                request = MovementRequest(name, 300, "EUR")
                await self._wallet.move_money("withdrawal", floor.operator_id, "player 1", request)
            case "undo":
                request = MovementRequest(name, 200, "EUR")
                await self._wallet.move_money("deposit", floor.operator_id, "player 2", request)
                await self._wallet.roll_back(floor.operator_id, name, RollbackRequest(name[1:]))
            case "tombstone":
                await self._wallet.roll_back(floor.operator_id, name, RollbackRequest(name[1:]))
            case "bet":
                await floor.place(*(floor.bet(f"player {n % 3}", picks=(n,)) for n in range(1, 12)))
            case "settle" | "void":
                number = await floor.pool.fetchval(
                    "SELECT max(number) FROM rounds WHERE room_id = $1 AND phase = 'open'", floor.room.id
                )
                await (floor.void(number) if act == "void" else floor.settle(number))
                await floor.hall.tick()
            case "credit":
                while await self._relay.step():
                    pass
            case "audit":
                report = await floor.audit.run()
                assert report.is_clean, report
                assert report.is_extended


# Each does something to a row, the one at a place among all, and says whether the row is behind the checkpoint.
DAMAGES = (
    """
    UPDATE wallet_transactions SET amount_minor = amount_minor + 1
    WHERE id = (
        SELECT id FROM wallet_transactions ORDER BY id OFFSET $1 % (SELECT count(*) FROM wallet_transactions) LIMIT 1
    )
    RETURNING pg_visible_in_snapshot(xid, (SELECT snapshot FROM audit_checkpoints ORDER BY id DESC LIMIT 1))
    """,
    """
    UPDATE bets SET stake_minor = stake_minor + 100
    WHERE id = (SELECT id FROM bets ORDER BY id OFFSET $1 % greatest((SELECT count(*) FROM bets), 1) LIMIT 1)
    RETURNING round_id <@ (SELECT rounds FROM audit_checkpoints ORDER BY id DESC LIMIT 1)
    """,
    """
    UPDATE accounts SET balance_minor = balance_minor + 1
    WHERE id = (SELECT id FROM accounts WHERE kind = 'player' ORDER BY id
        OFFSET $1 % (SELECT count(*) FROM accounts WHERE kind = 'player') LIMIT 1)
    RETURNING false
    """,
)


@given(acts=st.lists(st.sampled_from(ACTS), max_size=30), place=st.integers(0, 1_000))
@settings(
    max_examples=15,
    deadline=None,
    # Each example goes on where the one before has ended; to shrink one takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_what_audits_carry_is_what_there_is(floor: Floor, acts: list[str], place: int) -> None:
    player = Player(floor)
    for act in acts:
        await player.do(act)

    for damage in DAMAGES:
        async with on_trial(floor) as (conn, its_audit):
            is_behind = await conn.fetchval(damage, place)
            if is_behind is not None:
                assert (await its_audit.run()).is_clean == is_behind, damage
                assert not (await its_audit.run(full=True)).is_clean, damage

    await player.do("audit")
    carried = await floor.owner_pool.fetch(SUMS), await floor.owner_pool.fetchval(ROUNDS_BEHIND)
    async with on_trial(floor) as (conn, its_audit):
        assert (await its_audit.run(full=True)).is_clean
        assert (await its_audit.run(renew=True)).is_extended
        assert (await conn.fetch(SUMS), await conn.fetchval(ROUNDS_BEHIND)) == carried
