"""A player's statement: the entries of the ledger that changed a balance, newest first, and places to go on from. Pure.

Entries stand by the instant of their movement or bet. A win stands directly above its bet, at the bet's place: so it
is found by the bet, and a page that has been read stays what it was but for wins that came since.
"""

import re
from dataclasses import dataclass

from keno.requests import ID_MAX

_PLACE = re.compile(r"(0|[1-9][0-9]{0,18})-([01])-(0|[1-9][0-9]{0,18})-([01])")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands; the greater, the newer. `movement` is 0 for bets and their wins, 1 for all else;
    `entry_id` is the id of the bet or the movement; `win` is 1 for a win.
    """

    at_ms: int
    movement: int
    entry_id: int
    win: int

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """The place that `str()` spells like this; None for anything else."""
        found = _PLACE.fullmatch(text)
        if found is None:
            return None
        at_ms, movement, entry_id, win = map(int, found.groups())
        return cls(at_ms, movement, entry_id, win) if max(at_ms, entry_id) <= ID_MAX else None

    @classmethod
    def above(cls, at_ms: int) -> "Place":
        """Above every entry of an instant and before."""
        return cls(at_ms, 1, ID_MAX, 1)

    @classmethod
    def below(cls, at_ms: int) -> "Place":
        """Below every entry of an instant and after."""
        return cls(at_ms, 0, 0, 0)

    @property
    def bets_to(self) -> int:
        """The greatest id that a bet of the same instant can have and stand below. A bet stands below its win."""
        return ID_MAX if self.movement else self.entry_id - 1 + self.win

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.movement}-{self.entry_id}-{self.win}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger: `change_minor` is what it did to the balance. Wins and refunds have no transaction id of
    the caller; bets and wins are entries by themselves and have no wallet transaction.
    """

    kind: str
    currency: str
    change_minor: int
    created_ms: int
    transaction_id: str | None
    wallet_transaction_id: int | None
    bet_id: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, newest first, and the place before which the next page begins; None at the end. A page may be shorter
    than asked for, or empty, and not be the last: in a long time without a bet the search pauses.
    """

    entries: list[Entry]
    next_before: Place | None
