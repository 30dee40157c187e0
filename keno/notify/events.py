"""The payloads of the events on the broker, versioned. Pure.

A payload is JSON with its schema version in `v`; the routing key names its kind. Readers take the version they know and
ignore fields they do not. They are written where they become true, in the SQL of their transaction.
"""

from typing import ClassVar, Literal

import msgspec


class _RoundEvent(msgspec.Struct, frozen=True):
    v: Literal[1]
    round: str
    room: str

    @property
    def round_id(self) -> int:
        """The round's id as a number; on the wire it is a decimal string."""
        return int(self.round)


class PayoutsReady(_RoundEvent, frozen=True):
    """The payouts of a settled round are stored and wait for their credit."""

    routing_key: ClassVar[str] = "payouts.ready"
    payouts_count: int

    @classmethod
    def decode(cls, data: bytes) -> "PayoutsReady":
        """Raises msgspec.ValidationError for anything else."""
        return msgspec.json.decode(data, type=cls)


class RoundSettled(_RoundEvent, frozen=True):
    """A round has been settled; its seed is public."""

    routing_key: ClassVar[str] = "round.settled"
    number: int
    seed: str
    bets_count: int

    @classmethod
    def decode(cls, data: bytes) -> "RoundSettled":
        """Raises msgspec.ValidationError for anything else."""
        return msgspec.json.decode(data, type=cls)


class RoundVoided(_RoundEvent, frozen=True):
    """A round has ended without a draw, and its stakes wait for their refund; its seed is public."""

    routing_key: ClassVar[str] = "round.voided"
    number: int
    seed: str
    reason: int
    bets_count: int

    @classmethod
    def decode(cls, data: bytes) -> "RoundVoided":
        """Raises msgspec.ValidationError for anything else."""
        return msgspec.json.decode(data, type=cls)
