"""Puts the services together, and is the only chooser of adapters: which servers, which bus, whose keys.

Nothing is created at import. `platform()` gives everything that a process of Keno may need; a process that is only the
gateway or one worker gets the same and uses its part. `lone_vault()` gives a process the vault and nothing else. The
key that wraps epoch keys is read for the vault only: no other process needs to be able to read it.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
from redis.asyncio import Redis

from keno.bets.service import BetService
from keno.bets.settler import Settler
from keno.config import Config
from keno.errors import ConfigError
from keno.fairness.anchor.anchorer import Anchorer, Policy
from keno.fairness.anchor.service import AnchorService
from keno.fairness.beacon import QUICKNET, Chain
from keno.fairness.beacons.local import LocalBeacon
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.service import LogService
from keno.fairness.log.witnesses import Witnesses, parse_witnesses
from keno.fairness.receipts import ReceiptKey
from keno.fairness.seen import SeenLocks
from keno.fairness.service import EvidenceService
from keno.fairness.vault import Vault
from keno.identity.access import AccessService
from keno.identity.service import IdentityService
from keno.identity.sessions import SessionService
from keno.identity.signing_keys import SigningKeys
from keno.identity.staff_service import StaffService
from keno.infra import failpoints, keywrap
from keno.infra.arrival import check_redis, reach_database
from keno.infra.bus import Bus, DeadLetters
from keno.infra.cache import Cache
from keno.infra.embedded import EmbeddedServers
from keno.infra.key_providers import KeyProvider, LocalKeys
from keno.infra.keyfiles import Keys, load_key, load_keys
from keno.infra.local_bus import LocalBus
from keno.infra.migrate import migrate
from keno.infra.outbox import Relay
from keno.infra.postgres import create_pool
from keno.infra.redis import create_redis
from keno.notify.players import PlayerNews
from keno.notify.service import Notifier
from keno.notify.streams import Streams
from keno.reporting.audit import Audit
from keno.reporting.service import ReportingService
from keno.risk.service import Limits
from keno.rounds.documents import Documents
from keno.rounds.election import RedisElection
from keno.rounds.lease import RENEW_S, TTL_S
from keno.rounds.scheduler import Scheduler
from keno.rounds.service import RoomService
from keno.storage.service import Storage
from keno.texts.service import Texts
from keno.wallet.service import WalletService

if TYPE_CHECKING:
    from keno.fairness.anchor.ethereum import EthereumChain
    from keno.fairness.beacons.keeper import BeaconKeeper

_ELECTION_TIMEOUT_S = 0.5
assert 2 * _ELECTION_TIMEOUT_S <= RENEW_S  # noqa: S101 - a Redis that hangs must not make a scheduler look dead
_SCHEDULER_IDLE_TIMEOUT_MS = 2_000
assert _SCHEDULER_IDLE_TIMEOUT_MS < TTL_S * 1000  # noqa: S101 - a paused leader's locks end before its lease does
_ROLL_CONNECTIONS = 2
_GWEI = 1_000_000_000
_CACHE_CONNECTIONS = 8
_CACHE_TIMEOUT_S = 0.5
_LOCAL_BEACON = b"keno:local-beacon"


@dataclass(frozen=True, slots=True)
class Platform:
    """The services of a process. `pool` is PostgreSQL as keno_app; nothing but the vault has another."""

    config: Config
    makes_keys: bool
    pool: asyncpg.Pool
    redis: Redis
    bus: Bus
    dead_letters: DeadLetters
    keys: Keys
    identity: IdentityService
    limits: Limits
    access: AccessService
    signing_keys: SigningKeys
    sessions: SessionService
    staff: StaffService
    rooms: RoomService
    receipt_key: ReceiptKey
    bets: BetService
    wallet: WalletService
    reporting: ReportingService
    evidence: EvidenceService
    seen: SeenLocks
    log_keys: LogKeys
    log: LogService
    anchors: AnchorService
    streams: Streams
    notifier: Notifier
    player_news: PlayerNews
    audit: Audit
    beacon_chain: Chain
    documents: Documents
    texts: Texts

    @asynccontextmanager
    async def scheduler(self, stop: asyncio.Event | None = None) -> AsyncIterator[Scheduler]:
        """A candidate for the leadership of the shards, on connections of its own; `stop` as for `platform`."""
        assert self.config.database_url is not None and self.config.redis_url is not None  # noqa: S101, PT018
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        redis = create_redis(self.config.redis_url, connections_max=4, timeout_s=_ELECTION_TIMEOUT_S)
        connect = partial(
            create_pool,
            self.config.database_url,
            application="keno-scheduler",
            connections_max=self.config.shards + _ROLL_CONNECTIONS,
            idle_in_transaction_timeout_ms=_SCHEDULER_IDLE_TIMEOUT_MS,
        )
        async with redis, await _reach(self.config, "KENO_DATABASE_URL", connect, stop) as pool:
            scheduler = Scheduler(pool, RedisElection(redis), holder, self.keys.privacy)
            yield scheduler
            await scheduler.close()

    @property
    def local_beacon(self) -> LocalBeacon:
        """The local beacon, whose key follows from the platform's."""
        return LocalBeacon(keywrap.derive(self.keys.platform, _LOCAL_BEACON))

    @asynccontextmanager
    async def beacon_keeper(self) -> AsyncIterator["BeaconKeeper"]:
        """A keeper of the beacons of the configured chain."""
        # An HTTP client and a message broker's take longer to load than most commands run.
        from keno.fairness.beacons.drand import DrandClient  # noqa: PLC0415
        from keno.fairness.beacons.keeper import BeaconKeeper  # noqa: PLC0415

        async with DrandClient(self.beacon_chain, self.config.beacon_urls) as client:
            yield BeaconKeeper(self.pool, {self.beacon_chain.hash: client})

    def settler(self) -> Settler:
        """A settler."""
        return Settler(self.pool)

    def relay(self) -> Relay:
        """A relay of the outbox to the bus."""
        return Relay(self.pool, self.bus, self.config.outbox_retention_h * 3_600_000)

    def log_sequencer(self) -> Sequencer:
        """What puts entries into the public log. Raises ConfigError for witnesses that cannot be read."""
        return Sequencer(self.pool, self.log_keys, Witnesses(parse_witnesses(self.config.log_witnesses)))

    def storage(self) -> Storage:
        """Keeps the tables in bounds."""
        days = self.config.bets_retention_d
        return Storage(
            self.pool, self.config.outbox_retention_h * 3_600_000, None if days is None else days * 86_400_000
        )

    @asynccontextmanager
    async def anchorer(self) -> AsyncIterator[Anchorer]:
        """What anchors the log. Raises ConfigError without a contract."""
        ethereum = self.config.ethereum
        if ethereum is None or ethereum.contract is None:
            raise ConfigError("KENO_ETHEREUM_RPC_URL and KENO_ETHEREUM_CONTRACT are needed to anchor the log")
        policy = Policy(
            interval_ms=1_000 * ethereum.interval_s,
            max_fee_wei=_GWEI * ethereum.max_fee_gwei,
            stuck_ms=1_000 * ethereum.stuck_s,
            confirmations=ethereum.confirmations,
        )
        async with ethereum_chain(self.config) as chain:
            yield Anchorer(self.pool, chain, policy)

    @asynccontextmanager
    async def vault(self, stop: asyncio.Event | None = None) -> AsyncIterator[Vault]:
        """The vault beside everything else, on connections of its own role; `stop` as for `platform`. Raises
        ConfigError without its key.
        """
        async with _vault(self.config, stop, create_key=self.makes_keys) as vault:
            yield vault


@asynccontextmanager
async def lone_vault(config: Config, stop: asyncio.Event | None = None) -> AsyncIterator[Vault]:
    """The vault alone: it needs a database as its own role and its key, and neither Redis nor a broker; `stop` as for
    `platform`.
    """
    failpoints.arm(config.failpoint)
    create_key = config.embedded_database
    async with AsyncExitStack() as stack:
        if config.vault_database_url is None:
            config = await stack.enter_async_context(_servers(config))
        yield await stack.enter_async_context(_vault(config, stop, create_key=create_key))


def vault_keys(config: Config, *, create: bool) -> KeyProvider:
    """What wraps epoch keys. A provider for a key management service would be chosen here. Raises ConfigError."""
    if config.vault_key is not None:
        return LocalKeys.from_texts(config.vault_key, config.vault_old_keys)
    return LocalKeys.from_files(config.keys_dir, create=create)


@asynccontextmanager
async def _vault(config: Config, stop: asyncio.Event | None, *, create_key: bool) -> AsyncIterator[Vault]:
    url = config.vault_database_url
    if url is None:
        raise ConfigError("KENO_VAULT_DATABASE_URL is needed to run the vault")
    with closing(vault_keys(config, create=create_key)) as keys:
        connect = partial(create_pool, url, application="keno-vault", connections_max=2)
        async with await _reach(config, "KENO_VAULT_DATABASE_URL", connect, stop) as pool:
            yield Vault(pool, keys, config.epoch_rounds, min(config.epoch_rounds, 64))


@asynccontextmanager
async def platform(config: Config, stop: asyncio.Event | None = None) -> AsyncIterator[Platform]:
    """Connects to the configured servers, or starts them, and gives the services; closes them all at the end.

    A process that serves gives the event that ends it: until then, and no longer than its configured patience, it waits
    for a PostgreSQL that is not there yet. Without `stop` one attempt is made.

    Raises ConfigError for what a server refuses, UnreachableError for a PostgreSQL that was not there in time.
    """
    if config.database_url is None and config.vault_database_url is not None:
        raise ConfigError("KENO_VAULT_DATABASE_URL without KENO_DATABASE_URL is for the vault alone")
    async with AsyncExitStack() as stack:
        failpoints.arm(config.failpoint)
        # A key that is missing beside a database that is there must not be made up: what it wrapped would be lost.
        makes_keys = config.embedded_database
        keys = load_keys(config.keys_dir, create=makes_keys)
        config = await stack.enter_async_context(_servers(config))
        assert config.database_url is not None and config.redis_url is not None  # noqa: S101, PT018 - set by _servers
        connect = partial(create_pool, config.database_url)
        pool = await stack.enter_async_context(await _reach(config, "KENO_DATABASE_URL", connect, stop))
        redis = _redis(config.redis_url)
        stack.push_async_callback(redis.aclose)
        if stop is not None:
            await check_redis(redis)
        yield _assembled(stack, config, keys, pool, redis, makes_keys=makes_keys)


def _assembled(
    stack: AsyncExitStack, config: Config, keys: Keys, pool: asyncpg.Pool, redis: Redis, *, makes_keys: bool
) -> Platform:
    """The services on servers that are there; `stack` closes what is theirs."""
    assert config.redis_url is not None  # noqa: S101 - set by _servers
    bus, dead_letters = _bus(config, pool)
    stack.push_async_callback(bus.close)
    evidence = EvidenceService(pool, keys.privacy)
    log_keys = LogKeys(pool, keys.platform, config.log_origin)
    receipt_key = ReceiptKey(keys.platform)
    bets = BetService(pool, keys.privacy, receipt_key)
    stack.push_async_callback(bets.close)
    signing_keys = SigningKeys(pool, keys.platform)
    refresh_key = keywrap.derive(keys.platform, b"keno:refresh-tokens")
    beacon_chain = _beacon_chain(config, keys)
    cache = Cache(
        create_redis(config.redis_url, connections_max=_CACHE_CONNECTIONS, timeout_s=_CACHE_TIMEOUT_S),
        keywrap.derive(keys.platform, b"keno:cache"),
    )
    stack.push_async_callback(cache.close)
    identity = IdentityService(pool, redis, keys.platform, cache)
    stack.push_async_callback(identity.close)
    limits = Limits(redis)
    stack.push_async_callback(limits.close)
    streams = Streams(redis)
    texts = Texts(pool, cache)
    stack.push_async_callback(texts.close)
    return Platform(
        config=config,
        makes_keys=makes_keys,
        pool=pool,
        redis=redis,
        bus=bus,
        dead_letters=dead_letters,
        keys=keys,
        identity=identity,
        limits=limits,
        access=AccessService(pool, identity),
        signing_keys=signing_keys,
        sessions=SessionService(pool, redis, signing_keys, refresh_key, config.public_origins[0], cache),
        staff=StaffService(pool, redis, keys.platform),
        rooms=RoomService(pool, config.shards, beacon_chain),
        receipt_key=receipt_key,
        bets=bets,
        wallet=WalletService(pool),
        reporting=ReportingService(pool),
        evidence=evidence,
        seen=SeenLocks(pool),
        log_keys=log_keys,
        log=LogService(pool, log_keys),
        anchors=AnchorService(pool),
        streams=streams,
        notifier=Notifier(streams),
        player_news=PlayerNews(pool),
        audit=Audit(pool, evidence, dead_letters),
        beacon_chain=beacon_chain,
        documents=Documents(pool, cache),
        texts=texts,
    )


@asynccontextmanager
async def ethereum_chain(config: Config) -> AsyncIterator["EthereumChain"]:
    """The configured chain with the account of ethereum.key. Raises ConfigError where something of it is missing."""
    if config.ethereum is None:
        raise ConfigError("KENO_ETHEREUM_RPC_URL is not set: there is no chain to anchor on")
    try:
        # An extra: nobody who does not anchor needs it.
        from keno.fairness.anchor.ethereum import open_chain  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"anchors need the package {error.name}: pip install 'keno[ethereum]'") from None
    ethereum, key = config.ethereum, load_key(config.keys_dir / "ethereum.key", create=False)
    async with open_chain(ethereum.rpc_url, ethereum.chain_id, key, ethereum.contract) as chain:
        yield chain


async def _reach(
    config: Config, setting: str, connect: Callable[[], Awaitable[asyncpg.Pool]], stop: asyncio.Event | None
) -> asyncpg.Pool:
    patience_s = 0 if stop is None else config.start_patience_s
    return await reach_database(setting, connect, patience_s=patience_s, stop=stop)


def _beacon_chain(config: Config, keys: Keys) -> Chain:
    if config.beacon == "quicknet":
        return QUICKNET
    return LocalBeacon(keywrap.derive(keys.platform, _LOCAL_BEACON)).chain


def _redis(url: str) -> Redis:
    try:
        return create_redis(url)
    except ValueError as failure:
        raise ConfigError(f"KENO_REDIS_URL cannot be used: {failure}") from failure


def _bus(config: Config, pool: asyncpg.Pool) -> tuple[Bus, DeadLetters]:
    if config.amqp_url is None:
        local = LocalBus(pool)
        return local, local
    from keno.infra.rabbit_bus import RabbitBus  # noqa: PLC0415
    from keno.infra.rabbit_dead import RabbitDeadLetters  # noqa: PLC0415

    where = config.amqp_url, config.amqp_namespace
    return RabbitBus(*where), RabbitDeadLetters(*where)


@asynccontextmanager
async def _servers(config: Config) -> AsyncIterator[Config]:
    """Starts what the configuration does not name, in the data folder, and fills in its URLs."""
    if config.database_url is not None and config.redis_url is not None:
        yield config
        return
    if config.database_url is not None or config.redis_url is not None:
        raise ConfigError("KENO_DATABASE_URL and KENO_REDIS_URL go together: set both or neither")
    servers = await EmbeddedServers.start(config.data_dir)
    try:
        await migrate(servers.database_url)
        yield replace(
            config,
            database_url=servers.database_url_as("keno_app"),
            vault_database_url=servers.database_url_as("keno_vault"),
            owner_database_url=servers.database_url,
            redis_url=servers.redis_url,
        )
    finally:
        await servers.stop()
