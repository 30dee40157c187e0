"""What may be bet in one round by a player, and by all of an operator's players. Pure; `place_bets()` holds to it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from keno.money import MINOR_MAX
from keno.requests import CurrencyCode, decode_as

_BETS_MAX = 1_000_000


class PlayerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most bets, and the most that all of them may stake together, in each round; null is no limit.

    They replace the player's limits in that currency. Bets that were accepted before count.
    """

    currency: CurrencyCode
    round_bets_max: Annotated[int, Meta(ge=0, le=_BETS_MAX)] | None
    round_stake_max_minor: Annotated[int, Meta(ge=0, le=MINOR_MAX)] | None


class OperatorLimits(PlayerLimits, frozen=True):
    """The limits of each of an operator's players, and of its rounds: the largest exposure is the most that all of its
    bets in a round, in this currency, may win together if each won the most it can.
    """

    round_exposure_max_minor: Annotated[int, Meta(ge=0, le=MINOR_MAX)] | None = None


_decoder = msgspec.json.Decoder(PlayerLimits)
_operator_decoder = msgspec.json.Decoder(OperatorLimits)


def decode_limits(body: bytes) -> PlayerLimits:
    """The request in `body`; raises RequestError."""
    return decode_as(_decoder, body)


def decode_operator_limits(body: bytes) -> OperatorLimits:
    """The limits in `body`; raises RequestError."""
    return decode_as(_operator_decoder, body)
