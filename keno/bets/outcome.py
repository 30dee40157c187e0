"""The outcomes of a bet. Pure.

The numbers are frozen: they are stored in nothing but are compared across versions of clients, gateways and the
database function `place_bets`. Their order is their precedence: a bet wrong in two ways always gets the lower number.
"""

from enum import IntEnum


class Outcome(IntEnum):
    """What became of a bet that was asked for."""

    ACCEPTED = 0
    DUPLICATE = 1
    """The transaction id was used for the same bet before: the answer is that of the first time."""
    CONFLICT = 2
    """The transaction id was used for another bet before, or rolled back before any bet came."""
    ROUND_NOT_FOUND = 3
    """No such room or round, or one that belongs to another operator."""
    ROUND_NOT_OPEN = 4
    ROOM_CLOSED = 5
    INVALID_PICKS = 6
    CURRENCY_NOT_OFFERED = 7
    INVALID_STAKE = 8
    PAYTABLE_NOT_OFFERED = 9
    PLAYER_BLOCKED = 10
    LIMIT_REACHED = 11
    INSUFFICIENT_FUNDS = 12
    OVERLOADED = 13
    """The queue is full: nothing was tried."""
