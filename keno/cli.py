"""The `keno` command. Exit codes: 0 good, 1 bad (the message says what), 2 wrong use.

What serves is imported by the commands that serve: the web framework takes longer to load than most commands run.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import msgspec
import uvloop
from cyclopts import App, Parameter, validators

from keno import cli_access, cli_anchor, cli_log, cli_paytable, cli_rng, cli_room, cli_texts, cli_vault, config
from keno.bets.limits import decode_operator_limits
from keno.bootstrap import Platform, platform
from keno.cli_rng import hex_bytes
from keno.errors import ConfigError, KenoError
from keno.infra.arrival import reach_database
from keno.infra.bus import DeadEvent
from keno.infra.migrate import migrate
from keno.infra.telemetry import configure_logging
from keno.reporting.audit import Report
from keno.reporting.store import log_action
from workers import vault
from workers.group import WORKERS, run_workers, subscribe_all
from workers.runner import stop_on_signals

app = App(
    name="keno",
    help="A provably fair keno game server.",
    result_action="sys_exit",
    # No --empty-OPTION beside an option that is given several times.
    default_parameter=Parameter(negative_iterable=()),
)
run = app.command(App(name="run", help="Run one process."))
operator = app.command(App(name="operator", help="Operators and their keys."))
dead = app.command(App(name="dead", help="Events that a consumer could not take."))
cli_access.register(app, operator)
cli_log.register(app)
cli_anchor.register(app)
cli_paytable.register(app)
cli_rng.register(app)
cli_room.register(app)
cli_texts.register(app)
cli_vault.register(app)

_ACTOR = "command line"
_OTHER_VERSION = ": the database is not of this version; keno migrate brings an older one to it"
_HINTS: Final[dict[type[BaseException], str]] = {
    asyncpg.UndefinedTableError: _OTHER_VERSION,
    asyncpg.UndefinedColumnError: _OTHER_VERSION,
    asyncpg.UndefinedFunctionError: _OTHER_VERSION,
    asyncpg.InsufficientPrivilegeError: ": the URL of the database names a role that may not do this",
}
_GC_THRESHOLD = 50_000


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point of the `keno` command, whose arguments are those of the process unless others are given."""
    failed = False
    try:
        app(arguments)
    except* (
        KenoError,
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.UndefinedFunctionError,
        asyncpg.InsufficientPrivilegeError,
    ) as errors:  # one that a worker raised comes in a group
        for error in _each(errors):
            _complain(f"{error}{_HINTS.get(type(error), '')}")
        failed = True
    if failed:
        sys.exit(1)


@app.command
def up() -> int:
    """Run everything in one process, on its own servers unless the environment names others."""
    from keno.up import run_all

    return _serve(run_all)


@run.command(name="gateway")
def run_the_gateway() -> int:
    """Run the gateway."""
    from keno.up import run_gateway

    return _serve(run_gateway)


@run.command(name="lane")
def run_the_lane() -> int:
    """Run the bet lane: the calls that place bets, on KENO_LANE_PORT, for a proxy to put before the gateway."""
    from keno.up import run_lane

    return _serve(run_lane)


@run.command(name="live")
async def run_the_live_stream() -> int:
    """Run the live stream."""
    from keno.up import run_live

    async with _serving() as (services, stop):
        await run_live(services, stop)
    return 0


@run.command(name="beacon")
async def run_the_beacon() -> int:
    """Run the local beacon, which speaks drand's HTTP and is not public: for demonstrations and tests."""
    from keno.up import run_beacon

    async with _serving() as (services, stop):
        await run_beacon(services, stop)
    return 0


@run.command(name="worker")
def run_a_worker(name: str) -> int:
    """Run one worker: vault, scheduler, beacons, settler, relay, storage, log, anchor, wallet, reporting or
    notifier."""
    if name not in WORKERS:
        _complain(f"there is no worker {name}: it is one of {', '.join(WORKERS)}")
        return 2
    if name == "vault":
        return _run(_run_the_vault())

    async def work(services: Platform, stop: asyncio.Event) -> None:
        if services.config.amqp_url is None and name in ("relay", "wallet", "reporting", "notifier"):
            raise ConfigError(f"the worker {name} alone needs KENO_AMQP_URL: without it events stay in one process")
        if name == "anchor" and not services.config.anchors:
            raise ConfigError("the worker anchor needs KENO_ETHEREUM_RPC_URL and KENO_ETHEREUM_CONTRACT")
        await run_workers(services, [name], stop)

    return _serve(work)


async def _run_the_vault() -> None:
    configure_logging()
    async with stop_on_signals() as stop:
        keep_what_is_there()
        await vault.run_alone(config.load(), stop)


@app.command(name="migrate")
async def migrate_database() -> int:
    """Bring the schema of KENO_OWNER_DATABASE_URL up to date."""
    configured = config.load()
    owner_url = configured.owner_database_url
    if owner_url is None:
        raise ConfigError("KENO_OWNER_DATABASE_URL names the database to migrate; the embedded one migrates itself")
    configure_logging()
    await reach_database("KENO_OWNER_DATABASE_URL", lambda: migrate(owner_url), patience_s=configured.start_patience_s)
    return 0


@operator.command(name="add")
async def add_operator(name: str, *, currency: list[str]) -> int:
    """Add an operator with its currencies, and print its id."""
    async with platform(config.load()) as services:
        added = await services.identity.add_operator(name, currency, actor=_ACTOR)
    print(added.id)  # noqa: T201
    return 0


@operator.command(name="limit")
async def limit_operator(
    name: str,
    *,
    bets_per_second: int | None = None,
    currency: str | None = None,
    round_bets_max: int | None = None,
    round_stake_max_minor: int | None = None,
    round_exposure_max_minor: int | None = None,
) -> int:
    """Limit how many bets a second an operator may send; or, in a currency, what each of its players may bet in a
    round and what all bets of a round may win together at most.

    Given a currency, the limits in it are replaced: those that are not given are lifted.
    """
    of_round = {
        "round_bets_max": round_bets_max,
        "round_stake_max_minor": round_stake_max_minor,
        "round_exposure_max_minor": round_exposure_max_minor,
    }
    if currency is None and (bets_per_second is None or any(limit is not None for limit in of_round.values())):
        _complain("give --bets-per-second, or --currency and the limits of a round in it")
        return 2
    asked = msgspec.json.encode({"currency": currency, **of_round})
    limits = None if currency is None else decode_operator_limits(asked)
    async with platform(config.load()) as services:
        found = await services.identity.operator(name)
        if found is None:
            raise KenoError(f"there is no operator named {name}")
        if limits is not None and currency not in found.currencies:
            raise KenoError(f"{name} does not have {currency}: it has {', '.join(found.currencies)}")
        if bets_per_second is not None:
            await services.identity.limit_rate(found.id, bets_per_second, actor=_ACTOR)
        if limits is not None:
            await services.bets.limit_operator(found.id, limits, actor=_ACTOR)
    return 0


@operator.command(name="key")
async def add_operator_key(name: str, key_id: str, *, ed25519: str | None = None, hmac: bool = False) -> int:
    """Add a key to an operator: its Ed25519 public key in hex, or a new HMAC secret, which is printed this once."""
    if (ed25519 is None) != hmac:
        _complain("give either --ed25519 PUBLIC_KEY or --hmac")
        return 2
    public_key = b"" if ed25519 is None else hex_bytes("--ed25519", ed25519, 32)
    async with platform(config.load()) as services:
        found = await services.identity.operator(name)
        if found is None:
            raise KenoError(f"there is no operator named {name}")
        if hmac:
            print((await services.identity.add_hmac_key(found.id, key_id, actor=_ACTOR)).hex())  # noqa: T201
        else:
            await services.identity.add_ed25519_key(found.id, key_id, public_key, actor=_ACTOR)
    return 0


@dead.command(name="list")
async def list_dead_events(*, json: bool = False) -> int:
    """Show the dead events, the longest dead first; it moves none of them."""
    async with platform(config.load()) as services:
        found = await services.dead_letters.dead()
    for each in found:
        print(msgspec.json.encode(each).decode() if json else _dead_line(each))  # noqa: T201
    if not found and not json:
        print("no event is dead")  # noqa: T201
    return 0


@dead.command(name="replay")
async def replay_dead_events(*ids: str, all: bool = False) -> int:
    """Give dead events, by their ids or all of them, back to the consumers they died of."""
    if bool(ids) == all:
        _complain("name the events to replay, or give --all")
        return 2
    configure_logging(level="error")
    async with platform(config.load()) as services:
        subscribe_all(services)
        asked = [each for each in await services.dead_letters.dead() if all or each.id in ids]
        replayed = await services.dead_letters.replay(None if all else ids)
        for each in replayed:
            await log_action(
                services.pool, _ACTOR, "event.replayed", each.id, {"consumer": each.consumer, "reason": each.reason}
            )
            print(f"replayed {_dead_line(each)}")  # noqa: T201
    unknown = set(ids) - {each.id for each in asked}
    for each_id in sorted(unknown):
        _complain(f"no dead event has the id {each_id}")
    failed = [each for each in asked if each not in replayed]
    for each in failed:
        _complain(f"still dead: {_dead_line(each)}")
    return 1 if unknown or failed else 0


@app.command
async def audit(*, full: bool = False, renew: bool = False, json: bool = False) -> int:
    """Check every invariant of money and rounds; exit 1 where one is broken.

    Parameters
    ----------
    full
        Read everything, and not only what came since the last audit that found everything right.
    renew
        Forget that audit, and read everything: after a restore, or when --full found the checkpoint wrong.
    json
        Print JSON, one object a line: the invariants, and then what was audited.
    """
    async with platform(config.load()) as services:
        report = await services.audit.run(full=full, renew=renew)
    for finding in report.findings:
        if json:
            print(msgspec.json.encode(finding).decode())  # noqa: T201
            continue
        print(f"{'BROKEN' if finding.broken_by else 'ok    '} {finding.invariant}: {finding.statement}")  # noqa: T201
        for row in finding.broken_by:
            print(f"       {row}")  # noqa: T201
    summary = {name: getattr(report, name) for name in ("since_ms", "rounds_count", "is_clean", "is_extended")}
    print(msgspec.json.encode(summary).decode() if json else _audit_line(report))  # noqa: T201
    return 0 if report.is_clean else 1


def _audit_line(report: Report) -> str:
    what = "everything" if report.since_ms is None else f"what came since {_utc_text(report.since_ms)}"
    after = "the next audit goes on from here" if report.is_extended else "the checkpoint stays where it is"
    return f"audited {what}, {report.rounds_count} ended rounds; {after}"


def _utc_text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


@app.command
async def demo(*, rounds: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None) -> int:
    """Play with simulated players and verify every round, for ever or for a number of rounds."""
    from keno.demo.run import run_demo

    configure_logging(level="warning")
    async with stop_on_signals() as stop:
        return 0 if await run_demo(config.load(), rounds, Path("demo-evidence"), stop) else 1


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[Platform, asyncio.Event]]:
    """The services of a process that serves, and the event that ends it."""
    configure_logging()
    async with stop_on_signals() as stop, platform(config.load(), stop) as services:
        yield services, stop


def _serve(server: Callable[[Platform, asyncio.Event], Awaitable[None]]) -> int:
    async def serve() -> None:
        async with _serving() as (services, stop):
            keep_what_is_there()
            await server(services, stop)

    return _run(serve())


def _run(serving: Coroutine[object, object, None]) -> int:
    uvloop.run(serving)
    return 0


def keep_what_is_there() -> None:
    """For a process that serves: what it has by now stays, and neither a request nor a round leaves anything behind
    that the garbage collector would have to look for often.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def _each(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error


def _dead_line(event: DeadEvent) -> str:
    at = _utc_text(event.dead_ms)
    return (
        f"{event.id} of {event.consumer or 'nobody'}, {event.routing_key} of {event.aggregate}, at {at}: {event.reason}"
    )


def _complain(message: str) -> None:
    print(f"keno: {message}", file=sys.stderr)  # noqa: T201
