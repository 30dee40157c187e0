"""The launch of a player as an operator asks for it, and what is asked with tickets and refresh tokens. Pure."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from keno.money import MINOR_MAX
from keno.requests import CurrencyCode, PlayerReference, decode_as

_ROUND_BETS_MAX = 1_000_000

Locale = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?\Z")]
"""A language of BCP 47 with its script and region, in their usual spelling: `pt`, `pt-BR`, `zh-Hant-TW`."""


class LaunchLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the player may bet in a round, as in `keno.bets.limits`, in the currency of the launch; null is no limit."""

    round_bets_max: Annotated[int, Meta(ge=0, le=_ROUND_BETS_MAX)] | None
    round_stake_max_minor: Annotated[int, Meta(ge=0, le=MINOR_MAX)] | None


class LaunchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A player who is to play in a currency. `room` is where the client begins; without `limits` they stay as set."""

    player: PlayerReference
    currency: CurrencyCode
    room: UUID | None = None
    locale: Locale = "en"
    limits: LaunchLimits | None = None


class ExchangeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ticket for tokens."""

    ticket: Annotated[str, Meta(max_length=128)]


class RefreshRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh token for its successor, or for the end of its session."""

    refresh_token: Annotated[str, Meta(max_length=128)]


_launch_decoder = msgspec.json.Decoder(LaunchRequest)
_exchange_decoder = msgspec.json.Decoder(ExchangeRequest)
_refresh_decoder = msgspec.json.Decoder(RefreshRequest)


def decode_launch(body: bytes) -> LaunchRequest:
    """The launch in `body`; raises RequestError."""
    return decode_as(_launch_decoder, body)


def decode_exchange(body: bytes) -> ExchangeRequest:
    """The exchange in `body`; raises RequestError."""
    return decode_as(_exchange_decoder, body)


def decode_refresh(body: bytes) -> RefreshRequest:
    """The refresh or logout in `body`; raises RequestError."""
    return decode_as(_refresh_decoder, body)
