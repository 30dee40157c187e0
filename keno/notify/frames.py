"""The frames of the live stream, as JSON: what clients send, and what they are sent. Pure.

Frames of clients are read strictly. Ids are decimal strings, hashes lower-case hex, money integers of minor units,
times UTC milliseconds. A frame of a channel has the channel's name and its number `seq` there; the numbers of a channel
have no gaps. What is here holds no outcome that is not public: frames are made from committed events only.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from keno.requests import DecimalId, HashHex

CHANNELS_MAX: Final = 16
"""Channels that a connection may follow at once."""
PLAYER_CHANNEL: Final = "player"
"""The channel of whoever is logged in, by the name that its client uses."""

ChannelName = Annotated[
    str, Meta(pattern=r"^(player|room:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\Z")
]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]
RequestId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,40}\Z")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}\Z")]


# ---- what clients send ----


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    id: RequestId | None = None


class Authenticate(_Asked, frozen=True, tag="authenticate"):
    """The first frame of a player: an access token, or a ticket that is good once."""

    token: Annotated[str, Meta(max_length=2_048)] | None = None
    ticket: Annotated[str, Meta(max_length=128)] | None = None


class Spectate(_Asked, frozen=True, tag="spectate"):
    """The first frame of somebody without a login, who may follow shared rooms and nothing else."""


class Subscribe(_Asked, frozen=True, tag="subscribe"):
    """Channels to follow; `after` names the last frame that the client has of some of them."""

    channels: Annotated[list[ChannelName], Meta(min_length=1, max_length=CHANNELS_MAX)]
    after: dict[ChannelName, Seq] = {}


class Unsubscribe(_Asked, frozen=True, tag="unsubscribe"):
    """Channels to follow no longer."""

    channels: Annotated[list[ChannelName], Meta(min_length=1, max_length=CHANNELS_MAX)]


class Bet(_Asked, frozen=True, tag="bet"):
    """A bet with the fields of `POST /v1/player/bets`, answered as there."""

    bet: msgspec.Raw


class Ping(_Asked, frozen=True, tag="ping"):
    """Answered with `pong`, for clients that cannot send a ping of the protocol."""


Asked = Authenticate | Spectate | Subscribe | Unsubscribe | Bet | Ping


# ---- what they are sent ----


class ToldFrame(msgspec.Struct, frozen=True, tag_field="type", kw_only=True, omit_defaults=True):
    """A frame to one connection; `id` is that of the request it answers."""

    id: RequestId | None = None


class Welcome(ToldFrame, frozen=True, tag="welcome"):
    """Who the connection is for; after a ticket also the session's first tokens."""

    session: dict[str, Any] | None = None
    tokens: dict[str, Any] | None = None


class Subscribed(ToldFrame, frozen=True, tag="subscribed"):
    """The channels that are followed from now on; what was missed came before this frame."""

    channels: list[ChannelName]


class Unsubscribed(ToldFrame, frozen=True, tag="unsubscribed"):
    """The channels that are not followed any more."""

    channels: list[ChannelName]


class Pong(ToldFrame, frozen=True, tag="pong"):
    """The answer to `ping`."""


class Problem(ToldFrame, frozen=True, tag="problem"):
    """A frame that was refused, with the problem that the same request has over HTTP."""

    status: int
    problem: msgspec.Raw


class BetAnswer(ToldFrame, frozen=True, tag="bet.answer"):
    """A bet that stands, as the answer of `POST /v1/player/bets`."""

    status: Literal[201]
    replayed: bool
    bet: msgspec.Raw


class RoundName(msgspec.Struct, frozen=True):
    """A round: its id, and its number in its room."""

    id: DecimalId
    number: int


class ChannelFrame(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """A frame of a channel."""

    channel: ChannelName = ""
    seq: Seq = 0


class RoundOpened(ChannelFrame, frozen=True, tag="round.opened"):
    """A round is on sale; `commit` binds us to its seed."""

    round: RoundName
    commit: HashHex
    opened_ms: int
    lock_due_ms: int
    draw_due_ms: int


class RoundLocked(ChannelFrame, frozen=True, tag="round.locked"):
    """No bet can join any more: `lock` commits to the root and the number of the bets."""

    round: RoundName
    lock: HashHex
    bets_root: HashHex
    bets_count: int
    lock_ms: int


class RoundDrawn(ChannelFrame, frozen=True, tag="round.drawn"):
    """The 20 numbers."""

    round: RoundName
    numbers: Annotated[list[int], Meta(min_length=20, max_length=20)]


class RoundSettled(ChannelFrame, frozen=True, tag="round.settled"):
    """The payouts stand, and the seed opens the commitment."""

    round: RoundName
    seed: HashHex
    bets_count: int


class RoundVoided(ChannelFrame, frozen=True, tag="round.voided"):
    """The round ended without a draw; stakes go back."""

    round: RoundName
    seed: HashHex
    reason: int
    bets_count: int


class RoundSkipped(ChannelFrame, frozen=True, tag="round.skipped"):
    """A slot that nobody opened in time."""

    number: int


class BetAccepted(ChannelFrame, frozen=True, tag="bet.accepted"):
    """A bet of the player stands."""

    bet: dict[str, Any]


class BetSettled(ChannelFrame, frozen=True, tag="bet.settled"):
    """What a bet has won; of a void round what goes back, with hits null."""

    bet_id: DecimalId
    transaction_id: str | None
    round: RoundName
    room: Uuid
    hits: int | None
    payout_minor: int
    currency: str


class Balance(ChannelFrame, frozen=True, tag="balance"):
    """The balance in the session's currency."""

    balance_minor: int
    currency: str


class Snapshot(ChannelFrame, frozen=True, tag="snapshot"):
    """Where a channel stands at `seq`: for who joins, and where what was missed is not kept any more (`gap`)."""

    reason: Literal["joined", "gap"]
    rounds: list[dict[str, Any]] | UnsetType = UNSET
    balance_minor: int | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    open_bets: list[dict[str, Any]] | UnsetType = UNSET


OfChannel = (
    RoundOpened
    | RoundLocked
    | RoundDrawn
    | RoundSettled
    | RoundVoided
    | RoundSkipped
    | BetAccepted
    | BetSettled
    | Balance
    | Snapshot
)
Told = Welcome | Subscribed | Unsubscribed | Pong | Problem | BetAnswer | OfChannel

asked_decoder: Final = msgspec.json.Decoder(Asked)
_encoder: Final = msgspec.json.Encoder()


def encode(frame: Told) -> bytes:
    """A frame as it is sent to one connection."""
    return _encoder.encode(frame)


def numbered(channel: str, seq: int, body: bytes) -> bytes:
    """The frame of a channel from its body, which is a JSON object without `channel` and `seq`."""
    return b'{"channel":"%b","seq":%d,%b' % (channel.encode(), seq, body[1:])


def body_of(frame: OfChannel) -> bytes:
    """The body of a channel's frame, the same for every number it may get."""
    members = msgspec.to_builtins(frame)
    del members["channel"], members["seq"]
    return _encoder.encode(members)


def room_channel(room: object) -> str:
    """The channel of a room by its id."""
    return f"room:{room}"
