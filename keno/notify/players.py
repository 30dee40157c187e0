"""What single players are told: a live process asks for the players it has, once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from keno.bets.player_request import own_transaction_id
from keno.game.numbers import mask_picks
from keno.notify import frames, store
from keno.notify.service import RoundTold
from keno.notify.streams import PLAYER_FRAMES_MAX, PLAYER_KEEP_MS, Publication

OPEN_BETS_MAX: Final = 50


def player_channel(player_id: int, currency: str) -> str:
    """The channel of a player's sessions in a currency, by the name that our processes use."""
    return f"player:{player_id}:{currency}"


class PlayerNews:
    """Frames of players, from the database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def of(self, told: RoundTold, player_ids: Sequence[int]) -> list[Publication]:
        """What an ended round means for these players: their bets, or the balances that it has changed."""
        ended = await store.ended_bets(self._pool, int(told.round), player_ids)
        if not told.moved_money:
            return [_settled(bet) for bet in ended]
        return await self.balances(
            f"{told.key}:{told.round}", sorted({bet.player_id for bet in ended if bet.payout_minor})
        )

    async def balances(self, cause: str, player_ids: Sequence[int]) -> list[Publication]:
        """The balances of these players, once for each `cause`."""
        found = await store.held_balances(self._pool, player_ids)
        return [
            Publication(
                player_channel(each.player_id, each.currency),
                f"balance:{cause}",
                frames.body_of(frames.Balance(balance_minor=each.balance_minor, currency=each.currency)),
            )
            for each in found
        ]

    async def missed(self, player_id: int) -> list[Publication]:
        """The newest of a player's bets that ended as long ago as a channel of players is kept, in order."""
        ended = await store.ended_lately(self._pool, player_id, PLAYER_KEEP_MS, PLAYER_FRAMES_MAX)
        return [_settled(bet) for bet in ended]

    async def snapshot(self, player_id: int, currency: str) -> dict[str, Any]:
        """A player's balance and open bets, as the members of a snapshot."""
        held = await store.held_balances(self._pool, [player_id])
        balance_minor = next((each.balance_minor for each in held if each.currency == currency), 0)
        bets = await store.open_bets(self._pool, player_id, currency, OPEN_BETS_MAX)
        return {
            "balance_minor": balance_minor,
            "currency": currency,
            "open_bets": [_open(bet, player_id) for bet in bets],
        }


def _settled(bet: store.EndedBet) -> Publication:
    frame = frames.BetSettled(
        bet_id=str(bet.bet_id),
        transaction_id=own_transaction_id(bet.player_id, bet.transaction_id),
        round=frames.RoundName(str(bet.round_id), bet.number),
        room=str(bet.room_id),
        hits=bet.hits,
        payout_minor=bet.payout_minor,
        currency=bet.currency,
    )
    return Publication(player_channel(bet.player_id, bet.currency), f"settled:{bet.bet_id}", frames.body_of(frame))


def _open(bet: store.OpenBet, player_id: int) -> dict[str, Any]:
    return {
        "bet_id": str(bet.bet_id),
        "transaction_id": own_transaction_id(player_id, bet.transaction_id),
        "round": {"id": str(bet.round_id), "number": bet.number},
        "room": str(bet.room_id),
        "picks": mask_picks(bet.picks),
        "stake_minor": bet.stake_minor,
        "accepted_ms": bet.accepted_ms,
    }
