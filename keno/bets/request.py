"""A bet as a caller asks for it. Pure.

Only the form is judged here: that the fields are there and of the right kind, and the picks and the stake could be some
bet's. Whether the round takes it is decided in the transaction that stores it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID

import msgspec

from keno.game.numbers import PicksError, picks_mask, picks_masks
from keno.phrases import phrase_of, said
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
    fingerprints,
    quoted_fields,
    refuse_repeated_fields,
)

AskedBet = tuple["BetRequest", bytes]
"""A bet whose form is right, and its picks as a mask of 10 bytes."""


class BetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One bet. Names either a room, whose round on sale is taken, or a round; no paytable stands for the room's
    first.
    """

    transaction_id: str
    player: str
    picks: list[int]
    stake_minor: AmountMinor
    currency: str
    room: UUID | None = None
    round: str | None = None
    paytable: str | None = None

    @property
    def round_id(self) -> int | None:
        """The round as a number."""
        return None if self.round is None else int(self.round)

    def fingerprint(self, mask: bytes) -> bytes:
        """BLAKE3 of what is asked for, in which the order of the picks (`mask`) does not matter."""
        return request_fingerprints([(self, mask)])[0]


class StrictBet(BetRequest, frozen=True, forbid_unknown_fields=True, gc=False):
    """A bet with all that can be said about its texts: decodes a bet alone, with an error that names the field."""

    transaction_id: TransactionId
    player: PlayerReference
    picks: list[int]
    stake_minor: AmountMinor
    currency: CurrencyCode
    room: UUID | None = None
    round: DecimalId | None = None
    paytable: HashHex | None = None


BATCH_BETS_MAX = 1_000
_BatchSize = msgspec.Meta(min_length=1, max_length=BATCH_BETS_MAX)


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bets: Annotated[list[BetRequest], _BatchSize]


class _RawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bets: Annotated[list[msgspec.Raw], _BatchSize]


_decoder = msgspec.json.Decoder(StrictBet)
_plain_decoder = msgspec.json.Decoder(BetRequest)
_batch_decoder = msgspec.json.Decoder(_Batch)
_raw_batch_decoder = msgspec.json.Decoder(_RawBatch)

_FIELDS: Final = quoted_fields(BetRequest)
_BATCH_FIELDS: Final = quoted_fields(_Batch)
# The patterns of keno.requests for many texts at once, one a line: a pattern a text costs more than the rest of a bet.
_TRANSACTION_IDS: Final = re.compile(r"(?:[\x21-\x7e]{1,64}\n)+")
_PLAYERS: Final = re.compile(r"(?:[^\x00-\x1f\x7f]{1,64}\n)+")
_Shared = tuple[frozenset[CurrencyCode], frozenset[DecimalId | None], frozenset[HashHex | None]]
_TRANSACTION_ID: Final = re.compile(r"[\x21-\x7e]{1,64}")
_PLAYER: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
# The names and texts of the four fields with a text, room or round among them, and two more names. A paytable is two
# more; anything above is a field given twice, or a null.
_STRINGS_A_BET: Final = 2 * 4 + 2
_KNOWN_MAX: Final = 4_096


def decode(body: bytes) -> AskedBet:
    """The bet in `body`; raises RequestError."""
    try:
        bet = _plain_decoder.decode(body)
        (mask,) = picks_masks([bet.picks])
    except _NOT_ORDINARY:
        return _strict(body)
    names_one = (bet.room is None) != (bet.round is None)
    if (
        names_one
        and _has_strings(body, _STRINGS_A_BET + (0 if bet.paytable is None else 2))
        and _TRANSACTION_ID.fullmatch(bet.transaction_id)
        and _PLAYER.fullmatch(bet.player)
        and _is_shared(bet.currency, bet.round, bet.paytable)
    ):
        return bet, mask
    return _strict(body)


def decode_batch(body: bytes) -> Sequence[AskedBet | RequestError]:
    """The bets of a batch (1 to BATCH_BETS_MAX), or what is wrong with the form of one, in their order.

    Raises RequestError where the batch as a whole is wrong.
    """
    try:
        ordinary = _ordinary(body, _batch_decoder.decode(body).bets, strings=1)
    except _NOT_ORDINARY:
        ordinary = None
    return _one_by_one(body) if ordinary is None else ordinary


def request_fingerprints(asked: Sequence[AskedBet]) -> list[bytes]:
    """The fingerprint of each bet."""
    return fingerprints(
        [
            (bet.player, mask.hex(), bet.stake_minor, bet.currency, bet.room, bet.round, bet.paytable)
            for bet, mask in asked
        ]
    )


def checked(request: BetRequest) -> AskedBet:
    """A request whose fields fit together; raises RequestError."""
    if (request.room is None) == (request.round is None):
        raise RequestError("invalid_request", "name either a room or a round", "round")
    if request.round_id is not None and request.round_id > ID_MAX:
        raise RequestError("invalid_request", said("a round id is at most {most}", most=ID_MAX), "round")
    try:
        mask = picks_mask(request.picks)
    except PicksError as error:
        raise RequestError("invalid_picks", phrase_of(error), "picks") from None
    return request, mask


def _strict(body: bytes) -> AskedBet:
    """A bet in `body`, or the error that says best what is wrong with it."""
    request = decode_as(_decoder, body)
    asked = checked(BetRequest(*msgspec.structs.astuple(request)))
    refuse_repeated_fields(body, _FIELDS)
    return asked


def _one_by_one(body: bytes) -> list[AskedBet | RequestError]:
    bets = decode_as(_raw_batch_decoder, body).bets
    refuse_repeated_fields(body, _BATCH_FIELDS)
    asked: list[AskedBet | RequestError] = []
    for bet in bets:
        try:
            asked.append(_strict(bytes(bet)))
        except RequestError as error:
            asked.append(error)
    return asked


_NOT_ORDINARY: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PicksError)


def _ordinary(body: bytes, bets: Sequence[BetRequest], *, strings: int) -> list[AskedBet] | None:
    """Bets in `body` that nothing is wrong or unusual with, at a quarter of the cost; else None, or an error.

    `strings` is how many strings stand in `body` beside the bets.
    """
    masks = picks_masks([bet.picks for bet in bets])
    rounds, paytables = [bet.round for bet in bets], [bet.paytable for bet in bets]
    rooms_count, rounds_count = (len(bets) - [bet.room for bet in bets].count(None), len(bets) - rounds.count(None))
    if rooms_count + rounds_count != len(bets) or (rounds_count and not _name_one(bets)):
        return None
    paytables_count = len(bets) - paytables.count(None)
    if not _has_strings(body, strings + _STRINGS_A_BET * len(bets) + 2 * paytables_count):
        return None
    if not _are_lines([bet.transaction_id for bet in bets], _TRANSACTION_IDS):
        return None
    if not _are_lines([bet.player for bet in bets], _PLAYERS):
        return None
    if not _are_shared(frozenset([bet.currency for bet in bets]), frozenset(rounds), frozenset(paytables)):
        return None
    return list(zip(bets, masks, strict=True))


def _has_strings(body: bytes, count: int) -> bool:
    """Whether just so many strings stand in JSON, names of fields among them, and none has an escape."""
    return body.count(b'"') == 2 * count and b"\\" not in body


def _name_one(bets: Sequence[BetRequest]) -> bool:
    return all((bet.room is None) != (bet.round is None) for bet in bets)


def _are_lines(texts: Sequence[str], lines: re.Pattern[str]) -> bool:
    joined = "\n".join(texts) + "\n"
    return joined.count("\n") == len(texts) and lines.fullmatch(joined) is not None


@lru_cache(_KNOWN_MAX)
def _is_shared(currency: str, round_id: str | None, paytable: str | None) -> bool:
    return _are_shared(frozenset((currency,)), frozenset((round_id,)), frozenset((paytable,)))


@lru_cache(_KNOWN_MAX)
def _are_shared(currencies: frozenset[str], rounds: frozenset[str | None], paytables: frozenset[str | None]) -> bool:
    """Whether these are right. Bets have them in common, also over many requests."""
    try:
        msgspec.convert((currencies, rounds, paytables), _Shared)
    except msgspec.ValidationError:
        return False
    return all(each is None or int(each) <= ID_MAX for each in rounds)
