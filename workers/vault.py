"""Releases seeds against locks; beside that opens epochs, publishes the keys of ended ones and reports second locks."""

import asyncio
import resource

from keno.bootstrap import Platform, lone_vault
from keno.config import Config
from keno.fairness.vault import Vault
from workers import health, runner


async def run(platform: Platform, stop: asyncio.Event) -> None:
    """Runs the vault beside other workers until `stop`."""
    async with platform.vault(stop) as vault:
        await _work(vault, stop)


async def run_alone(config: Config, stop: asyncio.Event) -> None:
    """Runs the vault in a process of its own until `stop`: it reads no key and reaches no server but its own."""
    # A core file would have keys in it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    async with lone_vault(config, stop) as vault:
        with health.serving_if_asked(config):
            await _work(vault, stop)


async def _work(vault: Vault, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.run("vault", vault.release, stop))
        group.create_task(runner.run("vault's epochs", vault.keep_epochs, stop))
