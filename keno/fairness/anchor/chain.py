"""What a chain says and how it fails, as values. Not here: who asks it (`ethereum.py`)."""

from dataclasses import dataclass

from keno.errors import KenoError


class ChainUnavailableError(KenoError, ConnectionError):
    """The node gave no answer that can be used; it may later."""


class WrongChainError(ChainUnavailableError):
    """The node is of another chain, or another contract stands at the address: nothing is sent there."""


class RefusedError(KenoError):
    """The contract would refuse the call; the message says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block, and how many entries the contract's newest root was over there."""

    number: int
    base_fee_wei: int
    size: int


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be sent: its hash, and what goes over the wire."""

    hash: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction was mined, and whether the contract accepted it."""

    succeeded: bool
    block_number: int
    block_hash: bytes
    gas_used: int


@dataclass(frozen=True, slots=True)
class Deployed:
    """A new contract: its address, and the transaction that made it."""

    contract: bytes
    transaction_hash: bytes
    gas_used: int
