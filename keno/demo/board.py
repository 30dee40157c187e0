"""What the demo shows: a live table on a terminal, plain lines in a pipe."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from keno.money import currency, format_minor
from keno.reporting.store import RoundFigures
from keno.rounds.room_store import Round

_COMMITMENT_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class Line:
    """A round on the board. `verdict` is what the verifier said of it, empty until then."""

    round: Round
    figures: RoundFigures
    verdict: str


class Board:
    """Shows rounds, the newest first. A context manager, because a live table takes the terminal over."""

    def __init__(self, title: str, currency_code: str) -> None:
        self._title = title
        self._currency = currency(currency_code)
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._printed: set[int] = set()

    def __enter__(self) -> "Board":
        if self._live is None:
            self.say(self._title)
        else:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Prints a line above the table."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, lines: Sequence[Line], now_ms: int) -> None:
        """Shows the state of the rounds at `now_ms` by the database clock."""
        if self._live is not None:
            self._live.update(self._table(lines, now_ms), refresh=True)
            return
        for line in reversed(lines):
            if line.verdict and line.round.id not in self._printed:
                self._printed.add(line.round.id)
                self.say("  ".join(self._cells(line, now_ms)))

    def _table(self, lines: Sequence[Line], now_ms: int) -> Table:
        table = Table(title=self._title, expand=True)
        for heading in ("round", "phase", "commitment", "numbers", "bets", "staked", "paid", "verifier"):
            table.add_column(heading, justify="right" if heading in ("round", "bets", "staked", "paid") else "left")
        for line in lines:
            table.add_row(*self._cells(line, now_ms))
        return table

    def _cells(self, line: Line, now_ms: int) -> list[str]:
        shown, figures = line.round, line.figures
        return [
            f"#{shown.number}",
            _phase(shown, now_ms),
            shown.commit_hash.hex()[:_COMMITMENT_CHARACTERS] if shown.commit_hash else "",
            " ".join(f"{number:02}" for number in sorted(shown.numbers)) if shown.numbers else "",
            str(figures.bets_count),
            format_minor(figures.staked_minor, self._currency),
            format_minor(figures.paid_minor, self._currency) if shown.ended_ms else "",
            line.verdict,
        ]


def _phase(shown: Round, now_ms: int) -> str:
    if shown.phase == "open":
        return f"open, {max(shown.lock_due_ms - now_ms, 0) / 1000:.1f} s"
    if shown.phase == "locked":
        return f"locked, {max(shown.draw_due_ms - now_ms, 0) / 1000:.1f} s"
    return shown.phase
