"""The frames of the live stream as clients read them: those of `frames.py`, with the REST API's objects spelled out.

The server puts these objects into frames as the bytes or members that it has; their forms are for the AsyncAPI
document, for clients, and for the tests that hold the stream against them. Pure.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from keno import shapes
from keno.notify import frames


class Welcome(frames.ToldFrame, frozen=True, tag="welcome"):
    """Who the connection is for; after a ticket also the session's first tokens."""

    session: shapes.SessionState | None = None
    tokens: shapes.FirstTokens | None = None


class Problem(frames.ToldFrame, frozen=True, tag="problem"):
    """A frame that was refused, with the problem that the same request has over HTTP."""

    status: int
    problem: shapes.ProblemDetails


class BetAnswer(frames.ToldFrame, frozen=True, tag="bet.answer"):
    """A bet that stands, as the answer of `POST /v1/player/bets`."""

    status: Literal[201]
    replayed: bool
    bet: shapes.PlacedBet


class BetAccepted(frames.ChannelFrame, frozen=True, tag="bet.accepted"):
    """A bet of the player stands."""

    bet: shapes.PlacedBet


class Snapshot(frames.ChannelFrame, frozen=True, tag="snapshot"):
    """Where a channel stands at `seq`: for who joins, and where what was missed is not kept any more (`gap`)."""

    reason: Literal["joined", "gap"]
    rounds: list[shapes.Round] | UnsetType = UNSET
    balance_minor: int | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    open_bets: list[shapes.OpenBet] | UnsetType = UNSET


OfChannel = (
    frames.RoundOpened
    | frames.RoundLocked
    | frames.RoundDrawn
    | frames.RoundSettled
    | frames.RoundVoided
    | frames.RoundSkipped
    | BetAccepted
    | frames.BetSettled
    | frames.Balance
    | Snapshot
)
Told = Welcome | frames.Subscribed | frames.Unsubscribed | frames.Pong | Problem | BetAnswer | OfChannel

decoder: Final = msgspec.json.Decoder(Told)
