"""The wallet of operators whose players' balances we hold (transfer mode)."""

from uuid import UUID

import asyncpg

from keno.fairness import keno1
from keno.infra.bus import Event
from keno.infra.store import first_time
from keno.notify.events import PayoutsReady
from keno.wallet import store
from keno.wallet.request import DepositRequest

CONSUMER = "wallet"


class WalletService:
    """Deposits, balances, and the credit of wins."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def deposit(self, operator_id: UUID, player: str, request: DepositRequest) -> store.Movement:
        """Credits a player with a deposit; the same transaction id again gives the stored movement."""
        return await store.deposit(
            self._pool,
            operator_id,
            player,
            keno1.account_hash(operator_id.bytes, player),
            request.currency,
            request.amount_minor,
            request.transaction_id,
            request.fingerprint(player),
        )

    async def balances(self, operator_id: UUID, player: str) -> list[store.Balance] | None:
        """A player's balances; None where the operator has no such player."""
        return await store.balances(self._pool, operator_id, player)

    async def credit_payouts(self, event: Event) -> None:
        """Handles `payouts.ready`: credits the round's winners, once however often the event comes."""
        ready = PayoutsReady.decode(event.data)
        async with self._pool.acquire() as conn, conn.transaction():
            if await first_time(conn, CONSUMER, event.id):
                await store.credit_round(conn, ready.round_id, ready.room)
