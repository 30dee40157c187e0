"""The configuration, and the only reader of the environment.

KENO_DATABASE_URL        PostgreSQL as the role keno_app. Without it: an embedded server in the data folder.
KENO_VAULT_DATABASE_URL  The same database as the role keno_vault. Only the vault needs it, and it needs no other.
KENO_OWNER_DATABASE_URL  The same database as the owner of its schema. Only `keno migrate` needs it.
KENO_REDIS_URL           Redis or Valkey; goes together with KENO_DATABASE_URL.
KENO_AMQP_URL            RabbitMQ. Without it events stay in the process.
KENO_AMQP_NAMESPACE      What the names of its exchanges and queues begin with. Without it: keno.
KENO_DATA_DIR            Folder of the embedded servers. Without it: .keno.
KENO_KEYS_DIR            Folder of privacy.key and platform.key, and in the vault's process of vault.key: 32 bytes in
                         hex. Without it: keys/ in the data folder. Missing keys are made only for the embedded
                         database.
KENO_VAULT_KEY           The vault's key in hex, in place of vault.key. Only the vault may have it.
KENO_VAULT_OLD_KEYS      Its older keys, separated by commas, in place of the files vault-*.key.
KENO_HOST, KENO_PORT     Where the gateway listens. Without them: 127.0.0.1, 8080.
KENO_LANE_PORT           Where the bet lane listens. Without it: two after KENO_PORT for `keno run lane`, and `keno up`
                         starts none, since its gateway answers bets as well.
KENO_LIVE_PORT           Where the live stream listens, on KENO_HOST. Without it: the port after KENO_PORT.
KENO_LIVE_CONNECTIONS_MAX, KENO_LIVE_ADDRESS_CONNECTIONS_MAX
                         Connections to a live process, of all and of one address. Without them: 20000, 200.
KENO_LIVE_URL            Where the page /play finds the live stream. Without it: at its own origin; and where
                         KENO_PUBLIC_ORIGINS is not given either, at KENO_LIVE_PORT.
KENO_PUBLIC_ORIGINS      The origins that requests are signed for, separated by commas. Without it: http://HOST:PORT.
KENO_LAUNCH_URL          The page that a launched player is sent to. Without it: /play of the first public origin.
KENO_PLAYER_ORIGINS      Other origins whose pages may call for players, separated by commas. Without it: none.
KENO_PROXIES_COUNT       How many proxies stand in front of every server and append to X-Forwarded-For. Without it: 0.
KENO_BEACON              The beacon of rooms in profiles E and B: quicknet, which is drand's, or local, which is not
                         public. Without it: local for the embedded database, else quicknet.
KENO_BEACON_URLS         Its endpoints, the preferred first, separated by commas. Without it: drand's own, or the local
                         beacon's.
KENO_BEACON_PORT         Where the local beacon listens, on KENO_HOST. Without it: the third port after KENO_PORT.
KENO_EPOCH_ROUNDS        Rounds whose seeds are committed to together. Without it: 256.
KENO_SHARDS              Parts into which rooms are divided for the schedulers. A room keeps the one it was opened in.
                         Without it: 16.
KENO_HEALTH_PORT         Where a worker answers /healthz, /readyz and /metrics, on KENO_HOST. Without it: nowhere.
KENO_START_PATIENCE_S    Seconds for which a process that serves, and `keno migrate`, wait for a PostgreSQL that is not
                         there yet. Without it: 60.
KENO_FAILPOINT           For tests only: where the process is to die (keno/infra/failpoints.py).
KENO_OUTBOX_RETENTION_H  Hours for which events that were sent, and receipts of them, are kept. Without it: 168, a week.
KENO_LOG_ORIGIN          The name of the public log, which it keeps from its first start on. Without it: the first
                         public origin without its scheme, and /log.
KENO_LOG_WITNESSES       Who cosigns checkpoints of the log: URL and key with a space between, separated by commas.
                         Without it: nobody.
KENO_ETHEREUM_RPC_URL    A node's JSON-RPC, to anchor the log on its chain. Without it: no anchors, and what begins
                         with KENO_ETHEREUM is not read.
KENO_ETHEREUM_CHAIN_ID   The chain that the node must be of.
KENO_ETHEREUM_CONTRACT   The address that `keno anchor deploy` printed. Until it is set nothing is anchored.
KENO_ETHEREUM_CONFIRMATIONS, KENO_ETHEREUM_INTERVAL_S
                         Blocks, its own included, after which an anchor counts, and seconds from one anchor to the
                         next. Without them: 64, 3600.
KENO_ETHEREUM_MAX_FEE_GWEI, KENO_ETHEREUM_STUCK_S
                         What a unit of gas may cost at most, and seconds after which a transaction that was not mined
                         is replaced by one that pays more. Without them: 50, 180.
KENO_BETS_RETENTION_D    Days, at least 7, after which bets and payouts may be archived. Without it: they never are.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keno.errors import ConfigError
from keno.fairness.log.note import NoteError, named
from keno.infra import failpoints

_DRAND_URLS = "https://api.drand.sh,https://api2.drand.sh,https://api3.drand.sh,https://drand.cloudflare.com"
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_SOCKET = re.compile(r"wss?://[a-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")
# No wildcard, no path, as browsers spell it.
_ORIGIN = re.compile(r"https?://[a-z0-9.:\[\]-]+")


@dataclass(frozen=True, slots=True)
class Ethereum:
    """How the log is anchored. `contract` is an address of 20 bytes, None until there is one."""

    rpc_url: str = field(repr=False)  # it often holds a password
    chain_id: int
    contract: bytes | None
    confirmations: int
    interval_s: int
    max_fee_gwei: int
    stuck_s: int


@dataclass(frozen=True, slots=True)
class Config:
    """Where everything is. A URL that is None stands for the embedded server, for `amqp_url` for the bus in the
    process.
    """

    database_url: str | None
    vault_database_url: str | None
    owner_database_url: str | None
    redis_url: str | None
    amqp_url: str | None
    amqp_namespace: str
    data_dir: Path
    keys_dir: Path
    host: str
    port: int
    lane_port: int | None
    public_origins: tuple[str, ...]
    epoch_rounds: int
    failpoint: str | None
    outbox_retention_h: int
    bets_retention_d: int | None
    launch_url: str
    player_origins: tuple[str, ...]
    proxies_count: int
    shards: int = 16
    health_port: int | None = None
    live_port: int = 8081
    live_connections_max: int = 20_000
    live_address_connections_max: int = 200
    log_origin: str = "keno.example/log"
    log_witnesses: str = ""
    beacon: str = "local"
    beacon_urls: tuple[str, ...] = ()
    beacon_port: int = 8083
    vault_key: str | None = field(default=None, repr=False)
    vault_old_keys: str = field(default="", repr=False)
    ethereum: Ethereum | None = None
    start_patience_s: int = 60
    live_url: str = ""
    """Where pages find the live stream; empty: at their own origin."""

    @property
    def anchors(self) -> bool:
        """Whether the log is anchored."""
        return self.ethereum is not None and self.ethereum.contract is not None

    @property
    def embedded_database(self) -> bool:
        """Whether we start PostgreSQL ourselves."""
        return self.database_url is None and self.vault_database_url is None


def load(environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in `environment`, by default that of the process; raises ConfigError."""
    env = os.environ if environment is None else environment
    data_dir = Path(env.get("KENO_DATA_DIR", ".keno")).resolve()
    host, port = env.get("KENO_HOST", "127.0.0.1"), _integer(env, "KENO_PORT", 8080, 1, 65_535)
    origins = tuple(origin.rstrip("/") for origin in env.get("KENO_PUBLIC_ORIGINS", f"http://{host}:{port}").split(","))
    _require_http("KENO_PUBLIC_ORIGINS", origins, "https://keno.example")
    live_port = _integer(env, "KENO_LIVE_PORT", port + 1 if port < 65_535 else port - 1, 1, 65_535)
    beacon, beacon_port, beacon_urls = _beacon(env, host, port)
    config = Config(
        database_url=env.get("KENO_DATABASE_URL"),
        vault_database_url=env.get("KENO_VAULT_DATABASE_URL"),
        owner_database_url=env.get("KENO_OWNER_DATABASE_URL"),
        redis_url=env.get("KENO_REDIS_URL"),
        amqp_url=env.get("KENO_AMQP_URL"),
        amqp_namespace=env.get("KENO_AMQP_NAMESPACE", "keno"),
        data_dir=data_dir,
        keys_dir=Path(env.get("KENO_KEYS_DIR", data_dir / "keys")).resolve(),
        host=host,
        port=port,
        lane_port=_integer(env, "KENO_LANE_PORT", 0, 1, 65_535) if "KENO_LANE_PORT" in env else None,
        public_origins=origins,
        epoch_rounds=_integer(env, "KENO_EPOCH_ROUNDS", 256, 1, 100_000),
        failpoint=env.get("KENO_FAILPOINT"),
        outbox_retention_h=_integer(env, "KENO_OUTBOX_RETENTION_H", 168, 1, 100_000),
        bets_retention_d=(
            _integer(env, "KENO_BETS_RETENTION_D", 7, 7, 100_000) if "KENO_BETS_RETENTION_D" in env else None
        ),
        shards=_integer(env, "KENO_SHARDS", 16, 1, 1_000),
        health_port=_integer(env, "KENO_HEALTH_PORT", 0, 1, 65_535) if "KENO_HEALTH_PORT" in env else None,
        launch_url=_launch_url(env, origins[0]),
        player_origins=_player_origins(env),
        proxies_count=_integer(env, "KENO_PROXIES_COUNT", 0, 0, 16),
        live_port=live_port,
        live_connections_max=_integer(env, "KENO_LIVE_CONNECTIONS_MAX", 20_000, 1, 1_000_000),
        live_address_connections_max=_integer(env, "KENO_LIVE_ADDRESS_CONNECTIONS_MAX", 200, 1, 1_000_000),
        log_origin=_log_origin(env, origins[0]),
        log_witnesses=env.get("KENO_LOG_WITNESSES", ""),
        beacon=beacon,
        beacon_urls=beacon_urls,
        beacon_port=beacon_port,
        vault_key=env.get("KENO_VAULT_KEY"),
        vault_old_keys=env.get("KENO_VAULT_OLD_KEYS", ""),
        ethereum=_ethereum(env),
        live_url=_live_url(env, host, live_port),
        start_patience_s=_integer(env, "KENO_START_PATIENCE_S", 60, 0, 86_400),
    )
    _require_consistent(config)
    return config


def _require_consistent(config: Config) -> None:
    # An empty URL would be whatever database the driver's own defaults lead to.
    if "" in (config.database_url, config.vault_database_url, config.owner_database_url):
        raise ConfigError("KENO_DATABASE_URL, KENO_VAULT_DATABASE_URL and KENO_OWNER_DATABASE_URL are never empty")
    if config.amqp_url is not None and not config.amqp_url.startswith(("amqp://", "amqps://")):
        raise ConfigError("KENO_AMQP_URL does not begin as amqp://rabbitmq.example")
    if config.failpoint is not None and config.failpoint not in failpoints.NAMES:
        raise ConfigError(f"KENO_FAILPOINT: there is no failpoint {config.failpoint!r}")
    if config.database_url is None and config.owner_database_url is not None:
        raise ConfigError("KENO_OWNER_DATABASE_URL needs KENO_DATABASE_URL beside it")
    if config.vault_key is None and config.vault_old_keys:
        raise ConfigError("KENO_VAULT_OLD_KEYS needs KENO_VAULT_KEY beside it")


def _require_http(name: str, urls: Sequence[str], example: str) -> None:
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{name}: {url!r} does not begin as {example}")


def _log_origin(env: Mapping[str, str], origin: str) -> str:
    try:
        return named(env.get("KENO_LOG_ORIGIN", f"{origin.partition('://')[2]}/log"))
    except NoteError as error:
        raise ConfigError(f"KENO_LOG_ORIGIN: {error}") from None


def _launch_url(env: Mapping[str, str], origin: str) -> str:
    url = env.get("KENO_LAUNCH_URL", f"{origin}/play")
    _require_http("KENO_LAUNCH_URL", [url], "https://keno.example")
    if "#" in url:
        raise ConfigError("KENO_LAUNCH_URL has no fragment: the ticket goes there")
    return url


def _player_origins(env: Mapping[str, str]) -> tuple[str, ...]:
    origins = tuple(origin for origin in env.get("KENO_PLAYER_ORIGINS", "").split(",") if origin)
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise ConfigError(f"KENO_PLAYER_ORIGINS: {origin!r} is not an origin such as https://games.example")
    return origins


def _live_url(env: Mapping[str, str], host: str, port: int) -> str:
    # Where no origin is configured, no proxy shows gateway and live stream as one.
    url = env.get("KENO_LIVE_URL", "" if "KENO_PUBLIC_ORIGINS" in env else f"ws://{host}:{port}/v1/live")
    if url and _SOCKET.fullmatch(url) is None:
        raise ConfigError(f"KENO_LIVE_URL: {url!r} is not as wss://keno.example/v1/live")
    return url


def _beacon(env: Mapping[str, str], host: str, port: int) -> tuple[str, int, tuple[str, ...]]:
    beacon = env.get("KENO_BEACON", "quicknet" if "KENO_DATABASE_URL" in env else "local")
    if beacon not in ("quicknet", "local"):
        raise ConfigError(f"KENO_BEACON is quicknet or local, not {beacon!r}")
    beacon_port = _integer(env, "KENO_BEACON_PORT", port + 3 if port < 65_533 else port - 3, 1, 65_535)
    default_urls = _DRAND_URLS if beacon == "quicknet" else f"http://{host}:{beacon_port}"
    urls = tuple(url.rstrip("/") for url in env.get("KENO_BEACON_URLS", default_urls).split(","))
    _require_http("KENO_BEACON_URLS", urls, "https://api.drand.sh")
    return beacon, beacon_port, urls


def _ethereum(env: Mapping[str, str]) -> Ethereum | None:
    rpc_url = env.get("KENO_ETHEREUM_RPC_URL")
    if rpc_url is None:
        return None
    if not rpc_url.startswith(("http://", "https://")):
        raise ConfigError("KENO_ETHEREUM_RPC_URL does not begin as https://node.example")
    if "KENO_ETHEREUM_CHAIN_ID" not in env:
        raise ConfigError("KENO_ETHEREUM_CHAIN_ID is needed beside KENO_ETHEREUM_RPC_URL: 1 is Ethereum itself")
    address = env.get("KENO_ETHEREUM_CONTRACT")
    if address is not None and _ADDRESS.fullmatch(address) is None:
        raise ConfigError(f"KENO_ETHEREUM_CONTRACT: {address!r} is not 0x and 20 bytes in hex")
    return Ethereum(
        rpc_url,
        chain_id=_integer(env, "KENO_ETHEREUM_CHAIN_ID", 1, 1, 2**63 - 1),
        contract=None if address is None else bytes.fromhex(address[2:]),
        confirmations=_integer(env, "KENO_ETHEREUM_CONFIRMATIONS", 64, 1, 10_000),
        interval_s=_integer(env, "KENO_ETHEREUM_INTERVAL_S", 3_600, 1, 31_536_000),
        max_fee_gwei=_integer(env, "KENO_ETHEREUM_MAX_FEE_GWEI", 50, 1, 1_000_000),
        stuck_s=_integer(env, "KENO_ETHEREUM_STUCK_S", 180, 12, 86_400),
    )


def _integer(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigError(f"{name} must be an integer from {least} to {most}, not {text!r}")
    return int(text)
