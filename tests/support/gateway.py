"""The whole product behind its REST API, and operators that sign their requests."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.app import create_app, create_lane
from keno import bootstrap
from keno.bootstrap import Platform
from keno.config import Config
from keno.game import rules
from keno.game.profiles import shipped_paytable
from keno.identity.operators import Operator
from keno.identity.signature import HmacSecret, SigningKey, sign
from keno.infra.key_providers import LocalKeys
from keno.infra.keyfiles import load_keys
from keno.rounds.room_store import Room
from keno.rounds.service import default_limits
from support.databases import Database
from support.lanes import LaneTransport
from support.rounds import ShardLeader

ORIGIN = "http://keno.test"
PLAYER_ORIGIN = "https://games.test"
JSON = {"Content-Type": "application/json"}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Casino:
    """An operator with a key, and a client that signs what it sends."""

    operator: Operator
    key_id: str
    key: SigningKey
    client: httpx.AsyncClient
    origin: str = ORIGIN

    def headers(self, method: str, path: str, body: bytes, /, **changes: Any) -> dict[str, str]:
        """The three headers of a signed request; `changes` replace what is signed."""
        signed: dict[str, Any] = {
            "method": method,
            "target_uri": self.origin + path,
            "body": body,
            "created_s": int(time.time()),
            "nonce": secrets.token_urlsafe(16),
        }
        key, key_id = changes.pop("key", self.key), changes.pop("key_id", self.key_id)
        return sign(key, key_id, **(signed | changes))

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, /, **changes: Any
    ) -> httpx.Response:
        """One signed request; `headers` go with it and replace its own."""
        signed = self.headers(method, path, body, **changes)
        return await self.client.request(method, path, content=body, headers=signed | (headers or {}))

    async def get(self, path: str) -> httpx.Response:
        return await self.send("GET", path)

    async def post(self, path: str, value: Any) -> httpx.Response:
        return await self.send("POST", path, json.dumps(value).encode(), JSON)

    async def put(self, path: str, value: Any) -> httpx.Response:
        return await self.send("PUT", path, json.dumps(value).encode(), JSON)


@dataclass(frozen=True)
class Gateway:
    """The platform, a client without a key, and the owner's connections to look behind the services."""

    platform: Platform
    client: httpx.AsyncClient
    owner_pool: asyncpg.Pool

    async def casino(self, *currencies: str, ed25519: bool = False) -> Casino:
        """A new operator with one key."""
        number, identity = next(_numbers), self.platform.identity
        operator = await identity.add_operator(f"casino {number}", currencies or ("EUR",), actor="test")
        key_id = f"key-{number}"
        key: SigningKey
        if ed25519:
            key = Ed25519PrivateKey.generate()
            await identity.add_ed25519_key(operator.id, key_id, key.public_key().public_bytes_raw(), actor="test")
        else:
            key = HmacSecret(await identity.add_hmac_key(operator.id, key_id, actor="test"))
        return Casino(operator, key_id, key, self.client)

    async def room(
        self, *, period_ms: int = 60_000, lock_lead_ms: int = 1_000, operator_id: UUID | None = None
    ) -> Room:
        """A new room whose first round is on sale."""
        paytable = shipped_paytable("94")
        room_rules = rules.build(
            profile="S",
            guard_ms=2_000,
            beacon_chain=None,
            rtp_bounds=(Fraction(935, 1000), Fraction(945, 1000)),
            paytables=[paytable.hash],
            currencies={"EUR": default_limits("EUR")},
        )
        room = await self.platform.rooms.add(
            f"room {next(_numbers)}",
            period_ms=period_ms,
            lock_lead_ms=lock_lead_ms,
            room_rules=room_rules,
            paytables=[paytable],
            operator_id=operator_id,
            actor="test",
        )
        async with self.platform.vault() as vault:
            await vault.step()
        await self._tick()
        return room

    async def play_until(self, round_id: int, phase: str) -> None:
        """Run the scheduler, the vault and the settler until a round is in this phase."""
        while await self.owner_pool.fetchval("SELECT phase FROM rounds WHERE id = $1", round_id) != phase:
            await self.play_on()

    async def locked(self, round_id: int) -> str:
        """The lock of a round, once it has one."""
        find = "SELECT encode(lock_hash, 'hex') FROM rounds WHERE id = $1"
        while (lock := await self.owner_pool.fetchval(find, round_id)) is None:
            await self.play_on()
        return str(lock)

    async def play_on(self) -> None:
        """A step of the scheduler, the vault and the settler each."""
        settler = self.platform.settler()
        async with self.platform.vault() as vault:
            for step in (self._tick, vault.step, settler.step):
                await step()
        await asyncio.sleep(0.02)

    async def _tick(self) -> None:
        """One tick of every shard that has rooms."""
        for (shard,) in await self.owner_pool.fetch("SELECT DISTINCT shard FROM rooms"):
            scheduler = ShardLeader(self.platform.pool, "the scheduler", shard, self.platform.keys.privacy)
            await scheduler.step()
            await scheduler.close()

    async def stored(self) -> dict[str, int]:
        """How much there is of everything that a request can store."""
        tables = ("bets", "wallet_transactions", "players", "accounts", "outbox")
        return {name: await self.owner_pool.fetchval(f"SELECT count(*) FROM {name}") for name in tables}  # noqa: S608


@asynccontextmanager
async def open_gateway(
    database: Database,
    owner_pool: asyncpg.Pool,
    redis_url: str,
    folder: Path,
    origin: str = ORIGIN,
    *,
    bets_on_lane: bool = False,
) -> AsyncIterator[Gateway]:
    """The product on a database and Redis of the test, served in the process."""
    config = Config(
        amqp_namespace="keno",
        failpoint=None,
        database_url=database.app_url,
        vault_database_url=database.vault_url,
        owner_database_url=database.owner_url,
        redis_url=redis_url,
        amqp_url=None,
        data_dir=folder,
        keys_dir=folder / "keys",
        host="127.0.0.1",
        port=8080,
        lane_port=None,
        public_origins=(origin,),
        epoch_rounds=16,
        outbox_retention_h=1,
        bets_retention_d=None,
        launch_url=f"{origin}/play",
        player_origins=(PLAYER_ORIGIN,),
        proxies_count=0,
    )
    load_keys(config.keys_dir, create=True)
    LocalKeys.from_files(config.keys_dir, create=True)
    async with bootstrap.platform(config) as platform:
        transport: httpx.AsyncBaseTransport = httpx.ASGITransport(app=create_app(platform))  # type: ignore[arg-type]
        if bets_on_lane:
            transport = LaneTransport(create_lane(platform), transport)
        async with httpx.AsyncClient(transport=transport, base_url=origin) as client:
            yield Gateway(platform, client, owner_pool)
