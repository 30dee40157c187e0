"""The commands about paytables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.table import Table

from keno.game import paytable, rtp

tables = App(name="paytable", help="Paytables.")


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(tables)


@tables.command(name="rtp")
def paytable_rtp(file: Annotated[Path, Parameter(validator=validators.Path(exists=True, dir_okay=False))]) -> int:
    """Print what a paytable returns, exactly."""
    parsed = paytable.parse(file.read_bytes())
    shown = Table(title=f"{parsed.name} version {parsed.version}, SHA-256 {parsed.hash.hex()}")
    for heading in ("picks", "RTP", "exact", "hit frequency", "standard deviation", "top win", "multipliers by hits"):
        shown.add_column(heading, justify="left" if heading == "multipliers by hits" else "right")
    for row in rtp.describe(parsed):
        shown.add_row(
            str(row.picks),
            rtp.percent_text(row.rtp),
            f"{row.rtp.numerator}/{row.rtp.denominator}",
            rtp.percent_text(row.hit_frequency),
            f"{float(row.variance) ** 0.5:.3f}",
            f"{float(row.top_multiplier):,g} x",
            " ".join(f"{float(multiplier):g}" for multiplier in row.multipliers),
        )
    console = Console()
    console.print(shown, width=None if console.is_terminal else 200)
    return 0
