"""The command line on real servers: dead events shown and given back, and what an operator's players may bet."""

import asyncio
import json
import signal
import uuid
from pathlib import Path

import aio_pika
import asyncpg
import httpx
import pytest
from aio_pika.exceptions import PublishError
from support.commands import keno_here
from support.databases import Database, Databases
from support.events import PATIENCE_S
from support.installation import PLAYERS, deposit, installed, named_servers

from keno.demo.players import OperatorClient
from keno.infra import cloudevents, store
from keno.infra.bus import Event
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


@pytest.fixture
def servers(database: Database, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return named_servers(database, redis_url, tmp_path / "keys")


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


async def test_dead_events_of_the_broker_are_listed_and_replayed_by_their_ids(
    servers: dict[str, str], owner_pool: asyncpg.Pool, amqp_url: str, rabbit_namespace: str
) -> None:
    with installed(**servers, KENO_AMQP_URL=amqp_url, KENO_AMQP_NAMESPACE=rabbit_namespace) as installation:
        assert installation.keno_here("dead", "list").stdout == "no event is dead\n"
        installation.start("run", "worker", "wallet")
        sent = [_poison(number) for number in range(1, 4)]
        await _publish(amqp_url, rabbit_namespace, sent)
        await _until_dead(amqp_url, rabbit_namespace, 3)
        assert installation.end("run worker wallet", signal.SIGTERM) == 0, installation.log_tail()

        listed = [json.loads(line) for line in installation.keno_here("dead", "list", "--json").stdout.splitlines()]
        assert {each["id"] for each in listed} == {str(each.id) for each in sent}
        assert {(each["consumer"], each["routing_key"]) for each in listed} == {("wallet", "payouts.ready")}
        assert all("ValidationError" in each["reason"] for each in listed)
        assert installation.keno_here("audit").returncode == 1, "the audit fails until nothing is dead"

        first = str(sent[0].id)
        replayed = installation.keno_here("dead", "replay", first, UNKNOWN)
        assert replayed.returncode == 1
        assert replayed.stdout.startswith(f"replayed {first} of wallet, payouts.ready of room:1")
        assert replayed.stderr == f"keno: no dead event has the id {UNKNOWN}\n"
        assert installation.keno_here("dead", "replay").returncode == 2
        assert installation.keno_here("dead", "replay", first, "--all").returncode == 2
        await _until_dead(amqp_url, rabbit_namespace, 2)
        assert installation.keno_here("dead", "replay", "--all").returncode == 0
        assert installation.keno_here("dead", "list").stdout == "no event is dead\n"
        assert await _replayed(owner_pool) == sorted(str(each.id) for each in sent)


@pytest.mark.usefixtures("quick_attempts")
async def test_dead_events_of_one_process_are_listed_and_stay_dead_while_their_handler_fails(
    servers: dict[str, str], owner_pool: asyncpg.Pool
) -> None:
    with installed(**servers) as installation:
        poison = _poison()
        assert installation.keno_here("dead", "list").stdout == "no event is dead\n"
        await _bury(owner_pool, poison)

        (listed,) = installation.keno_here("dead", "list").stdout.splitlines()
        assert listed.startswith(f"{poison.id} of wallet, payouts.ready of room:1, at ")
        replayed = installation.keno_here("dead", "replay", str(poison.id))
        assert replayed.returncode == 1
        assert f"still dead: {poison.id}" in replayed.stderr
        assert len(installation.keno_here("dead", "list").stdout.splitlines()) == 1


async def _replayed(owner: asyncpg.Pool) -> list[str]:
    """The events that the audit trail has as replayed."""
    rows = await owner.fetch("SELECT subject FROM audit_logs WHERE action = 'event.replayed' ORDER BY subject")
    return [row[0] for row in rows]


async def _bury(owner: asyncpg.Pool, event: Event) -> None:
    await store.bury(owner, "wallet", event.id, event.routing_key, event.aggregate, event.time_ms, event.data, "a bug")


async def test_an_operator_is_limited_and_its_limits_lifted_from_the_command_line(
    servers: dict[str, str],
) -> None:
    with installed(**servers) as installation:
        private_key, room = installation.add_operator(), installation.add_room()
        limit = ("operator", "limit", "house", "--currency", "EUR")
        refused = installation.keno_here("operator", "limit", "nobody", "--currency", "EUR")
        assert (refused.returncode, refused.stderr) == (1, "keno: there is no operator named nobody\n")
        refused = installation.keno_here("operator", "limit", "house", "--currency", "USD")
        assert (refused.returncode, refused.stderr) == (1, "keno: house does not have USD: it has EUR\n")
        assert installation.keno_here(*limit, "--round-bets-max", "-1").returncode == 1
        assert installation.keno_here(*limit, "--round-bets-max", "2").returncode == 0
        installation.start("up")
        await installation.ready()
        client = OperatorClient(installation.origin, "first", private_key)
        await deposit(client)

        assert await _codes(client, room) == [None, None, "limit_reached", "limit_reached"]
        assert installation.keno_here(*limit).returncode == 0
        assert await _codes(client, room) == [None] * 4
        await client.close()
        assert installation.end("up", signal.SIGTERM) == 0, installation.log_tail()
        assert installation.keno_here("audit").returncode == 0


def test_a_database_of_another_version_and_a_role_without_the_right_are_said_so(
    databases: Databases, servers: dict[str, str]
) -> None:
    empty = databases.create_empty()
    add = ("operator", "add", "one", "--currency", "EUR")
    for url, said in (
        (empty.app_url, "the database is not of this version; keno migrate"),
        (servers["KENO_VAULT_DATABASE_URL"], "permission denied for table"),
    ):
        done = keno_here(servers | {"KENO_DATABASE_URL": url}, *add)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("keno: ")
        assert said in done.stderr
    databases.drop(empty)
