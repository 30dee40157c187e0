"""A bet as a player asks for it in a session: the session says who bets and in which currency. Pure.

Players share their operator's series of transaction ids, and must not be able to take an id of the operator's or of
another player. So the id is kept as `~PLAYER_ID~ID`, where PLAYER_ID is our number of the player; players see and send
only their own part.
"""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from keno.bets.request import AskedBet, BetRequest, checked
from keno.requests import AmountMinor, DecimalId, HashHex, decode_as, quoted_fields, refuse_repeated_fields

OwnTransactionId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,40}\Z")]
"""With the longest player id it is as long as a transaction id may be."""


class PlayerBetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bet of a session's player; see BetRequest."""

    transaction_id: OwnTransactionId
    picks: list[int]
    stake_minor: AmountMinor
    room: UUID | None = None
    round: DecimalId | None = None
    paytable: HashHex | None = None


_decoder = msgspec.json.Decoder(PlayerBetRequest)
_FIELDS: Final = quoted_fields(PlayerBetRequest)


def decode_player_bet(body: bytes, player_id: int, player: str, currency: str) -> AskedBet:
    """The bet in `body` as its operator's player would place it; raises RequestError."""
    asked = decode_as(_decoder, body)
    refuse_repeated_fields(body, _FIELDS)
    return checked(
        BetRequest(
            transaction_id=_prefix(player_id) + asked.transaction_id,
            player=player,
            picks=asked.picks,
            stake_minor=asked.stake_minor,
            currency=currency,
            room=asked.room,
            round=asked.round,
            paytable=asked.paytable,
        )
    )


def own_transaction_id(player_id: int, transaction_id: str | None) -> str | None:
    """The player's own part of an id; None where the id is not the player's, but its operator's."""
    prefix = _prefix(player_id)
    if transaction_id is None or not transaction_id.startswith(prefix):
        return None
    return transaction_id.removeprefix(prefix)


def _prefix(player_id: int) -> str:
    return f"~{player_id}~"
