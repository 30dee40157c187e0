"""RabbitMQ for the tests: the one that runs, or Debian's package started on ports and folders of its own."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aio_pika
from aio_pika.exceptions import AMQPError

from support.ports import free_ports

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
                ports = free_ports(3)
                pid = _start(self._folder, ports)
                state = {"holders": 0, "url": _url(ports[0]), "pid": pid, "epmd_port": ports[2]}
                await _wait(self._folder, state["url"])
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
            _end_name_server(state["epmd_port"])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class OwnBroker:
    """A broker of one test, which may be stopped and started again on its data and ports."""

    def __init__(self, folder: Path) -> None:
        if not (_SCRIPTS / "rabbitmq-server").exists():
            _install()
        self._folder = folder
        self._ports = free_ports(3)
        self._pid: int | None = None
        folder.mkdir()

    @property
    def url(self) -> str:
        return _url(self._ports[0])

    async def start(self) -> None:
        self._pid = _start(self._folder, self._ports)
        await _wait(self._folder, self.url)

    def stop(self) -> None:
        """Ends the node as its operators would, and returns when it has gone."""
        if self._pid is None:
            return
        os.kill(self._pid, signal.SIGTERM)
        for _ in range(10 * _STOP_TIMEOUT_S):
            if not _runs(self._pid):
                break
            time.sleep(0.1)
        self._pid = None

    def kill(self) -> None:
        """Ends the node and whatever it started as a crash would."""
        assert self._pid is not None
        os.killpg(os.getpgid(self._pid), signal.SIGKILL)
        while _runs(self._pid):
            time.sleep(0.05)
        self._pid = None

    async def remembering(self, namespace: str = "keno") -> None:
        """Returns once the queues of a bus are on disk as ones that have a log. RabbitMQ writes that about a second
        after it has answered their declaration and confirmed messages in them; killed before, it forgets those.
        """
        wanted = [f"_{namespace}.{queue}".encode() for queue in ("wallet", "reporting", "dead", "unrouted")]
        for _ in range(_BOOT_TIMEOUT_S * 10):
            written = b"".join(names.read_bytes() for names in self._folder.glob("data/*/quorum/*/names.dets"))
            if all(each in written for each in wanted):
                return
            await asyncio.sleep(0.1)
        raise RuntimeError("RabbitMQ did not write down its queues")

    def remove(self) -> None:
        self.stop()
        _end_name_server(self._ports[2])
        shutil.rmtree(self._folder)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # whoever inherited it may be slow to ask for its end


async def _wait(folder: Path, url: str) -> None:
    for _ in range(_BOOT_TIMEOUT_S * 4):
        if await _answers(url):
            return
        await asyncio.sleep(0.25)
    raise RuntimeError("RabbitMQ did not start:\n" + (folder / "output").read_text(errors="replace"))


def _url(port: int) -> str:
    return f"amqp://guest:guest@127.0.0.1:{port}/"


def _start(folder: Path, ports: Sequence[int]) -> int:
    """Starts a node, the leader of a process group of its own; returns the id of its process."""
    port, distribution_port, epmd_port = ports
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n")
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"keno{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-environment"),
    }
    # The wrapper in PATH insists on the system's user and folders; this is the script behind it. A shell starts it,
    # because whoever stops it is perhaps not whoever started it.
    command = ["sh", "-c", '"$0" >"$1" 2>&1 & echo $!', _SCRIPTS / "rabbitmq-server", folder / "output"]
    started = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, start_new_session=True)
    return int(started.stdout)


def _end_name_server(epmd_port: int) -> None:
    # Erlang's name server outlives its node, and refuses to go before it has seen it go.
    environment = {**os.environ, "ERL_EPMD_PORT": str(epmd_port)}
    for _ in range(_STOP_TIMEOUT_S):
        asked = subprocess.run([_epmd(), "-kill"], env=environment, check=False, capture_output=True)
        if asked.returncode == 0:
            break
        time.sleep(1)


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
