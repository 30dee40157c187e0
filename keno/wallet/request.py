"""A movement of money as an operator asks for it. Pure."""

import msgspec

from keno.requests import AmountMinor, CurrencyCode, TransactionId, decode_as, fingerprint


class DepositRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money for a player's account, which is opened with it."""

    transaction_id: TransactionId
    amount_minor: AmountMinor
    currency: CurrencyCode

    def fingerprint(self, player: str) -> bytes:
        """BLAKE3 of what is asked for."""
        return fingerprint("deposit", player, self.amount_minor, self.currency)


_decoder = msgspec.json.Decoder(DepositRequest)


def decode_deposit(body: bytes) -> DepositRequest:
    """The request in `body`; raises RequestError."""
    return decode_as(_decoder, body)
