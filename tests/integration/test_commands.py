"""The command line on real servers: dead events shown and given back, and what an operator's players may bet."""

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import asyncpg
import httpx
from aio_pika.exceptions import PublishError
from support.events import PATIENCE_S
from support.installation import PLAYERS, Installation, deposit, installed
from support.loop_thread import LoopThread

from keno.demo.players import OperatorClient
from keno.infra import cloudevents, store
from keno.infra.bus import Event
from keno.infra.embedded import EmbeddedServers
from keno.infra.rabbit_dead import RabbitDeadLetters

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def _poison(number: int = 1) -> Event:
    """An event whose version no handler knows."""
    return Event(uuid.uuid4(), "payouts.ready", f"room:{number}", 1_790_000_000_000, b'{"v": 99}')


async def _publish(url: str, namespace: str, events: list[Event]) -> None:
    """As soon as a worker has made its queue."""
    async with asyncio.timeout(PATIENCE_S), await aio_pika.connect(url) as connection:
        message = aio_pika.Message(cloudevents.encode(events))
        while True:
            channel = await connection.channel(on_return_raises=True)
            try:
                await channel.default_exchange.publish(message, f"{namespace}.wallet")
            except PublishError:
                await asyncio.sleep(0.2)
            else:
                return


async def _until_dead(url: str, namespace: str, count: int) -> None:
    async with asyncio.timeout(2 * PATIENCE_S):
        while len(await RabbitDeadLetters(url, namespace).dead()) != count:  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _owner(installation: Installation) -> AsyncIterator[asyncpg.Connection]:
    servers = await EmbeddedServers.start(installation.data_dir)
    connection = await asyncpg.connect(servers.database_url)
    try:
        yield connection
    finally:
        await connection.close()
        await servers.stop()


async def _codes(client: OperatorClient, room: str) -> list[str | None]:
    """The problems, or None, of four bets of a player in one round."""
    for _ in range(100):
        bets = [
            {
                "transaction_id": str(uuid.uuid4()),
                "player": PLAYERS[0],
                "room": room,
                "picks": [number],
                "stake_minor": 100,
                "currency": "EUR",
            }
            for number in range(1, 5)
        ]
        answer = await client.call("POST", "/v1/bets/batch", {"bets": bets})
        assert answer.status_code == httpx.codes.OK, answer.text
        codes = [each.get("problem", {}).get("code") for each in answer.json()["results"]]
        if "round_not_open" not in codes:
            return codes
        await asyncio.sleep(0.1)
    raise AssertionError("no round was open")


def test_dead_events_of_the_broker_are_listed_and_replayed_by_their_ids(
    amqp_url: str, rabbit_namespace: str, session_loop: LoopThread
) -> None:
    with installed(KENO_AMQP_URL=amqp_url, KENO_AMQP_NAMESPACE=rabbit_namespace) as installation:
        assert installation.keno("dead", "list").stdout == "no event is dead\n"
        installation.start("run", "worker", "wallet")
        sent = [_poison(number) for number in range(1, 4)]
        session_loop.run(_publish(amqp_url, rabbit_namespace, sent))
        session_loop.run(_until_dead(amqp_url, rabbit_namespace, 3))
        assert installation.end("run worker wallet", signal.SIGTERM) == 0, installation.log_tail()

        listed = [json.loads(line) for line in installation.keno("dead", "list", "--json").stdout.splitlines()]
        assert {each["id"] for each in listed} == {str(each.id) for each in sent}
        assert {(each["consumer"], each["routing_key"]) for each in listed} == {("wallet", "payouts.ready")}
        assert all("ValidationError" in each["reason"] for each in listed)
        assert installation.keno("audit").returncode == 1, "the audit fails until nothing is dead"

        first = str(sent[0].id)
        replayed = installation.keno("dead", "replay", first, UNKNOWN)
        assert replayed.returncode == 1
        assert replayed.stdout.startswith(f"replayed {first} of wallet, payouts.ready of room:1")
        assert replayed.stderr == f"keno: no dead event has the id {UNKNOWN}\n"
        assert installation.keno("dead", "replay").returncode == 2
        assert installation.keno("dead", "replay", first, "--all").returncode == 2
        session_loop.run(_until_dead(amqp_url, rabbit_namespace, 2))
        assert installation.keno("dead", "replay", "--all").returncode == 0
        assert installation.keno("dead", "list").stdout == "no event is dead\n"
        assert session_loop.run(_replayed(installation)) == sorted(str(each.id) for each in sent)


def test_dead_events_of_one_process_are_listed_and_stay_dead_while_their_handler_fails(
    session_loop: LoopThread,
) -> None:
    with installed() as installation:
        poison = _poison()
        assert installation.keno("dead", "list").stdout == "no event is dead\n"
        session_loop.run(_bury(installation, poison))

        (listed,) = installation.keno("dead", "list").stdout.splitlines()
        assert listed.startswith(f"{poison.id} of wallet, payouts.ready of room:1, at ")
        replayed = installation.keno("dead", "replay", str(poison.id))
        assert replayed.returncode == 1
        assert f"still dead: {poison.id}" in replayed.stderr
        assert len(installation.keno("dead", "list").stdout.splitlines()) == 1


async def _replayed(installation: Installation) -> list[str]:
    """The events that the audit trail has as replayed."""
    async with _owner(installation) as owner:
        rows = await owner.fetch("SELECT subject FROM audit_logs WHERE action = 'event.replayed' ORDER BY subject")
    return [row[0] for row in rows]


async def _bury(installation: Installation, event: Event) -> None:
    async with _owner(installation) as owner:
        await store.bury(
            owner, "wallet", event.id, event.routing_key, event.aggregate, event.time_ms, event.data, "a bug"
        )


async def test_an_operator_is_limited_and_its_limits_lifted_from_the_command_line() -> None:
    with installed() as installation:
        private_key, room = installation.add_operator(), installation.add_room()
        limit = ("operator", "limit", "house", "--currency", "EUR")
        refused = installation.keno("operator", "limit", "nobody", "--currency", "EUR")
        assert (refused.returncode, refused.stderr) == (1, "keno: there is no operator named nobody\n")
        refused = installation.keno("operator", "limit", "house", "--currency", "USD")
        assert (refused.returncode, refused.stderr) == (1, "keno: house does not have USD: it has EUR\n")
        assert installation.keno(*limit, "--round-bets-max", "-1").returncode == 1
        assert installation.keno(*limit, "--round-bets-max", "2").returncode == 0
        installation.start("up")
        await installation.ready()
        client = OperatorClient(installation.origin, "first", private_key)
        await deposit(client)

        assert await _codes(client, room) == [None, None, "limit_reached", "limit_reached"]
        assert installation.keno(*limit).returncode == 0
        assert await _codes(client, room) == [None] * 4
        await client.close()
        assert installation.end("up", signal.SIGTERM) == 0, installation.log_tail()
        assert installation.keno("audit").returncode == 0
