"""A bet as a caller asks for it. Pure.

Only the form is judged here: that the fields are there and of the right kind, and the picks and the stake could be some
bet's. Whether the round takes it is decided in the transaction that stores it.
"""

from typing import Annotated
from uuid import UUID

import msgspec

from keno.game.numbers import PicksError, picks_mask
from keno.requests import (
    ID_MAX,
    AmountMinor,
    CurrencyCode,
    DecimalId,
    HashHex,
    PlayerReference,
    RequestError,
    TransactionId,
    decode_as,
    fingerprint,
)


class BetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bet. Names either a room, whose round on sale is taken, or a round; no paytable stands for the room's
    first.
    """

    transaction_id: TransactionId
    player: PlayerReference
    picks: list[int]
    stake_minor: AmountMinor
    currency: CurrencyCode
    room: UUID | None = None
    round: DecimalId | None = None
    paytable: HashHex | None = None

    @property
    def round_id(self) -> int | None:
        """The round as a number."""
        return None if self.round is None else int(self.round)

    def fingerprint(self, mask: bytes) -> bytes:
        """BLAKE3 of what is asked for, in which the order of the picks (`mask`) does not matter."""
        return fingerprint(
            self.player, mask.hex(), self.stake_minor, self.currency, self.room, self.round, self.paytable
        )


BATCH_BETS_MAX = 1_000


class _BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bets: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=BATCH_BETS_MAX)]


_decoder = msgspec.json.Decoder(BetRequest)
_batch_decoder = msgspec.json.Decoder(_BatchRequest)


def decode(body: bytes) -> tuple[BetRequest, bytes]:
    """The request in `body` and its picks as a mask of 10 bytes; raises RequestError."""
    return checked(decode_as(_decoder, body))


def checked(request: BetRequest) -> tuple[BetRequest, bytes]:
    """A request whose fields fit together, and its picks as a mask of 10 bytes; raises RequestError."""
    if (request.room is None) == (request.round is None):
        raise RequestError("invalid_request", "name either a room or a round", "round")
    if request.round_id is not None and request.round_id > ID_MAX:
        raise RequestError("invalid_request", f"a round id is at most {ID_MAX}", "round")
    try:
        return request, picks_mask(request.picks)
    except PicksError as error:
        raise RequestError("invalid_picks", str(error), "picks") from None


def split_batch(body: bytes) -> list[bytes]:
    """The bets of a batch (1 to BATCH_BETS_MAX), each still to be decoded by itself; raises RequestError."""
    return [bytes(bet) for bet in decode_as(_batch_decoder, body).bets]
