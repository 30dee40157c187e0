"""The wallet of operators whose players' balances we hold (transfer mode)."""

from collections.abc import Iterator
from uuid import UUID

import asyncpg

from keno.fairness import keno1
from keno.infra import failpoints
from keno.infra.bus import Event
from keno.infra.store import new_events
from keno.notify.events import PayoutsReady, RoundVoided
from keno.wallet import store
from keno.wallet.request import MovementKind, MovementRequest, RollbackRequest
from keno.wallet.statement import Page, Place

CONSUMER = "wallet"
CREDITS_MAX = 20_000
"""So many payouts share a transaction, whose locks on accounts bets wait for."""


class WalletService:
    """Deposits, withdrawals, rollbacks, balances, statements, and the credit of wins and refunds."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def open_account(self, operator_id: UUID, player: str, currency: str) -> store.Opened:
        """A player's account in a currency, made where there is none."""
        account_hash = keno1.account_hash(operator_id.bytes, player)
        return await store.open_account(self._pool, operator_id, player, account_hash, currency)

    async def move_money(
        self, kind: MovementKind, operator_id: UUID, player: str, request: MovementRequest
    ) -> store.Movement:
        """A deposit or withdrawal; the same transaction id again gives the stored movement."""
        return await store.move_money(
            self._pool,
            kind,
            operator_id,
            player,
            keno1.account_hash(operator_id.bytes, player),
            request.currency,
            request.amount_minor,
            request.transaction_id,
            request.fingerprint(kind, player),
        )

    async def roll_back(self, operator_id: UUID, target_id: str, request: RollbackRequest) -> store.Rollback:
        """Undoes the deposit or withdrawal `target_id`, or keeps an id that was never seen from being used."""
        async with self._pool.acquire() as conn:
            return await store.roll_back(
                conn, operator_id, target_id, request.transaction_id, request.fingerprint(target_id)
            )

    async def balances(self, operator_id: UUID, player: str) -> list[store.Balance] | None:
        """A player's balances; None where the operator has no such player."""
        return await store.balances(self._pool, operator_id, player)

    async def statement(
        self, operator_id: UUID, player: str, currency: str | None, before: Place | None, limit: int
    ) -> Page | None:
        """A page of a player's statement; None where the operator has no such player."""
        async with self._pool.acquire() as conn:
            return await store.statement(conn, operator_id, player, currency, before, limit)

    async def credit_payouts(self, *events: Event) -> None:
        """Handles `payouts.ready`: credits the winners of rounds, once however often their events come."""
        for part in _parts({event.id: PayoutsReady.decode(event.data) for event in events}):
            async with self._pool.acquire() as conn, conn.transaction():
                new = await new_events(conn, CONSUMER, part.keys())
                await store.credit_rounds(conn, {part[each].round_id: part[each].room for each in new})
            failpoints.reach("wallet.committed")

    async def refund_stakes(self, *events: Event) -> None:
        """Handles `round.voided`: refunds the stakes of rounds, once however often their events come."""
        # Void rounds are rare: a transaction each, which locks the accounts of one round.
        for event_id, voided in {event.id: RoundVoided.decode(event.data) for event in events}.items():
            async with self._pool.acquire() as conn, conn.transaction():
                if await new_events(conn, CONSUMER, [event_id]):
                    await store.refund_round(conn, voided.round_id, voided.room)
            failpoints.reach("wallet.committed")


def _parts(ready: dict[UUID, PayoutsReady]) -> Iterator[dict[UUID, PayoutsReady]]:
    """What is credited in one transaction: many small rounds, or a large one."""
    part: dict[UUID, PayoutsReady] = {}
    payouts_count = 0
    for event_id, each in ready.items():
        if part and payouts_count + each.payouts_count > CREDITS_MAX:
            yield part
            part, payouts_count = {}, 0
        part[event_id] = each
        payouts_count += each.payouts_count
    if part:
        yield part
