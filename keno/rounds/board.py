"""`keno rounds`: what stands in each room, as a live table on a terminal and as one plain line a room in a pipe.

Only shows. The figures are those of `RoomService.standings`, read anew a second apart until it is stopped.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from keno.rounds.room_store import Standing
from keno.rounds.service import BETS_SHOWN_MAX, RoomService

_EVERY_S = 1.0
_HEADINGS = ("room", "round", "phase", "locks in", "bets", "last draw", "skipped", "void")


async def show_rooms(rooms: RoomService, name: str | None, *, json: bool, stop: asyncio.Event) -> None:
    """Shows all rooms, or the one of a name: once in a pipe or as JSON lines, until `stop` on a terminal.

    Raises RoomError where there is no room of that name.
    """
    console = Console()
    if json or not console.is_terminal:
        for each in await rooms.standings(name):
            print(as_json(each) if json else "  ".join(cells(each)))  # noqa: T201
        return
    with Live(table(await rooms.standings(name)), console=console, auto_refresh=False) as live:
        while not await _stopped(stop):
            live.update(table(await rooms.standings(name)), refresh=True)


def as_json(standing: Standing) -> str:
    """A room as a JSON object; `numbers` are an array."""
    return msgspec.json.encode(asdict(standing) | {"numbers": _numbers(standing)}).decode()


def table(standings: Sequence[Standing]) -> Table:
    """All rooms as a table for a terminal."""
    shown = Table(*_HEADINGS)
    for each in standings:
        shown.add_row(*cells(each))
    return shown


def cells(standing: Standing) -> tuple[str, ...]:
    """A room in words, in the order of the headings."""
    numbers = _numbers(standing)
    return (
        standing.room,
        "-" if standing.number is None else str(standing.number),
        standing.phase or standing.status if standing.status == "open" else f"{standing.phase or '-'} (room closed)",
        "-" if standing.locks_in_ms is None else f"{max(standing.locks_in_ms, 0) / 1000:.1f} s",
        f"{standing.bets_count}{'+' if standing.bets_count == BETS_SHOWN_MAX else ''}",
        "-" if numbers is None else f"{standing.drawn_number}: {' '.join(map(str, numbers))}",
        str(standing.skipped_count),
        str(standing.void_count),
    )


def _numbers(standing: Standing) -> list[int] | None:
    return None if standing.numbers is None else list(standing.numbers)


async def _stopped(stop: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_EVERY_S):
            await stop.wait()
    except TimeoutError:
        return False
    return True
