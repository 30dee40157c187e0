"""The commands about anchors of the log on Ethereum: the key that pays for them, and the contract that takes them."""

from __future__ import annotations

import hashlib

from cyclopts import App

from keno import config
from keno.bootstrap import ethereum_chain, platform
from keno.errors import ConfigError, KenoError
from keno.fairness.anchor import fees

anchor = App(name="anchor", help="Anchors of the log on Ethereum.")

_GWEI = 1_000_000_000


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(anchor)


@anchor.command(name="deploy")
async def deploy() -> int:
    """Deploy the contract for this log with the account of ethereum.key, and print its address: KENO_ETHEREUM_CONTRACT.

    It needs KENO_ETHEREUM_RPC_URL and KENO_ETHEREUM_CHAIN_ID, and waits until the contract is mined.
    """
    settings = config.load()
    if settings.ethereum is None:
        raise ConfigError("KENO_ETHEREUM_RPC_URL is not set: there is no chain to deploy on")
    async with platform(settings) as services:
        await services.log_keys.load()
        log_key = await services.log.key()
        if log_key is None:
            raise KenoError("the log has no key")
        async with ethereum_chain(settings) as chain:
            cap_wei = _GWEI * settings.ethereum.max_fee_gwei
            offered = fees.first(await chain.base_fee_wei(), await chain.tip_wei(), cap_wei)
            made = await chain.deploy(hashlib.sha256(log_key.encode()).digest(), offered)
    print(f"contract     0x{made.contract.hex()}")  # noqa: T201
    print(f"owner        {chain.owner}")  # noqa: T201
    print(f"transaction  0x{made.transaction_hash.hex()}, {made.gas_used} gas")  # noqa: T201
    return 0


@anchor.command(name="address")
async def show_address() -> int:
    """Print the address of the account of ethereum.key, which pays for anchors and owns the contract it deploys."""
    async with ethereum_chain(config.load()) as chain:
        print(chain.owner)  # noqa: T201
    return 0
