"""A movement of money as an operator asks for it. Pure."""

from typing import Literal

import msgspec

from keno.requests import AmountMinor, CurrencyCode, TransactionId, decode_as, fingerprint

MovementKind = Literal["deposit", "withdrawal"]


class MovementRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money for a player's account, which is opened with it, or from there."""

    transaction_id: TransactionId
    amount_minor: AmountMinor
    currency: CurrencyCode

    def fingerprint(self, kind: MovementKind, player: str) -> bytes:
        """BLAKE3 of what is asked for."""
        return fingerprint(kind, player, self.amount_minor, self.currency)


class RollbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rollback of a transaction; the id is the rollback's own."""

    transaction_id: TransactionId

    def fingerprint(self, target_id: str) -> bytes:
        """BLAKE3 of what is asked for."""
        return fingerprint("rollback", target_id)


_movement_decoder = msgspec.json.Decoder(MovementRequest)
_rollback_decoder = msgspec.json.Decoder(RollbackRequest)


def decode_movement(body: bytes) -> MovementRequest:
    """The deposit or withdrawal in `body`; raises RequestError."""
    return decode_as(_movement_decoder, body)


def decode_rollback(body: bytes) -> RollbackRequest:
    """The rollback in `body`; raises RequestError."""
    return decode_as(_rollback_decoder, body)
