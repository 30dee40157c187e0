"""Runs the demo: everything in one process, players at its door, and the verifier on every round."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno.bootstrap import Platform, platform
from keno.config import Config
from keno.demo.board import Board, Line
from keno.demo.players import Crowd, OperatorClient
from keno.fairness.beacons.drand import DrandClient
from keno.game import rules
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.identity.operators import Operator
from keno.reporting.audit import verify
from keno.reporting.store import RoundFigures, round_figures
from keno.rounds.room_store import Room, Round, database_now_ms
from keno.rounds.service import GUARD_MS, default_limits
from keno.up import run_all

log = structlog.get_logger()

_NAME = "demo"
_CURRENCY = "EUR"
_PROFILE = "94"
_PERIOD_MS = 5_000
_LOCK_LEAD_MS = 1_000
_PLAYERS = 12
_ROUNDS_SHOWN = 12
_REFRESH_S = 0.25


@dataclass(slots=True)
class Progress:
    """What the verifier has said so far, by round id. Rounds up to `last_number` were there before."""

    last_number: int
    verdicts: dict[int, str] = field(default_factory=dict)
    verified_count: int = 0
    failed: bool = False

    def take(self, round_id: int, number: int, bets_count: int, complaints: Sequence[str]) -> None:
        """Notes the verdict on a round; it counts where the round is new, right and was bet on."""
        self.verdicts[round_id] = complaints[0] if complaints else "verified"
        self.failed = self.failed or bool(complaints)
        if not complaints and bets_count and number > self.last_number:
            self.verified_count += 1


async def run_demo(config: Config, rounds: int | None, evidence_dir: Path, stop: asyncio.Event) -> bool:
    """Plays until `stop` or until `rounds` new rounds with bets were verified; returns whether everything held."""
    config = _on_free_port(config)
    async with platform(config, stop) as services:
        progress = Progress(await _last_number(services))
        async with asyncio.TaskGroup() as group:
            everything = group.create_task(run_all(services, stop))
            try:
                held = await _play(services, rounds, progress, evidence_dir, stop)
            finally:
                stop.set()
            await everything
    return held


async def _last_number(services: Platform) -> int:
    """The number of the newest round that an earlier run left, 0 where there was none."""
    room = await services.rooms.room_named(_NAME)
    newest = [] if room is None else await services.rooms.rounds(room.id, limit=1)
    return newest[0].number if newest else 0


async def _play(
    services: Platform, rounds: int | None, progress: Progress, evidence_dir: Path, stop: asyncio.Event
) -> bool:
    operator, room = await _operator(services), await _room(services)
    client = await _client(services, operator)
    crowd = Crowd(client, room.id, _CURRENCY, [f"player-{index:02}" for index in range(1, _PLAYERS + 1)])
    enough = asyncio.Event()
    origin = services.config.public_origins[0]
    title = f"Keno demo: {_PLAYERS} players, a round every {_PERIOD_MS / 1000:g} s, RTP {_PROFILE} %, {origin}"
    beacon = services.beacon_chain.name
    with Board(title, _CURRENCY) as board:
        board.say(f"fairness profile B, drawn with a beacon after each lock: {beacon}")
        playing = asyncio.create_task(crowd.play(enough))
        try:
            while not stop.is_set() and not progress.failed and (rounds is None or progress.verified_count < rounds):
                await _refresh(services, room, board, progress, evidence_dir)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _REFRESH_S)
                if playing.done():
                    await playing
        finally:
            enough.set()
            await asyncio.gather(playing, return_exceptions=stop.is_set())
            await client.close()
        board.say("answers to the players: " + ", ".join(f"{n} x {code}" for code, n in crowd.answers.most_common()))
        return await _audit(services, board) and not progress.failed


async def _refresh(services: Platform, room: Room, board: Board, progress: Progress, evidence_dir: Path) -> None:
    shown = await services.rooms.rounds(room.id, limit=_ROUNDS_SHOWN)
    figures = await round_figures(services.pool, [each.id for each in shown], _CURRENCY)
    for each in reversed(shown):
        if each.phase == "settled" and each.id not in progress.verdicts and not figures[each.id].uncredited_count:
            await _verify(services, each, figures[each.id], progress, evidence_dir)
    now_ms = await database_now_ms(services.pool)
    board.show([Line(each, figures[each.id], progress.verdicts.get(each.id, "")) for each in shown], now_ms)


async def _verify(
    services: Platform, settled: Round, figures: RoundFigures, progress: Progress, evidence_dir: Path
) -> None:
    bundle = await services.evidence.bundle(settled.id, auditor=True)
    assert bundle is not None, "a settled round has evidence"  # noqa: S101
    await asyncio.to_thread(_keep, evidence_dir / f"{_NAME}-{settled.number:06}.jsonl", bundle)
    complaints = await verify(bundle, await _own_copy(services, bundle))
    progress.take(settled.id, settled.number, figures.bets_count, complaints)


async def _own_copy(services: Platform, bundle: bytes) -> bytes:
    """The beacon of a round as an auditor fetches it: from the beacon itself, and not from whoever runs the game."""
    line = next(each for each in map(msgspec.json.decode, bundle.splitlines()) if each["type"] == "round")
    if not line["beacon_round"]:
        return b""
    async with DrandClient(services.beacon_chain, services.config.beacon_urls) as client:
        signature = await client.fetch(line["beacon_round"])
    return msgspec.json.encode({"round": line["beacon_round"], "signature": (signature or b"").hex()}) + b"\n"


def _keep(path: Path, bundle: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bundle)


async def _audit(services: Platform, board: Board) -> bool:
    report = await services.audit.run(full=True)
    for finding in report.findings:
        if not finding.broken_by:
            continue
        board.say(f"audit: {finding.invariant}: {finding.statement} Broken by {'; '.join(finding.broken_by)}")
    if report.is_clean:
        board.say("audit: every invariant holds")
    return report.is_clean


async def _operator(services: Platform) -> Operator:
    return await services.identity.operator(_NAME) or await services.identity.add_operator(
        _NAME, [_CURRENCY], actor=_NAME
    )


async def _room(services: Platform) -> Room:
    room = await services.rooms.room_named(_NAME)
    if room is not None:
        return room
    paytable = shipped_paytable(_PROFILE)
    return await services.rooms.add(
        _NAME,
        period_ms=_PERIOD_MS,
        lock_lead_ms=_LOCK_LEAD_MS,
        room_rules=rules.build(
            profile="B",
            guard_ms=GUARD_MS,
            beacon_chain=services.beacon_chain.hash.hex(),
            rtp_bounds=rtp_profile(_PROFILE).rtp_bounds,
            paytables=[paytable.hash],
            currencies={_CURRENCY: default_limits(_CURRENCY)},
        ),
        paytables=[paytable],
        actor=_NAME,
    )


async def _client(services: Platform, operator: Operator) -> OperatorClient:
    """A client with a key of its own. A key lives as long as a run: those of earlier runs are revoked."""
    for key in await services.identity.keys(operator.id):
        if key.revoked_ms is None:
            await services.identity.revoke_key(key.id, actor=_NAME)
    private_key = Ed25519PrivateKey.generate()
    public_key = private_key.public_key().public_bytes_raw()
    key = await services.identity.add_ed25519_key(
        operator.id, f"{_NAME}-{public_key.hex()[:16]}", public_key, actor=_NAME
    )
    return OperatorClient(services.config.public_origins[0], key.id, private_key)


def _on_free_port(config: Config) -> Config:
    """The configuration, with ports that nobody listens on where the usual ones are taken."""
    ports = (config.port, config.live_port, config.beacon_port)
    port, live_port, beacon_port = (_free_port(config.host, each) for each in ports)
    urls = (f"http://{config.host}:{beacon_port}",)
    # Its own beacon, whatever is configured: the demo needs no network.
    config = replace(config, beacon="local", live_port=live_port, beacon_port=beacon_port, beacon_urls=urls)
    if port == config.port:
        return config
    return replace(config, port=port, public_origins=(f"http://{config.host}:{port}",))


def _free_port(host: str, port: int) -> int:
    for candidate in (port, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, candidate))
            return int(probe.getsockname()[1])
    return port
