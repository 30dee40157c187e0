"""The contract on one Ethereum chain and the account that owns it, through a node's JSON-RPC.

The node is believed: it is the operator's own choice, and auditors ask theirs. All that goes wrong with it is one
error, which passes by itself and never shows the node's URL, since that holds a password more often than not. Only this
file needs web3, which is an extra. Not here: what is sent when (`anchorer.py`).
"""

# ruff: noqa: E402 - the limit has to be read before web3 is imported

import sys

_depth_max = sys.getrecursionlimit()

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3Exception, Web3RPCError

from keno.fairness.anchor.chain import (
    ChainUnavailableError,
    Deployed,
    Head,
    Receipt,
    RefusedError,
    Signed,
    WrongChainError,
)
from keno.fairness.anchor.fees import Fees

# py_ecc, which web3 brings, raises it so far that deeply nested input could then crash the process.
sys.setrecursionlimit(_depth_max)

TIMEOUT_S: Final = 10.0
_DEPLOY_TIMEOUT_S: Final = 900.0
# What is estimated may cost a little more in another block.
_GAS_MARGIN_NUMERATOR, _GAS_MARGIN_DENOMINATOR = 5, 4
_KNOWN: Final = ("already known", "already imported", "known transaction")

_artifact: Final = json.loads(Path(__file__).with_name("LogAnchor.json").read_text(encoding="ascii"))
RUNTIME_CODE: Final = bytes.fromhex(_artifact["runtime_code"])


class EthereumChain:
    """Made by `open_chain`. `contract` is an address of 20 bytes."""

    def __init__(self, web3: AsyncWeb3[Any], chain_id: int, private_key: bytes, contract: bytes | None) -> None:
        self._eth = web3.eth
        self.id = chain_id
        self._account: LocalAccount = Account.from_key(private_key)
        self._address = contract
        made = web3.eth.contract(abi=_artifact["abi"], bytecode=_artifact["creation_code"])
        self._factory = made
        self._contract = made(web3.to_checksum_address(contract or bytes(20)))

    @property
    def owner(self) -> str:
        """The address of the account that signs."""
        return str(self._account.address)

    @property
    def contract(self) -> bytes:
        """The contract's address; nothing but `deploy` works without one."""
        assert self._address is not None, "a chain without a contract is for deploying one"  # noqa: S101
        return self._address

    async def check(self) -> None:
        """Raises WrongChainError unless the node is of this chain and the contract is ours."""
        await self._check_id()
        with _asking():
            code = bytes(await self._eth.get_code(self._contract.address))
        if code != RUNTIME_CODE:
            raise WrongChainError("what stands at the contract's address is not the contract of LogAnchor.json")

    async def _check_id(self) -> None:
        with _asking():
            found = await self._eth.chain_id
        if found != self.id:
            raise WrongChainError(f"the node is of chain {found}, and KENO_ETHEREUM_CHAIN_ID says {self.id}")

    async def head(self) -> Head:
        """The newest block."""
        with _asking():
            block = await self._eth.get_block("latest")
            size = await self._contract.functions.size().call(block_identifier=block["number"])
        return Head(block["number"], block["baseFeePerGas"], size)

    async def block_hash(self, number: int) -> bytes | None:
        """The hash of a block by its number; None beyond the newest."""
        with _asking():
            try:
                return bytes((await self._eth.get_block(number))["hash"])
            except BlockNotFound:
                return None

    async def next_nonce(self) -> int:
        """The nonce of the account's next transaction, as the newest block has it."""
        with _asking():
            return await self._eth.get_transaction_count(self._account.address, "latest")

    async def tip_wei(self) -> int:
        """What proposers take for a unit of gas at present."""
        with _asking():
            return await self._eth.max_priority_fee

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Where a transaction was mined; None where it is in no block."""
        with _asking():
            try:
                found = await self._eth.get_transaction_receipt(HexBytes(transaction_hash))
            except TransactionNotFound:
                return None
        return Receipt(found["status"] == 1, found["blockNumber"], bytes(found["blockHash"]), found["gasUsed"])

    async def gas(self, size: int, root: bytes) -> int:
        """Gas enough to anchor this root. Raises RefusedError where the contract would not take it."""
        call = self._contract.functions.anchor(size, root)
        with _asking():
            try:
                # Not on what is pending: our own transaction may be.
                found = await call.estimate_gas({"from": self._account.address}, block_identifier="latest")
            except ContractLogicError as error:
                raise RefusedError(_text(error)) from None
        return found * _GAS_MARGIN_NUMERATOR // _GAS_MARGIN_DENOMINATOR

    def sign(self, nonce: int, fees: Fees, gas: int, size: int, root: bytes) -> Signed:
        """The transaction that anchors a root. Sends nothing; valid on this chain only."""
        data = self._contract.encode_abi("anchor", args=[size, root])
        return self._sign({"to": self._contract.address, "data": data, "gas": gas, "nonce": nonce}, fees)

    async def send(self, raw: bytes) -> str | None:
        """Gives a transaction to the node; None where it took it or had it, else why not."""
        with _asking():
            try:
                await self._eth.send_raw_transaction(raw)
            except Web3RPCError as error:
                why = _text(error)
                return None if any(words in why.lower() for words in _KNOWN) else why
        return None

    async def deploy(self, log_hash: bytes, fees: Fees) -> Deployed:
        """Deploys the contract for a log (the SHA-256 of its key's text), and waits until it is mined."""
        await self._check_id()
        made = self._factory.constructor(log_hash)
        with _asking():
            try:
                gas = await made.estimate_gas({"from": self._account.address})
            except ContractLogicError as error:
                raise RefusedError(_text(error)) from None
            nonce = await self._eth.get_transaction_count(self._account.address, "pending")
            signed = self._sign({"data": made.data_in_transaction, "gas": gas, "nonce": nonce}, fees)
            await self._eth.send_raw_transaction(signed.raw)
            mined = await self._eth.wait_for_transaction_receipt(HexBytes(signed.hash), timeout=_DEPLOY_TIMEOUT_S)
        address = mined["contractAddress"]
        if mined["status"] != 1 or address is None:
            raise RefusedError("the chain did not accept the contract")
        return Deployed(bytes.fromhex(address.removeprefix("0x")), signed.hash, mined["gasUsed"])

    async def base_fee_wei(self) -> int:
        """The base fee of the newest block."""
        with _asking():
            return (await self._eth.get_block("latest"))["baseFeePerGas"]

    def _sign(self, transaction: dict[str, Any], fees: Fees) -> Signed:
        priced = {"maxFeePerGas": fees.max_fee_wei, "maxPriorityFeePerGas": fees.tip_wei}
        signed = self._account.sign_transaction({**transaction, **priced, "value": 0, "chainId": self.id})
        return Signed(bytes(signed.hash), bytes(signed.raw_transaction))


@asynccontextmanager
async def open_chain(
    rpc_url: str, chain_id: int, private_key: bytes, contract: bytes | None
) -> AsyncIterator[EthereumChain]:
    """Connects when first asked; closes its connections at the end."""
    # It tells the node's URL when it connects and leaves.
    logging.getLogger("web3").setLevel(logging.WARNING)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    provider = AsyncHTTPProvider(rpc_url, {"timeout": timeout}, exception_retry_configuration=None)
    try:
        yield EthereumChain(AsyncWeb3(provider), chain_id, private_key, contract)
    finally:
        await provider.disconnect()


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except Web3Exception as error:
        raise ChainUnavailableError(_text(error)) from None
    except aiohttp.ClientResponseError as error:
        raise ChainUnavailableError(f"the node answered with HTTP status {error.status}") from None
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        # The last two are answers that are no JSON, or lack what they must have.
        raise ChainUnavailableError(f"the node gave no answer: {type(error).__name__}") from None


def _text(error: Web3Exception) -> str:
    response = getattr(error, "rpc_response", None)
    stated = response.get("error") if isinstance(response, dict) else None
    message = stated.get("message") if isinstance(stated, dict) else None
    return str(message or error)[:300]
