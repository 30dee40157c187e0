"""The forms of requests with many fields, for type checkers. The server says what is wrong with one."""

from typing import NotRequired, TypedDict


class PlayerBetRequest(TypedDict):
    """A bet in a session, on the round on sale in a room or on a round; the room's first paytable by default."""

    transaction_id: str
    picks: list[int]
    stake_minor: int
    room: NotRequired[str]
    round: NotRequired[str]
    paytable: NotRequired[str]


class BetRequest(PlayerBetRequest):
    """The same of an operator, which says whose bet it is and in which currency."""

    player: str
    currency: str
