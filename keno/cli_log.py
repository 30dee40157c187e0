"""The commands about the public log: its key, the monitor that follows it, and a witness of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cyclopts import App, Parameter, validators

from keno import config, monitor
from keno.bootstrap import platform
from keno.errors import KenoError
from keno.fairness.log.note import ED25519, VerifierKey
from keno.fairness.log.witness import Witness, holding, serving
from keno.infra.keyfiles import load_key
from workers.runner import stop_on_signals

log = App(name="log", help="The public log.")


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(log)
    app.command(follow, name="monitor", help_flags=[])
    app.command(run_witness, name="witness")


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


async def run_witness(
    name: str,
    *,
    folder: Path,
    log_key: list[str],
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65_535))] = 8090,
) -> int:
    """Cosign the checkpoints of logs, and remember them in a folder; prints the witness's key. Make the folder first.

    The witness's own key is made in the folder if it is missing.
    """
    logs = [VerifierKey.parse(text) for text in log_key]
    if any(key.kind != ED25519 for key in logs):
        raise KenoError("--log-key is the key of a log (keno log key)")
    with holding(folder):
        private = Ed25519PrivateKey.from_private_bytes(load_key(folder / "witness.key", create=True))
        witness = Witness(name, private, logs, folder / "seen.json")
        print(witness.key.text, flush=True)  # noqa: T201
        async with stop_on_signals() as stop:
            with serving(witness, host, port):
                await stop.wait()
    return 0
