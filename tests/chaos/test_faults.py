"""One process a service, real servers, betting players, and a fault after another: the books stay true.

KENO_CHAOS_FAULTS says how many faults; `make chaos` asks for many, `make test` for a few. KENO_CHAOS_SEED chooses them.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg
from redis.asyncio import Redis
from support.brokers import OwnBroker
from support.installation import Installation, Told, bet, compare_books, deposit, installed

from keno.demo.players import OperatorClient
from keno.infra import failpoints
from keno.infra.embedded import EmbeddedServers

FAULTS = int(os.environ.get("KENO_CHAOS_FAULTS", "4"))
SEED = int(os.environ.get("KENO_CHAOS_SEED", "2026"))

GATEWAY = "run gateway"
VAULT, SCHEDULER, SETTLER, RELAY, STORAGE, LOG, WALLET, REPORTING = (
    f"run worker {name}" for name in ("vault", "scheduler", "settler", "relay", "storage", "log", "wallet", "reporting")
)
PROCESSES = (GATEWAY, VAULT, SCHEDULER, SETTLER, RELAY, STORAGE, LOG, WALLET, REPORTING)
FAILPOINTS = {
    "bets.committed": GATEWAY,
    "rounds.locked": SCHEDULER,
    "rounds.sealed": SCHEDULER,
    "rounds.drawn": SCHEDULER,
    "epochs.drawn": VAULT,
    "epochs.stored": VAULT,
    "epochs.published": VAULT,
    "epochs.revealed": VAULT,
    "locks.seen": VAULT,
    "seeds.released": VAULT,
    "settlement.committed": SETTLER,
    "log.appended": LOG,
    "log.signed": LOG,
    "log.published": LOG,
    "relay.published": RELAY,
    "wallet.committed": WALLET,
    "reporting.committed": REPORTING,
}
# Reached when a partition is a week old, after tampering, by a command, and with a chain: test_storage.py,
# test_vault_killed.py and test_anchor.py die there.
NOT_TODAY = {"storage.summed", "storage.detached", "locks.refused", "keys.rewrapped", "anchor.signed", "anchor.sent"}
# Beyond the lease of a scheduler, so that one that is paused wakes up replaced or expired.
PAUSE_S = 4.0

Fault = Callable[[Installation, EmbeddedServers], Awaitable[None]]


async def kill(process: str, installation: Installation, _: EmbeddedServers) -> None:
    installation.end(process, signal.SIGKILL)
    installation.start(*process.split())
    # A process that finds no server when it starts ends: it is given time to start before the next fault.
    await asyncio.sleep(PAUSE_S)


async def pause(process: str, installation: Installation, _: EmbeddedServers) -> None:
    installation.processes[process].send_signal(signal.SIGSTOP)
    await asyncio.sleep(PAUSE_S)
    installation.processes[process].send_signal(signal.SIGCONT)


async def die_at(failpoint: str, installation: Installation, _: EmbeddedServers) -> None:
    process = FAILPOINTS[failpoint]
    installation.end(process, signal.SIGKILL)
    installation.start(*process.split(), KENO_FAILPOINT=failpoint)
    for _ in range(400):
        if (status := installation.processes[process].poll()) is not None:
            assert status == -signal.SIGKILL, installation.log_tail()
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError(f"nothing came by {failpoint}: {installation.log_tail()}")
    installation.start(*process.split())


async def crash_postgres(installation: Installation, _: EmbeddedServers) -> None:
    # What `pg_ctl stop -m immediate` sends.
    pid = int((installation.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    await asyncio.sleep(1)
    await (await EmbeddedServers.start(installation.data_dir)).stop()


async def cut_sessions(_: Installation, servers: EmbeddedServers) -> None:
    owner = await asyncpg.connect(servers.database_url)
    try:
        for _ in range(20):
            await owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'keno%'")
            await asyncio.sleep(0.05)
    finally:
        await owner.close()


async def forget_everything_cached(_: Installation, servers: EmbeddedServers) -> None:
    async with Redis.from_url(servers.redis_url) as redis:
        await redis.flushall()


async def kill_rabbitmq(broker: OwnBroker, *_: object) -> None:
    await broker.remembering()
    await asyncio.to_thread(broker.kill)
    await asyncio.sleep(PAUSE_S)
    await broker.start()


def chosen_faults(taste: random.Random, broker: OwnBroker) -> list[tuple[str, Fault]]:
    """As many as asked for: first every kind and failpoint once in some order, then any."""
    kinds: list[tuple[str, Fault]] = [(f"dies at {name}", partial(die_at, name)) for name in FAILPOINTS]
    kinds += [(f"kill {name}", partial(kill, name)) for name in PROCESSES]
    kinds += [(f"pause {name}", partial(pause, name)) for name in PROCESSES]
    kinds += [("PostgreSQL crashes", crash_postgres), ("sessions are cut", cut_sessions)]
    kinds += [("Redis is emptied", forget_everything_cached), ("RabbitMQ is killed", partial(kill_rabbitmq, broker))]
    once = taste.sample(kinds, len(kinds))
    return [*once, *taste.choices(kinds, k=max(0, FAULTS - len(once)))][:FAULTS]


def test_every_failpoint_is_among_the_faults() -> None:
    assert FAILPOINTS.keys() == failpoints.NAMES - NOT_TODAY


async def test_no_fault_of_a_process_or_server_loses_or_makes_money(own_broker: OwnBroker) -> None:
    taste = random.Random(SEED)
    with installed(KENO_AMQP_URL=own_broker.url) as installation:
        private_key, room = installation.add_operator(), installation.add_room()
        servers = await EmbeddedServers.start(installation.data_dir)
        try:
            for process in PROCESSES:
                installation.start(*process.split())
            await installation.ready()
            client = OperatorClient(installation.origin, "first", private_key)
            await deposit(client)

            told = Told()
            for name, fault in chosen_faults(taste, own_broker):
                print(f"{len(told.accepted)} bets accepted; {name}")  # noqa: T201 - a long run shows where it is
                enough = asyncio.Event()
                betting = asyncio.create_task(bet(client, room, told, taste, enough))
                await asyncio.sleep(taste.uniform(0.5, 2))
                await fault(installation, servers)
                await asyncio.sleep(1)
                enough.set()
                await betting
                await installation.ready()
                await told.ask_again(client)

            assert len(told.accepted) > 10 * FAULTS
            await compare_books(client, told)
            await client.close()
            for process in PROCESSES:
                assert installation.end(process, signal.SIGTERM) == 0, installation.log_tail()
        finally:
            await servers.stop()
        audit = installation.keno("audit", "--full")
        assert audit.returncode == 0, audit.stdout
