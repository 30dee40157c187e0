"""The configuration, and the only reader of the environment.

KENO_DATABASE_URL        PostgreSQL as the role keno_app. Without it: an embedded server in the data folder.
KENO_VAULT_DATABASE_URL  The same database as the role keno_vault. Only the vault needs it.
KENO_OWNER_DATABASE_URL  The same database as the owner of its schema. Only `keno migrate` needs it.
KENO_REDIS_URL           Redis or Valkey; goes together with KENO_DATABASE_URL.
KENO_AMQP_URL            RabbitMQ. Without it events stay in the process.
KENO_AMQP_NAMESPACE      What the names of its exchanges and queues begin with. Without it: keno.
KENO_DATA_DIR            Folder of the embedded servers. Without it: .keno.
KENO_KEYS_DIR            Folder of vault.key, privacy.key, platform.key: 32 bytes in hex. Without it: keys/ in the data
                         folder. Missing keys are made only for the embedded database.
KENO_HOST, KENO_PORT     Where the gateway listens. Without them: 127.0.0.1, 8080.
KENO_LANE_PORT           Where the bet lane listens. Without it: 8081 for `keno run lane`, and `keno up` starts none,
                         since its gateway answers bets as well.
KENO_PUBLIC_ORIGINS      The origins that requests are signed for, separated by commas. Without it: http://HOST:PORT.
KENO_TRUSTED_PROXIES     Addresses and networks of proxies, separated by commas, whose X-Forwarded-For says who a
                         request is from. Without it: none.
KENO_EPOCH_ROUNDS        Rounds whose seeds are committed to together. Without it: 256.
KENO_FAILPOINT           For tests only: where the process is to die (keno/infra/failpoints.py).
KENO_OUTBOX_RETENTION_H  Hours for which events that were sent are kept. Without it: 168, a week.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keno.errors import ConfigError
from keno.infra import failpoints


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
    trusted_proxies: tuple[str, ...]
    epoch_rounds: int
    failpoint: str | None
    outbox_retention_h: int

    @property
    def embedded_database(self) -> bool:
        """Whether we start PostgreSQL ourselves."""
        return self.database_url is None


def load(environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in `environment`, by default that of the process; raises ConfigError."""
    env = os.environ if environment is None else environment
    data_dir = Path(env.get("KENO_DATA_DIR", ".keno")).resolve()
    host, port = env.get("KENO_HOST", "127.0.0.1"), _integer(env, "KENO_PORT", 8080, 1, 65_535)
    origins = tuple(origin.rstrip("/") for origin in env.get("KENO_PUBLIC_ORIGINS", f"http://{host}:{port}").split(","))
    for origin in origins:
        if not origin.startswith(("http://", "https://")):
            raise ConfigError(f"KENO_PUBLIC_ORIGINS: {origin!r} is not an origin such as https://keno.example")
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
        trusted_proxies=tuple(filter(None, env.get("KENO_TRUSTED_PROXIES", "").replace(" ", "").split(","))),
        epoch_rounds=_integer(env, "KENO_EPOCH_ROUNDS", 256, 1, 100_000),
        failpoint=env.get("KENO_FAILPOINT"),
        outbox_retention_h=_integer(env, "KENO_OUTBOX_RETENTION_H", 168, 1, 100_000),
    )
    if config.failpoint is not None and config.failpoint not in failpoints.NAMES:
        raise ConfigError(f"KENO_FAILPOINT: there is no failpoint {config.failpoint!r}")
    if config.embedded_database and (config.vault_database_url or config.owner_database_url):
        raise ConfigError("KENO_VAULT_DATABASE_URL and KENO_OWNER_DATABASE_URL need KENO_DATABASE_URL beside them")
    return config


def _integer(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigError(f"{name} must be an integer from {least} to {most}, not {text!r}")
    return int(text)
