"""What a player may bet in one round, as an operator asks for it. Pure; `place_bets()` holds to it."""

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


_decoder = msgspec.json.Decoder(PlayerLimits)


def decode_limits(body: bytes) -> PlayerLimits:
    """The request in `body`; raises RequestError."""
    return decode_as(_decoder, body)
