"""An installation to be loaded: an operator with a key and funded players, rooms that play, and its books."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from uuid import UUID

from redis.asyncio import Redis

from benchmarks import servers
from benchmarks.bets_house import add_players
from benchmarks.servers import Database, Servers
from keno.game import rules
from keno.game.profiles import shipped_paytable
from keno.identity.service import IdentityService
from keno.identity.signature import HmacSecret
from keno.infra.cache import Cache
from keno.infra.key_providers import LocalKeys
from keno.infra.keyfiles import load_keys
from keno.infra.migrate import migrate
from keno.infra.postgres import create_pool
from keno.risk.rates import PER_SECOND_MAX
from keno.rounds.service import GUARD_MS, RoomService, default_limits

DRAIN_S = 300.0
_FINISHED = """
    SELECT NOT EXISTS (SELECT FROM rounds WHERE phase IN ('locked', 'drawn') AND bets_count > 0)
        AND NOT EXISTS (SELECT FROM outbox_batches WHERE sent_ms IS NULL AND created_ms < $1)
        AND NOT EXISTS (SELECT FROM rounds AS r JOIN bets AS b ON b.round_id = r.id WHERE r.phase = 'open')
        AND NOT EXISTS (SELECT FROM payouts AS p WHERE payout_minor > 0
            AND NOT EXISTS (SELECT FROM round_credits AS c WHERE c.round_id = p.round_id))
"""


@dataclass(frozen=True)
class Floor:
    """An operator with players and rooms, and what it signs with."""

    database: Database
    environment: dict[str, str]
    key_id: str
    secret: HmacSecret
    rooms: list[UUID]
    players: int

    async def rooms_sell(self) -> None:
        """Returns once every room has sold a round."""
        await self._wait_for("SELECT count(DISTINCT room_id) = $1 FROM rounds", len(self.rooms))

    async def drained(self) -> float:
        """Seconds until no bet waits for anything, nor an event that is there now."""
        started_s = time.perf_counter()
        await self._wait_for(_FINISHED, time.time_ns() // 1_000_000)
        return time.perf_counter() - started_s

    async def _wait_for(self, question: str, *arguments: object) -> None:
        async with asyncio.timeout(DRAIN_S):
            while not await self.database.owner.fetchval(question, *arguments):  # noqa: ASYNC110 - it is asked elsewhere
                await asyncio.sleep(0.2)


@asynccontextmanager
async def floor(found: Servers, *, rooms: int, players: int) -> AsyncIterator[Floor]:
    """The installation in a database of its own; its processes are the caller's to start."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keno-bench-")))
        database = await stack.enter_async_context(servers.database(found))
        await migrate(database.owner_url)
        keys = load_keys(folder, create=True)
        LocalKeys.from_files(folder, create=True)
        pool = await stack.enter_async_context(await create_pool(database.app_url, connections_max=2))
        redis = await stack.enter_async_context(Redis.from_url(found.redis_url))
        identity = IdentityService(pool, redis, keys.platform, Cache(redis, keys.platform))
        operator = await identity.add_operator("casino", ["EUR"], actor="benchmark")
        await identity.limit_rate(operator.id, PER_SECOND_MAX, actor="benchmark")
        key_id = f"bench-{secrets.token_hex(4)}"
        secret = HmacSecret(await identity.add_hmac_key(operator.id, key_id, actor="benchmark"))
        await add_players(database.owner, operator.id, players)
        environment = {
            "KENO_DATABASE_URL": database.app_url,
            "KENO_VAULT_DATABASE_URL": database.url_as("keno_vault"),
            "KENO_OWNER_DATABASE_URL": database.owner_url,
            "KENO_REDIS_URL": found.redis_url,
            "KENO_AMQP_URL": servers.AMQP_URL,
            "KENO_AMQP_NAMESPACE": f"keno-bench-{secrets.token_hex(4)}",
            "KENO_KEYS_DIR": str(folder),
        }
        halls = [await _add_room(RoomService(pool), n) for n in range(rooms)]
        await database.owner.execute("VACUUM ANALYZE")
        yield Floor(database, environment, key_id, secret, halls, players)


async def _add_room(rooms: RoomService, n: int) -> UUID:
    paytable = shipped_paytable("94")
    room_rules = rules.build(
        profile="S",
        guard_ms=GUARD_MS,
        beacon_chain=None,
        rtp_bounds=(Fraction(935, 1000), Fraction(945, 1000)),
        paytables=[paytable.hash],
        currencies={"EUR": default_limits("EUR")},
    )
    room = await rooms.add(
        f"hall {n}", period_ms=5_000, lock_lead_ms=200, room_rules=room_rules, paytables=[paytable], actor="benchmark"
    )
    return room.id
