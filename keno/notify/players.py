"""What single players are told: a live process asks for the players it has, once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from keno.bets.player_request import own_transaction_id
from keno.game.numbers import mask_picks
from keno.notify import frames, store
from keno.notify.streams import Publication

OPEN_BETS_MAX: Final = 50


def player_channel(player_id: int, currency: str) -> str:
    """The channel of a player's sessions in a currency, by the name that our processes use."""
    return f"player:{player_id}:{currency}"


class PlayerNews:
    """Frames of players, from the database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def of_ended_round(self, round_id: int, player_ids: Sequence[int]) -> list[Publication]:
        """What became of the bets that these players had in a settled or void round."""
        return [_settled(bet) for bet in await store.ended_bets(self._pool, round_id, player_ids)]

    async def of_moved_money(self, cause: str, player_ids: Sequence[int]) -> list[Publication]:
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

    async def players_of_round(self, round_id: int, player_ids: Sequence[int]) -> list[int]:
        """Those of these players who had a payout or a refund in an ended round."""
        ended = await store.ended_bets(self._pool, round_id, player_ids)
        return sorted({bet.player_id for bet in ended if bet.payout_minor})

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
