"""The commands about rooms, and what stands in them."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from keno import config
from keno.bootstrap import platform
from keno.errors import KenoError
from keno.game import rules
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.rounds.board import show_rooms
from keno.rounds.service import GUARD_MS, Fairness, Offer, default_limits
from workers.runner import stop_on_signals

room = App(name="room", help="Rooms.")
_ACTOR = "command line"


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(room)
    app.command(rounds)


@room.command(name="add")
async def add_room(
    name: str,
    *,
    period_ms: int = 5_000,
    lock_lead_ms: int = 1_000,
    rtp: Literal["92", "94", "96"] = "94",
    currency: list[str],
    round_win_max_minor: Annotated[
        dict[str, int] | None, Parameter(help="--round-win-max-minor.EUR 6000000: what a player can win in a round")
    ] = None,
    operator: str | None = None,
    profile: rules.FairnessProfile = "S",
    guard_ms: int = GUARD_MS,
) -> int:
    """Open a room with the shipped paytable of an RTP profile and default limits, and print its id.

    Parameters
    ----------
    profile
        S: seed only. E: a beacon an epoch. B: a beacon after each lock, for a period of 3 s or more.
    guard_ms
        How long after the lock, in E after the epoch's opening, the beacon's round comes at least.
    """
    limits, round_maxima = {code: default_limits(code) for code in currency}, round_win_max_minor or {}
    if not round_maxima.keys() <= limits.keys():
        raise KenoError(f"the room does not offer {', '.join(sorted(round_maxima.keys() - limits.keys()))}")
    offered = shipped_paytable(rtp)
    async with platform(config.load()) as services:
        room_rules = rules.build(
            profile=profile,
            guard_ms=guard_ms,
            beacon_chain=None if profile == "S" else services.beacon_chain.hash.hex(),
            rtp_bounds=rtp_profile(rtp).rtp_bounds,
            paytables=[offered.hash],
            currencies={
                code: msgspec.structs.replace(usual, round_win_max_minor=round_maxima.get(code))
                for code, usual in limits.items()
            },
        )
        owner = await services.identity.operator(operator) if operator else None
        if operator and owner is None:
            raise KenoError(f"there is no operator named {operator}")
        added = await services.rooms.add(
            name,
            period_ms=period_ms,
            lock_lead_ms=lock_lead_ms,
            room_rules=room_rules,
            paytables=[offered],
            operator_id=owner.id if owner else None,
            actor=_ACTOR,
        )
    print(added.id)  # noqa: T201
    return 0


@room.command(name="set")
async def set_room(
    name: str,
    *,
    period_ms: int | None = None,
    lock_lead_ms: int | None = None,
    rtp: Literal["92", "94", "96"] | None = None,
    currency: list[str] | None = None,
    profile: rules.FairnessProfile | None = None,
    guard_ms: int | None = None,
) -> int:
    """Change a room from its next slot on, all but what is not given; the round on sale keeps its terms."""
    if all(each is None for each in (period_ms, lock_lead_ms, rtp, currency, profile, guard_ms)):
        print(  # noqa: T201
            "keno: say what to change: --period-ms, --lock-lead-ms, --rtp, --currency, --profile or --guard-ms",
            file=sys.stderr,
        )
        return 2
    offer = None if rtp is None else Offer(rtp_profile(rtp).rtp_bounds, [shipped_paytable(rtp)])
    async with platform(config.load()) as services:
        terms = await services.rooms.set(
            name,
            period_ms=period_ms,
            lock_lead_ms=lock_lead_ms,
            offer=offer,
            currencies=currency,
            fairness=Fairness(profile, guard_ms),
            actor=_ACTOR,
        )
    print(f"from its next slot on: period {terms.period_ms} ms, lock lead {terms.lock_lead_ms} ms")  # noqa: T201
    return 0


@room.command(name="close")
async def close_room(name: str) -> int:
    """Take a room out of sale; its open round is still played, and no other opens."""
    async with platform(config.load()) as services:
        await services.rooms.close(name, actor=_ACTOR)
    return 0


async def rounds(*, room: str | None = None, json: bool = False) -> int:
    """Show what stands in each room: a live table on a terminal, plain lines in a pipe."""
    async with stop_on_signals() as stop, platform(config.load()) as services:
        await show_rooms(services.rooms, room, json=json, stop=stop)
    return 0
