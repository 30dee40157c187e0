"""The commands about the vault's keys. They run where the vault runs, with its configuration."""

from __future__ import annotations

from cyclopts import App

from keno import config
from keno.bootstrap import lone_vault, vault_keys
from keno.errors import ConfigError
from keno.infra.key_providers import renew_file

vault = App(name="vault", help="The keys of the vault, where the vault runs.")


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(vault)


@vault.command(name="key")
def show_key(*, new: bool = False) -> int:
    """Print the id of the key that wraps epoch keys.

    Parameters
    ----------
    new
        Make a new vault.key first, and keep the one there as vault-ID.key. Afterwards restart the vault, and then run
        keno vault rewrap.
    """
    loaded = config.load()
    if new:
        if loaded.vault_key is not None:
            raise ConfigError("KENO_VAULT_KEY is no file: set it anew, and add the old key to KENO_VAULT_OLD_KEYS")
        _, old_id = renew_file(loaded.keys_dir)
        print(f"the key of before: {old_id}")  # noqa: T201
    keys = vault_keys(loaded, create=False)
    print(keys.key_id)  # noqa: T201
    keys.close()
    return 0


@vault.command(name="rewrap")
async def rewrap() -> int:
    """Wrap the keys of all epochs under way anew, under the current key; afterwards no older key is needed."""
    loaded = config.load()
    async with lone_vault(loaded) as opened:
        rewrapped, others = await opened.rewrap_keys()
    print(f"{rewrapped} epoch keys wrapped anew; {others} were under the current key")  # noqa: T201
    return 0
