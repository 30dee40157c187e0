"""RabbitMQ for the tests: the one that runs, or Debian's package started on ports and folders of its own."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aio_pika
from aio_pika.exceptions import AMQPError

_USUAL_URL = "amqp://guest:guest@127.0.0.1:5672/"
_BOOT_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 30
_SCRIPTS = Path("/usr/lib/rabbitmq/bin")


async def find_broker() -> str | None:
    """The URL of a broker that answers; None: start one."""
    given = os.environ.get("KENO_TEST_AMQP_URL")
    if given:
        return given
    return _USUAL_URL if await _answers(_USUAL_URL) else None


async def _answers(url: str) -> bool:
    try:
        connection = await aio_pika.connect(url, timeout=5)
    except (OSError, TimeoutError, AMQPError):
        return False
    await connection.close()
    return True


class SharedBroker:
    """One broker for all processes of a run, on loopback: the first starts it, the last stops it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / "state.json"
        folder.mkdir(exist_ok=True)

    async def open(self) -> str:
        with self._locked():
            state = json.loads(self._state.read_text()) if self._state.exists() else None
            if state is None:
                if not (_SCRIPTS / "rabbitmq-server").exists():
                    _install()
                state = {"holders": 0, **self._start()}
                await self._wait(state["url"])
            state["holders"] += 1
            self._state.write_text(json.dumps(state))
            return str(state["url"])

    def close(self) -> None:
        with self._locked():
            state = json.loads(self._state.read_text())
            state["holders"] -= 1
            self._state.write_text(json.dumps(state))
            if state["holders"] > 0:
                return
            self._state.unlink()
            os.kill(state["pid"], signal.SIGTERM)
            # Erlang's name server outlives its node.
            environment = {**os.environ, "ERL_EPMD_PORT": str(state["epmd_port"])}
            for _ in range(_STOP_TIMEOUT_S):
                asked = subprocess.run([_epmd(), "-kill"], env=environment, check=False, capture_output=True)
                if asked.returncode == 0:
                    break
                time.sleep(1)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    async def _wait(self, url: str) -> None:
        for _ in range(_BOOT_TIMEOUT_S):
            if await _answers(url):
                return
            await asyncio.sleep(1)
        raise RuntimeError("RabbitMQ did not start:\n" + (self._folder / "output").read_text(errors="replace"))

    def _start(self) -> dict[str, str | int]:
        port, distribution_port, epmd_port = _free_ports(3)
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        plugins = self._folder / "enabled_plugins"
        plugins.write_text("[].\n")
        configuration = self._folder / "rabbitmq.conf"
        configuration.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"keno{port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "no-environment"),
        }
        # The wrapper in PATH insists on the system's user and folders; this is the script behind it. A shell starts it,
        # because whoever stops it is perhaps not whoever started it.
        command = ["sh", "-c", '"$0" >"$1" 2>&1 & echo $!', _SCRIPTS / "rabbitmq-server", self._folder / "output"]
        started = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, start_new_session=True)
        return {"url": url, "pid": int(started.stdout), "epmd_port": epmd_port}


def _epmd() -> str:
    found = shutil.which("epmd") or next(map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd")), None)
    if found is None:
        raise RuntimeError("Erlang's epmd is missing")
    return found


def _install() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError("the tests need RabbitMQ: install rabbitmq-server, or set KENO_TEST_AMQP_URL")
    # In runlevel 1 the package sets itself up without starting its service.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "rabbitmq-server"]):
        subprocess.run(["apt-get", *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
