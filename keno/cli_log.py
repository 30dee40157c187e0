"""The commands about the public log: its key, and the monitor that follows it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from keno import config, monitor
from keno.bootstrap import platform
from keno.errors import KenoError

log = App(name="log", help="The public log.")


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(log)
    app.command(follow, name="monitor", help_flags=[])


@log.command(name="key")
async def show_key() -> int:
    """Print the key by which the log's checkpoints are believed, as keno-verify and the monitor take it."""
    async with platform(config.load()) as services:
        await services.log_keys.load()
        found = await services.log.key()
    if found is None:
        raise KenoError("the log has no key")
    print(found)  # noqa: T201
    return 0


def follow(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Follow a public log: keno monitor URL --key KEY [--state FILE] [--once]; see keno monitor --help."""
    return monitor.main(arguments)
