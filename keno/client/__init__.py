"""Clients of a Keno server: an operator's, which signs, and a player's with the live stream.

`pip install keno[client]` brings what they need. They know the rules of signatures and the forms of answers and frames,
and nothing else of the server.

    ClientError
    +-- Refused           a problem: it says its code, and nothing was stored
    +-- Unanswered        no answer of the server, or only of its failures: it is not known whether it was done
    +-- NotTheirAnswer    an answer that is not signed as the server signs
    +-- UnknownAnswer     an answer that this client cannot read, as the server is newer: it may be done
    +-- StreamEnded       the live stream is over for good: the session is, or this client was not let in
"""

from keno.client.errors import ClientError, NotTheirAnswer, Refused, StreamEnded, Unanswered, UnknownAnswer
from keno.client.live import Live
from keno.client.operator import Client
from keno.client.player import Player
from keno.client.requests import BetRequest, PlayerBetRequest

__all__ = [
    "BetRequest",
    "Client",
    "ClientError",
    "Live",
    "NotTheirAnswer",
    "Player",
    "PlayerBetRequest",
    "Refused",
    "StreamEnded",
    "Unanswered",
    "UnknownAnswer",
]
